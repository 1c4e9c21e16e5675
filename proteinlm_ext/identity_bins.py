"""Scores by how near the most similar training protein is: what a lookup could have known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proteinlm_ext.protein_scores import score_rows
from proteinlm_ext.stats import Interval

NO_HIT = "no hit"
# The lowest identity of each bin, as a share of the residues in the alignment.
_BINS = ((">=90%", 0.9), ("50-90%", 0.5), ("30-50%", 0.3), ("<30%", 0.0))
BINS = (NO_HIT, *(name for name, _ in reversed(_BINS)))


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityBin:
    """One metric over the rows whose nearest training protein is so near."""

    name: str
    value: float | None
    num_rows: int
    """Rows that the metric counts."""
    interval: Interval | None


def bin_of(neighbour: Mapping[str, Any] | None) -> str:
    """Return the bin of a document's `neighbour`: by identity, or "no hit" for None."""
    if neighbour is None:
        return NO_HIT
    return next(name for name, lowest in _BINS if neighbour["identity"] >= lowest)


def count_hits(samples: Sequence[Mapping[str, Any]]) -> int | None:
    """Return how many rows have a similar training protein; None if that was not looked for."""
    docs = {sample["doc_id"]: sample["doc"] for sample in samples}
    if not all("neighbour" in doc for doc in docs.values()):
        return None
    return sum(doc["neighbour"] is not None for doc in docs.values())


def score_by_identity(metric: str, samples: Sequence[Mapping[str, Any]]) -> tuple[IdentityBin, ...]:
    """Return one metric in each of `BINS`.

    Args:
        metric: One that the samples log.
        samples: Logged samples of one task under one filter, whose documents have `neighbour`.
    """
    inside: dict[str, list[Mapping[str, Any]]] = {name: [] for name in BINS}
    for sample in samples:
        inside[bin_of(sample["doc"]["neighbour"])].append(sample)
    scored = {name: score_rows(metric, members) for name, members in inside.items()}
    return tuple(IdentityBin(name=name, **score._asdict()) for name, score in scored.items())
