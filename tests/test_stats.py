"""Intervals and tests against published values, enumeration and simulation."""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from proteinlm_ext import stats

SIMULATIONS = 1500  # the standard error of a coverage of 95% is then 0.56 points


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "BOOTSTRAP_RESAMPLES", 600)


def coverage(
    truth: float, intervals: Iterable[stats.Interval], weights: Sequence[float] | None = None
) -> float:
    """Return the share of the intervals that hold the truth."""
    return np.average([low <= truth <= high for low, high, _ in intervals], weights=weights)


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
    interval = stats.wilson_interval(correct, items)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)
    assert interval.method == "wilson"


@pytest.mark.parametrize(("correct", "items"), [(3, 2), (0, 0)])
def test_wilson_refuses_impossible_counts(correct: int, items: int) -> None:
    with pytest.raises(ValueError, match=r"k \(|n must"):
        stats.wilson_interval(correct, items)


@pytest.mark.parametrize(
    ("items", "truth"), [(944, 0.185), (944, 0.42), (944, 0.7), (250, 0.25), (60, 0.5), (944, 0.03)]
)
def test_wilson_covers_the_truth_about_as_often_as_it_says(items: int, truth: float) -> None:
    counts = np.random.default_rng(1).binomial(items, truth, size=SIMULATIONS)
    intervals = (stats.wilson_interval(int(count), items) for count in counts)
    assert 0.93 <= coverage(truth, intervals) <= 0.97


def test_the_bootstrap_is_reproducible_and_brackets_the_mean() -> None:
    values = [0.0, 0.5, 1.0, 1.0, 1 / 6] * 20
    interval = stats.bootstrap_interval(values)
    assert interval == stats.bootstrap_interval(values)
    assert interval.low < np.mean(values) < interval.high


@pytest.mark.usefixtures("few_resamples")
@pytest.mark.parametrize(("repeats", "alpha", "beta"), [(6, 0.6, 0.4), (16, 2, 3)])
def test_the_bootstrap_covers_where_repeats_of_a_question_resemble_each_other(
    repeats: int, alpha: float, beta: float
) -> None:
    rng, truth = np.random.default_rng(3), alpha / (alpha + beta)
    right = rng.binomial(repeats, rng.beta(alpha, beta, (SIMULATIONS, 600)))
    clustered = (stats.bootstrap_interval(list(row / repeats)) for row in right)
    assert 0.93 <= coverage(truth, clustered) <= 0.97
    as_if_independent = (stats.wilson_interval(int(row.sum()), 600 * repeats) for row in right)
    assert coverage(truth, as_if_independent) < 0.8


@pytest.mark.usefixtures("few_resamples")
def test_the_stratified_bootstrap_covers_the_unweighted_mean_of_unequal_strata() -> None:
    rng = np.random.default_rng(4)
    strata = {264: 0.25, 120: 0.8, 80: 0.45, 60: 0.6, 40: 0.35, 36: 0.9}
    samples = ([rng.binomial(1, p, n) for n, p in strata.items()] for _ in range(SIMULATIONS))
    truth = float(np.mean(list(strata.values())))
    assert 0.93 <= coverage(truth, map(stats.stratified_interval, samples)) <= 0.97


def test_strata_of_equal_values_or_of_one_question_add_no_width() -> None:
    assert stats.bootstrap_interval([1.0, 1.0])[:2] == (1.0, 1.0)
    point = stats.stratified_interval([[1.0] * 4, [0.0], [0.5, 0.5]])
    assert point[:2] == pytest.approx((0.5, 0.5))
    assert point.method == "bootstrap over questions, by stratum"
    values = [0.0, 1.0] * 20
    alone, beside = stats.stratified_interval([values]), stats.stratified_interval([values, [1.0]])
    assert beside.high - beside.low == pytest.approx((alone.high - alone.low) / 2, abs=0.02)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=8), st.floats(0.05, 0.95))
def test_the_effective_size_has_the_variance_of_the_mean(sizes: list[int], p: float) -> None:
    variance = sum(p * (1 - p) / size for size in sizes) / len(sizes) ** 2
    assert p * (1 - p) / stats.effective_size(sizes) == pytest.approx(variance)
    assert stats.effective_size([sizes[0]] * 6) == pytest.approx(6 * sizes[0])


@pytest.mark.parametrize(("questions", "options"), [(944, 4), (30, 2), (7, 5)])
def test_guessing_among_equally_many_options_is_binomial(questions: int, options: int) -> None:
    counts, guesses = [options] * questions, binom(questions, 1 / options)
    limits = (1 / options, *guesses.ppf([0.025, 0.975]) / questions)
    assert stats.chance_range(counts) == pytest.approx(limits)
    for right in (0, 1, questions // options, questions // 2, questions):
        assert stats.chance_p_value(right, counts) == pytest.approx(guesses.sf(right - 1))


def test_guessing_among_mixed_options_agrees_with_every_answer_sheet() -> None:
    counts = [2, 2, 3, 3, 4, 4, 5, 6]
    sheets = itertools.product(*map(range, counts))
    scores = np.array([sheet.count(0) for sheet in sheets])  # say the first option is right
    for right in range(len(counts) + 1):
        assert stats.chance_p_value(right, counts) == pytest.approx(np.mean(scores >= right))
    limits = np.quantile(scores, [0.025, 0.975], method="inverted_cdf")
    assert stats.chance_range(counts) == pytest.approx(np.array([scores.mean(), *limits]) / 8)
