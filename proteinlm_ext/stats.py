"""Intervals. A Wilson interval for independent questions; a bootstrap where answers are grouped."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

CONFIDENCE = 0.95
BOOTSTRAP_RESAMPLES = 10_000
BOOTSTRAP_SEED = 20240610  # the date of arXiv 2406.05540, fixed for stable output


class Interval(NamedTuple):
    """A two-sided 95% interval and the method that gave it."""

    low: float
    high: float
    method: str


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
    """Return the percentile bootstrap interval of a mean, one value a question, fixed seed."""
    import scipy.stats

    if len(set(values)) == 1:  # scipy returns NaN for a degenerate sample
        return Interval(values[0], values[0], "bootstrap over questions")
    result: Any = scipy.stats.bootstrap(
        (np.asarray(values, dtype=float),),
        np.mean,
        confidence_level=CONFIDENCE,
        n_resamples=BOOTSTRAP_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(BOOTSTRAP_SEED),
    )
    low, high = result.confidence_interval
    return Interval(float(low), float(high), "bootstrap over questions")
