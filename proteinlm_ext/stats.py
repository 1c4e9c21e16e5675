"""Intervals, and the score of guessing: what the accuracy of one run can claim.

Every interval is two-sided at 95%, and the unit is the question (but see `DEPENDENCE`).
"""

from collections import Counter
from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

CONFIDENCE = 0.95
BOOTSTRAP_RESAMPLES = 10_000
RESAMPLED_VALUES = 1_000_000  # resampled values at a time: bounds the memory, whatever n
BOOTSTRAP_SEED = 20240610  # the date of arXiv 2406.05540, fixed for stable output

DEPENDENCE = (
    "Questions drawn from one article are not independent and carry no source id: "
    "every interval is a lower bound of the true width."
)


class Interval(NamedTuple):
    """A two-sided 95% interval and the method that gave it."""

    low: float
    high: float
    method: str


class ChanceRange(NamedTuple):
    """The score of guessing: its mean, and where 95% of guessers fall."""

    mean: float
    low: float
    high: float


def normal_quantile(probability: float) -> float:
    """Return the quantile of the standard normal distribution."""
    import scipy.special

    return float(scipy.special.ndtri(probability))


def wilson_interval(num_correct: int, num_items: int) -> Interval:
    """Return the Wilson score interval of a proportion (Wilson 1927, doi 10.2307/2276774).

    Raises:
        ValueError: Without items, or with more correct than there are.
    """
    import scipy.stats

    test: Any = scipy.stats.binomtest(num_correct, num_items)
    interval = test.proportion_ci(CONFIDENCE, method="wilson")
    return Interval(float(interval.low), float(interval.high), "wilson")


def bootstrap_interval(values: Sequence[float]) -> Interval:
    """Return the percentile bootstrap interval of a mean, one value a question, fixed seed.

    With a question's rotations or repeats averaged first, it is the cluster bootstrap.
    """
    return stratified_interval([values])._replace(method="bootstrap over questions")


def stratified_interval(strata: Sequence[Sequence[float]]) -> Interval:
    """Return the bootstrap interval of the unweighted mean of the strata's means.

    Each stratum is resampled by itself (percentile, fixed seed).

    Args:
        strata: The values of each stratum, none empty.
    """
    import scipy.stats

    result: Any = scipy.stats.bootstrap(
        # scipy refuses a single observation; two that are equal resample to the same.
        [np.repeat(np.asarray(values, dtype=float), 1 + (len(values) == 1)) for values in strata],
        _mean_of_means,
        confidence_level=CONFIDENCE,
        n_resamples=BOOTSTRAP_RESAMPLES,
        method="percentile",
        vectorized=True,
        batch=max(1, RESAMPLED_VALUES // sum(map(len, strata))),
        rng=np.random.default_rng(BOOTSTRAP_SEED),
    )
    low, high = result.confidence_interval
    return Interval(float(low), float(high), "bootstrap over questions, by stratum")


def _mean_of_means(*strata: Any, axis: int = -1) -> Any:
    return sum(np.mean(values, axis=axis) for values in strata) / len(strata)


def effective_size(sizes: Sequence[int]) -> float:
    """Return how many equally weighted questions the mean of the strata's means is worth.

    Kish's (sum w)^2 / sum w^2 with weight 1 / (strata * size) a question (Survey Sampling, 1965).
    """
    return len(sizes) ** 2 / sum(1 / size for size in sizes)


def chance_range(option_counts: Sequence[int]) -> ChanceRange:
    """Return mean and central 95% of a guesser's accuracy: Poisson-binomial, p = 1/k a question."""
    tail, num_questions = (1 - CONFIDENCE) / 2, len(option_counts)
    cumulative = np.cumsum(_guess_probabilities(option_counts))
    low, high = (int(np.searchsorted(cumulative, p)) / num_questions for p in (tail, 1 - tail))
    return ChanceRange(sum(1 / k for k in option_counts) / num_questions, low, high)


def chance_p_value(num_correct: int, option_counts: Sequence[int]) -> float:
    """Return the probability that guessing gets at least `num_correct` right."""
    return min(1.0, float(_guess_probabilities(option_counts)[num_correct:].sum()))


def _guess_probabilities(option_counts: Sequence[int]) -> Any:
    """Return the probabilities of 0, 1, .. n right guesses, shape (n + 1,).

    Poisson-binomial as a convolution of one binomial for each number of options: what scipy's
    own `poisson_binom` gives, without its quadratic memory.
    """
    import scipy.stats

    library: Any = scipy.stats
    binomials = [
        library.binom(count, 1 / k).pmf(np.arange(count + 1))
        for k, count in sorted(Counter(option_counts).items())
    ]
    return reduce(np.convolve, binomials)
