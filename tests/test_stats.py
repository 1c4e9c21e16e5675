"""Intervals against published values and simulation."""

import numpy as np
import pytest

from proteinlm_ext.stats import bootstrap_interval, wilson_interval


@pytest.mark.parametrize(
    ("correct", "items", "low", "high"),
    [
        # Newcombe 1998, table I, method 3
        # (doi 10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(
    correct: int, items: int, low: float, high: float
) -> None:
    interval = wilson_interval(correct, items)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)
    assert interval.method == "wilson"


def test_wilson_refuses_more_right_answers_than_questions() -> None:
    with pytest.raises(ValueError, match="k"):
        wilson_interval(3, 2)


def test_wilson_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    truth, items = 0.42, 944
    intervals = [wilson_interval(int(k), items) for k in rng.binomial(items, truth, size=1000)]
    covered = np.mean([interval.low <= truth <= interval.high for interval in intervals])
    assert 0.93 <= covered <= 0.97


def test_the_bootstrap_is_reproducible_and_brackets_the_mean() -> None:
    values = [0.0, 0.5, 1.0, 1.0, 1 / 6] * 20
    interval = bootstrap_interval(values)
    assert interval == bootstrap_interval(values)
    assert interval.low < np.mean(values) < interval.high


def test_the_bootstrap_of_a_large_sample_agrees_with_the_normal_interval() -> None:
    values = list(np.random.default_rng(2).random(2000))
    interval = bootstrap_interval(values)
    half = 1.96 * np.std(values) / np.sqrt(len(values))
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.05)


def test_the_bootstrap_of_equal_values_is_a_point() -> None:
    assert bootstrap_interval([1.0, 1.0])[:2] == (1.0, 1.0)
