"""Parts of a score that say what it is made of, from logged samples and without a forward pass.

Definitions, version 1 (docs/statistics.md explains them):
- acc_selfcontained: questions whose stem does not lean on a text that the model cannot see.
- acc_clean: questions without a defect that the document itself shows.
- acc_lenbalanced: six-option questions; options ranked by length, then position; accuracy within
  each rank of the right option, mean over the six. Any rule that picks a fixed rank scores 1/6.
- acc_gold_longest, acc_gold_not_longest: where the right option is the longest and where it is not
  (characters; ties: the first). Read them as a pair.
- knowledge: P(pick gold) without preference for length or position (preferences.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from proteinlm_ext.checks import is_clean, leans_on_unseen_text
from proteinlm_ext.differences import Difference, paired_difference
from proteinlm_ext.outcomes import Outcome, is_ours, primary_metric, read_outcomes
from proteinlm_ext.preferences import Pick, Preferences, fit_preferences
from proteinlm_ext.scoring import longest
from proteinlm_ext.stats import (
    Interval,
    bootstrap_interval,
    effective_size,
    stratified_interval,
    wilson_interval,
)

SLICES_VERSION = "1"
MIN_IN_RANK = 10  # with three questions in a rank the bootstrap covers 87%, not 95% (simulated)

# The runs of a comparison share their questions.
_leans = lru_cache(maxsize=20_000)(leans_on_unseen_text)
_clean = lru_cache(maxsize=20_000)(is_clean)

BALANCED_OPTIONS = 6  # 871 of the benchmark's 944 questions have six


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The accuracy on a part of the questions."""

    value: float | None
    """None without questions, or where a length rank has none."""
    num_questions: int
    interval: Interval | None
    effective_n: float | None = None
    """Of `acc_lenbalanced`: equally weighted questions that its weights are worth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """All slices of one score."""

    acc_selfcontained: Slice
    acc_clean: Slice
    acc_lenbalanced: Slice
    acc_gold_longest: Slice
    acc_gold_not_longest: Slice
    above_longest: Difference
    """Against always choosing the longest option, paired by question."""
    knowledge: Preferences | None
    """None if no answer could be read."""
    version: str = SLICES_VERSION


def slice_samples(samples: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], Slices]:
    """Slice one task's primary metric, by (metric, filter); empty if the documents are not ours.

    Args:
        samples: Logged samples of one task, all filters.
    """
    if not samples or not all(is_ours(sample["doc"]) for sample in samples):
        return {}
    slices: dict[tuple[str, str], Slices] = {}
    for name in dict.fromkeys(str(sample["filter"]) for sample in samples):
        filtered = [sample for sample in samples if sample["filter"] == name]
        if metric := primary_metric(filtered[0]["metrics"]):
            slices[metric, name] = slice_outcomes(read_outcomes(filtered, metric))
    return slices


def slice_outcomes(outcomes: Sequence[Outcome]) -> Slices:
    """Compute the slices of the outcomes under one metric; at least one outcome."""
    # In an order of their own, since a bootstrap depends on it.
    outcomes = sorted(outcomes, key=lambda outcome: (outcome.id, outcome.answer, outcome.score))
    hits = [longest(outcome.choices) == outcome.answer for outcome in outcomes]
    return Slices(
        acc_selfcontained=_slice(o for o in outcomes if not _leans(o.question)),
        acc_clean=_slice(o for o in outcomes if _clean(o.question, o.choices)),
        acc_lenbalanced=_length_balanced(outcomes),
        acc_gold_longest=_slice(o for o, hit in zip(outcomes, hits, strict=True) if hit),
        acc_gold_not_longest=_slice(o for o, hit in zip(outcomes, hits, strict=True) if not hit),
        above_longest=paired_difference(
            [outcome.score for outcome in outcomes], [float(hit) for hit in hits]
        ),
        knowledge=fit_preferences(
            [
                Pick(outcome.choices, outcome.answer, picked, rotation, 1 / len(outcome.picks))
                for outcome in outcomes
                for rotation, picked in outcome.picks
                if picked is not None
            ]
        ),
    )


def _slice(outcomes: Any) -> Slice:
    scores: list[float] = [outcome.score for outcome in outcomes]
    if not scores:
        return Slice(value=None, num_questions=0, interval=None)
    mean = sum(scores) / len(scores)
    if set(scores) <= {0, 1}:
        interval = wilson_interval(int(sum(scores)), len(scores))
    else:
        interval = bootstrap_interval(scores)
    return Slice(value=mean, num_questions=len(scores), interval=interval)


def length_rank(choices: Sequence[str], position: int) -> int:
    """Return the 0-based rank of an option by length, longest first; ties by position."""
    order = sorted(range(len(choices)), key=lambda option: (-len(choices[option]), option))
    return order.index(position)


def _length_balanced(outcomes: Sequence[Outcome]) -> Slice:
    ranks: list[list[float]] = [[] for _ in range(BALANCED_OPTIONS)]
    for outcome in outcomes:
        if len(outcome.choices) == BALANCED_OPTIONS:
            ranks[length_rank(outcome.choices, outcome.answer)].append(outcome.score)
    num_questions = sum(map(len, ranks))
    if not all(ranks):
        return Slice(value=None, num_questions=num_questions, interval=None)
    enough = min(map(len, ranks)) >= MIN_IN_RANK
    return Slice(
        value=sum(sum(scores) / len(scores) for scores in ranks) / BALANCED_OPTIONS,
        num_questions=num_questions,
        interval=stratified_interval(ranks) if enough else None,
        effective_n=effective_size([len(scores) for scores in ranks]),
    )
