"""Tests of differences against published values, enumeration and simulation."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chi2_contingency, multinomial
from test_stats import SIMULATIONS, coverage

from proteinlm_ext import differences, stats
from proteinlm_ext.differences import (
    Difference,
    difference_to_published,
    holm,
    mcnemar_mid_p,
    paired_difference,
    smallest_detectable_difference,
)

RIGHT_OR_WRONG = st.lists(st.tuples(*[st.integers(0, 1)] * 2), min_size=1, max_size=40)
AVERAGED = st.lists(st.tuples(*[st.sampled_from([0, 1 / 3, 0.5, 0.8, 1])] * 2), min_size=1)
COUNTS = st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (stats, differences):
        monkeypatch.setattr(module, "BOOTSTRAP_RESAMPLES", 600)


def outcomes(questions: int, discordance: float, difference: float) -> tuple[list[Any], list[Any]]:
    """Return how many questions only the first, only the second gets right, and how probably."""
    shares = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    better, worse = np.mgrid[: questions + 1, : questions + 1]
    cells = np.stack([better, worse, questions - better - worse], axis=-1)
    chance = multinomial.pmf(cells, questions, shares)
    likely = chance > 1e-6
    assert chance[likely].sum() > 0.998
    return np.argwhere(likely).tolist(), chance[likely].tolist()


def answers(better: int, worse: int, questions: int) -> tuple[list[int], list[int]]:
    """Return the answers of two runs that differ on `better` + `worse` of the questions."""
    same = [1] * (questions - better - worse)
    return [1] * better + [0] * worse + same, [0] * better + [1] * worse + same


def power(questions: int, discordance: float, difference: float) -> float:
    """Return the probability that McNemar's test calls two runs different."""
    counts, weights = outcomes(questions, discordance, difference)
    return np.average([mcnemar_mid_p(*pair) <= 0.05 for pair in counts], weights=weights)


def test_two_runs_get_the_published_interval_and_mid_p() -> None:
    # Fagerland, Lydersen and Laake 2017, Statistical Analysis of Contingency Tables, chapter 8:
    # complete response before and after consolidation therapy (Cavo et al. 2012).
    found = paired_difference(*answers(6, 16, 161))
    assert found.interval[:2] == pytest.approx((-0.1195, -0.0032), abs=5e-5)
    assert (found.value, found.p_value) == pytest.approx((-10 / 161, 0.034690), abs=5e-7)
    assert (found.num_better, found.num_worse, found.num_questions) == (6, 16, 161)


def test_mid_p_is_the_exact_test_with_half_of_the_splits_as_unlikely_as_the_one_seen() -> None:
    from statsmodels.stats.contingency_tables import mcnemar

    for better, worse in itertools.combinations(range(8), 2):
        tosses = np.array(list(itertools.product((-1, 1), repeat=better + worse)))
        gaps = abs(tosses.sum(axis=1)) - (worse - better)
        enumerated = np.mean(gaps > 0) + np.mean(gaps == 0) / 2
        exact = mcnemar([[0, better], [worse, 0]], exact=True).pvalue
        seen = binom.pmf(better, better + worse, 0.5)
        assert mcnemar_mid_p(better, worse) == pytest.approx(enumerated)
        assert mcnemar_mid_p(worse, better) == pytest.approx(exact - seen)
    assert mcnemar_mid_p(3, 3) == mcnemar_mid_p(0, 0) == 1.0


@pytest.mark.parametrize(
    ("questions", "discordance", "difference"),
    [(944, 0.1, 0.0), (944, 0.2, 0.05), (944, 0.03, 0.0), (200, 0.5, -0.2), (60, 0.25, 0.0)],
)
def test_paired_intervals_cover_and_the_test_keeps_its_level(
    questions: int, discordance: float, difference: float
) -> None:
    counts, weights = outcomes(questions, discordance, difference)
    found = [paired_difference(*answers(*pair, questions)) for pair in counts]
    assert 0.93 <= coverage(difference, (one.interval for one in found), weights) <= 0.97
    significant = np.average([one.p_value <= 0.05 for one in found], weights=weights)
    assert significant <= 0.055 if difference == 0 else significant > 0.8


@pytest.mark.usefixtures("few_resamples")
@pytest.mark.parametrize("difference", [0.0, 0.1])
def test_intervals_of_averaged_scores_cover_and_the_test_keeps_its_level(difference: float) -> None:
    rng = np.random.default_rng(5)
    ability = rng.beta(1, 1, (SIMULATIONS, 120)) * 0.9
    run, baseline = rng.binomial(6, ability + difference) / 6, rng.binomial(6, ability) / 6
    found = [paired_difference(list(a), list(b)) for a, b in zip(run, baseline, strict=True)]
    assert 0.93 <= coverage(difference, (one.interval for one in found)) <= 0.97
    significant = np.mean([one.p_value <= 0.05 for one in found])
    assert 0.035 <= significant <= 0.065 if difference == 0 else significant > 0.8


