"""What a run did with each question: its pick and its score, read from lm-eval's logged samples."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, cast

from proteinlm_ext.questions import LETTERS

_NUMBERS = tuple(str(number) for number in range(1, len(LETTERS) + 1))

# Metrics that score the pick of one document, in the order in which a task's primary one is chosen:
# in cloze tasks plain acc, a sum over tokens, favours short options.
METRICS = ("acc_norm", "acc", "exact_match")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One question under one metric and filter; rotations of a question are one outcome."""

    id: str
    question: str
    choices: tuple[str, ...]
    """In the order of the file."""
    answer: int
    score: float
    """1 or 0; for rotations the share that was right."""
    picks: tuple[tuple[int, int | None], ...]
    """(rotation, picked position in the file's order or None), one a document."""


def primary_metric(metrics: Sequence[str]) -> str | None:
    """Return the metric of a task that slices and pooled differences use; None if it has none."""
    return next((metric for metric in METRICS if metric in metrics), None)


def has_options(doc: Any) -> bool:
    """Tell whether a document has `choices` and a 0-based `answer`, as MMLU's and ours do."""
    if not isinstance(doc, Mapping):
        return False
    fields = cast("Mapping[str, Any]", doc)
    return isinstance(fields.get("choices"), list) and isinstance(fields.get("answer"), int)


def is_rotation(doc: Any) -> bool:
    """Tell whether a document is one of the rotations of a question."""
    return has_options(doc) and "rotation" in doc and "id" in doc


def is_ours(doc: Any) -> bool:
    """Tell whether a document is a `Question`: a row of ProteinLMBench or of a file like it."""
    return has_options(doc) and "row_hash" in doc


def is_annotation(doc: Any) -> bool:
    """Tell whether a document is a row about a protein, as the tasks `proteinlm_sft_*` have it."""
    return isinstance(doc, Mapping) and {"id", "accession", "sequence_sha256"} <= doc.keys()


def document_id(sample: Mapping[str, Any]) -> str:
    """Return what names a document in every run: the id of one of ours, else lm-eval's doc_hash.

    A row about a protein has its neighbour only where MMseqs2 is: hashes would differ.
    """
    doc = sample["doc"]
    return str(doc["id"] if is_ours(doc) or is_annotation(doc) else sample["doc_hash"])


def read_outcomes(samples: Sequence[Mapping[str, Any]], metric: str) -> list[Outcome]:
    """Return the outcomes of one task under one filter, in the order of the samples.

    Args:
        samples: Logged samples of one filter, whose documents have options.
        metric: One of `METRICS`.
    """
    groups: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for sample in samples:
        doc = sample["doc"]
        groups[doc["id"] if is_rotation(doc) else str(sample["doc_id"])].append(sample)
    return [_outcome(group, metric) for group in groups.values()]


def _outcome(samples: Sequence[Mapping[str, Any]], metric: str) -> Outcome:
    samples = sorted(samples, key=lambda sample: sample["doc"].get("rotation", 0))
    doc = samples[0]["doc"]
    shift = doc.get("rotation", 0)
    choices: list[str] = [str(choice) for choice in doc["choices"]]
    scores = [_score(sample[metric]) for sample in samples]
    return Outcome(
        id=document_id(samples[0]),
        question=str(doc.get("question", "")),
        choices=tuple(choices[-shift:] + choices[:-shift] if shift else choices),
        answer=(doc["answer"] + shift) % len(choices),
        score=sum(scores) / len(scores),
        picks=tuple(_pick(sample, metric) for sample in samples),
    )


def _score(value: Any) -> float:
    """Return a document's score; a rotation's is a (question id, score) pair."""
    return float(cast("Any", value)[1] if isinstance(value, list | tuple) else value)


def _pick(sample: Mapping[str, Any], metric: str) -> tuple[int, int | None]:
    doc, answers = sample["doc"], sample["filtered_resps"]
    rotation, count = doc.get("rotation", 0), len(doc["choices"])
    if isinstance(answers[0], str):
        position = _position(answers[0])
    else:
        position = _likeliest(answers, doc["choices"], metric)
    if position is None or position >= count:
        return rotation, None
    return rotation, (position + rotation) % count


def _position(answer: str) -> int | None:
    """Return the position that an extracted letter, or the paper's option number, names."""
    if answer in _NUMBERS:
        return _NUMBERS.index(answer)
    return LETTERS.index(answer) if len(answer) == 1 and answer in LETTERS else None


def _likeliest(answers: Sequence[Any], choices: Sequence[str], metric: str) -> int:
    """Return the first option of the highest log-likelihood, per unit of length as lm-eval does."""
    scores = [float(log_likelihood) for log_likelihood, _ in answers]
    if metric == "acc_norm":
        lengths = map(len, choices)  # numpy's division makes an empty option the least likely
        scores = [score / n if n else -inf for score, n in zip(scores, lengths, strict=True)]
    return scores.index(max(scores))
