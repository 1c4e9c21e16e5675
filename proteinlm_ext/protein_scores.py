"""Scores of rows about proteins, with intervals over proteins.

Rows of one protein are not independent, so the bootstrap draws proteins with all their rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from proteinlm_ext.annotation_scoring import bleu_of_sums
from proteinlm_ext.stats import (
    BOOTSTRAP_RESAMPLES,
    BOOTSTRAP_SEED,
    CONFIDENCE,
    Interval,
    wilson_interval,
)

# Metrics that are no share of anything, and so no percentage.
AMOUNTS = ("bleu", "nats_per_byte", "row_nats_per_byte")
_BATCH = 2_000_000  # resampled values at a time: bounds the memory


class RowScore(NamedTuple):
    """One metric over some rows."""

    value: float | None
    """None if no row is counted."""
    num_rows: int
    """Rows that are counted."""
    interval: Interval | None
    """None for a single protein, unless its score is 0 or 1."""


def score_rows(metric: str, samples: Sequence[Mapping[str, Any]]) -> RowScore:
    """Return the score of logged samples, as lm-eval aggregates it, and its 95% interval.

    Every score here is a function of sums over the rows: a ratio of two, or BLEU of ten counts.
    Where all rows of each protein are 0 or are 1 and each protein has one row, the interval is
    Wilson's; else the percentile bootstrap over proteins, fixed seed.

    Args:
        metric: One that the samples log as a number, None (not counted), or a list to add up.
        samples: Of one task under one filter; `doc` names the `accession`.
    """
    sums: dict[str, Any] = {}
    rows = [(sample["doc"]["accession"], sample[metric]) for sample in samples
            if sample.get(metric) is not None]  # fmt: skip
    for accession, value in rows:
        vector = np.asarray(value if isinstance(value, list | tuple) else (value, 1), dtype=float)
        sums[accession] = sums.get(accession, 0) + vector
    if not sums:
        return RowScore(None, 0, None)
    table: Any = np.stack([sums[accession] for accession in sorted(sums)])
    statistic = _bleu if metric == "bleu" else _ratio
    value = float(statistic(table.sum(axis=0, keepdims=True))[0])
    numbers = {number for _, number in rows if isinstance(number, int | float)}
    alone = len(sums) == len(rows) or len(numbers) == 1
    if metric not in AMOUNTS and numbers <= {0, 1} and alone:
        interval = wilson_interval(round(value * len(sums)), len(sums))
    else:
        interval = _bootstrap(table, statistic) if len(sums) > 1 else None
    return RowScore(value, len(rows), interval)


def _bootstrap(table: Any, statistic: Any) -> Interval:
    """Return the interval of a statistic of the columns' sums; a row is a protein."""
    draw, size = np.random.default_rng(BOOTSTRAP_SEED), len(table)
    found: list[Any] = []
    step = max(1, _BATCH // size)
    for start in range(0, BOOTSTRAP_RESAMPLES, step):
        times = min(step, BOOTSTRAP_RESAMPLES - start)
        drawn = draw.integers(size, size=(times, size)) + size * np.arange(times)[:, np.newaxis]
        # How often each protein was drawn, a row a resample: faster than gathering their rows.
        counts = np.bincount(drawn.ravel(), minlength=times * size).reshape(times, size)
        found.append(statistic(counts @ table))
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(np.concatenate(found), [tail, 100 - tail])
    return Interval(float(low), float(high), "bootstrap over proteins")


def _ratio(sums: Any) -> Any:
    return sums[:, 0] / sums[:, 1]


def _bleu(sums: Any) -> Any:
    return np.asarray([bleu_of_sums([int(count) for count in row]) for row in sums])