def test_few_averaged_scores_are_compared_under_every_change_of_signs() -> None:
    run, baseline = [1.0, 0.5, 0.75, 0.25, 1.0, 0.5], [0.5, 0.25, 0.75, 0.5, 0.125, 0.0]
    gaps = np.subtract(run, baseline)
    flipped = [abs(gaps @ signs) for signs in itertools.product((-1, 1), repeat=len(gaps))]
    found = paired_difference(run, baseline)
    assert found.p_value == pytest.approx(np.mean(np.array(flipped) >= abs(gaps.sum())))
    assert (found.num_better, found.smallest_detectable) == (None, None)
    assert paired_difference([0.5], [0.25]).p_value == 1.0


@pytest.mark.parametrize(("run", "baseline"), [([], []), ([1], [1, 0]), ([0.5, 1], [0.5])])
def test_runs_of_other_lengths_cannot_be_paired(run: list[float], baseline: list[float]) -> None:
    with pytest.raises(ValueError, match=f"{len(run)} and {len(baseline)} scores cannot be paired"):
        paired_difference(run, baseline)


def assert_opposite(first: Difference, second: Difference) -> None:
    """Check what holds of any comparison, and of the same one with the sides swapped."""
    low, high, _ = first.interval
    assert -1 <= low <= first.value + 1e-9 <= high + 2e-9 <= 1 + 2e-9
    assert 0 <= first.p_value <= 1
    swapped = (second.value, *second.interval[:2], second.p_value)
    assert swapped == pytest.approx((-first.value, -high, -low, first.p_value), abs=1e-9)


@pytest.mark.usefixtures("few_resamples")
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RIGHT_OR_WRONG | AVERAGED)
def test_swapping_two_runs_swaps_the_sign(pairs: list[tuple[float, float]]) -> None:
    run, baseline = (list(scores) for scores in zip(*pairs, strict=True))
    assert_opposite(paired_difference(run, baseline), paired_difference(baseline, run))


def test_the_smallest_detectable_difference_is_found_four_times_in_five() -> None:
    for questions, share in ((944, 0.1), (944, 0.25), (944, 0.02), (250, 0.3)):
        difference = smallest_detectable_difference(share, questions)
        spread = 1.959964 * share**0.5 + 0.841621 * (share - difference**2) ** 0.5  # Connor's n
        assert (spread / difference) ** 2 == pytest.approx(questions, rel=1e-5)
        assert 0.76 <= power(questions, share, difference) <= 0.84


def test_no_difference_is_detectable_where_even_the_largest_is_missed() -> None:
    for questions, share in ((944, 0.0), (944, 0.006), (10, 0.5)):
        assert smallest_detectable_difference(share, questions) is None
        assert power(questions, share, share) < 0.8


# --- a publication, several models --------------------------------------------------------------


def test_a_publication_gets_the_published_interval_and_p() -> None:
    # The same book, chapter 4: a trial of epinephrine (Perondi et al. 2004).
    found = difference_to_published(7, 34, 1 / 34, 34)
    assert found.interval[:2] == pytest.approx((0.0189, 0.3404), abs=5e-5)
    pearson = chi2_contingency([[7, 27], [1, 33]], correction=False).pvalue
    assert found.p_value == pytest.approx(pearson, abs=2e-3)


@pytest.mark.parametrize(
    ("items", "truth", "published_items", "published"),
    [(944, 0.6, 944, 0.6), (944, 0.5, 944, 0.62), (871, 0.185, 944, 0.25), (60, 0.5, 120, 0.7)],
)
def test_intervals_against_a_publication_cover(
    items: int, truth: float, published_items: int, published: float
) -> None:
    rng = np.random.default_rng(9)
    rights = rng.binomial(items, truth, SIMULATIONS).tolist()
    shares = (rng.binomial(published_items, published, SIMULATIONS) / published_items).tolist()
    intervals = (
        difference_to_published(right, items, share, published_items).interval
        for right, share in zip(rights, shares, strict=True)
    )
    assert 0.93 <= coverage(truth - published, intervals) <= 0.97


@settings(deadline=None)
@given(COUNTS, COUNTS)
def test_swapping_run_and_publication_swaps_the_sign(
    run: tuple[int, int], publication: tuple[int, int]
) -> None:
    (right, items), (published, published_items) = run, publication
    assert_opposite(
        difference_to_published(right, items, published / published_items, published_items),
        difference_to_published(published, published_items, right / items, items),
    )


def test_holm_multiplies_by_the_hypotheses_left_and_keeps_the_order() -> None:
    # By hand: 4 x 0.005, 3 x 0.01, 2 x 0.03, and 0.04 raised to the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert (holm([0.6, 0.7]), holm([])) == ([1.0, 1.0], [])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 30])
def test_holm_is_that_of_statsmodels_with_ties(size: int) -> None:
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(size)
    for p_values in (rng.random(size) / size, rng.choice([0.0, 0.004, 0.01, 0.3, 1.0], size)):
        expected = multipletests(p_values, method="holm")[1]
        assert holm(p_values.tolist()) == pytest.approx(expected.tolist(), rel=1e-12)
