"""Tests of differences: two runs of the same questions, a run and a publication, many at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from proteinlm_ext.stats import (
    BOOTSTRAP_RESAMPLES,
    BOOTSTRAP_SEED,
    CONFIDENCE,
    RESAMPLED_VALUES,
    Interval,
    bootstrap_interval,
    normal_quantile,
)

POWER = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A score minus another: paired by question, or against a publication."""

    value: float
    interval: Interval
    p_value: float
    test: str
    num_questions: int
    num_better: int | None = None
    """Questions that only the first got right; None where scores are not 0 or 1, or unpaired."""
    num_worse: int | None = None
    """Questions that only the second got right."""
    smallest_detectable: float | None = None
    """Difference found with 80% power at this discordance and n; None if there is none."""


def paired_difference(run: Sequence[float], baseline: Sequence[float]) -> Difference:
    """Compare two runs question by question.

    Right or wrong answers get the adjusted Wald interval of Bonett and Price
    (doi 10.3102/1076998611411915) and the mid-p McNemar test of Fagerland et al.
    (doi 10.1186/1471-2288-13-91). Other scores, such as means over rotations, get a bootstrap over
    questions and a sign-flip permutation test.

    Args:
        run: One score a question, in the same order as `baseline`.
        baseline: As many scores.

    Raises:
        ValueError: The two differ in length, or are empty.
    """
    if not run or len(run) != len(baseline):
        raise ValueError(f"{len(run)} and {len(baseline)} scores cannot be paired.")
    differences = np.asarray(run, dtype=float) - np.asarray(baseline, dtype=float)
    if not {*run, *baseline} <= {0, 1}:
        return Difference(
            value=float(differences.mean()),
            interval=bootstrap_interval(differences.tolist()),
            p_value=_sign_flip_p_value(differences),
            test="sign-flip permutation",
            num_questions=len(run),
        )
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    return Difference(
        value=(better - worse) / len(run),
        interval=_bonett_price(better, worse, len(run)),
        p_value=mcnemar_mid_p(better, worse),
        test="mid-p McNemar",
        num_questions=len(run),
        num_better=better,
        num_worse=worse,
        smallest_detectable=smallest_detectable_difference((better + worse) / len(run), len(run)),
    )


def _bonett_price(better: int, worse: int, num_questions: int) -> Interval:
    first, second = (better + 1) / (num_questions + 2), (worse + 1) / (num_questions + 2)
    variance = (first + second - (first - second) ** 2) / (num_questions + 2)
    margin = normal_quantile((1 + CONFIDENCE) / 2) * math.sqrt(variance)
    low, high = first - second - margin, first - second + margin
    return Interval(max(-1.0, low), min(1.0, high), "Bonett-Price")


def mcnemar_mid_p(better: int, worse: int) -> float:
    """Return the two-sided mid-p value of McNemar's test on the discordant counts."""
    import scipy.stats

    if better == worse:  # 1 but for rounding
        return 1.0
    flips: Any = scipy.stats.binom(better + worse, 0.5)
    fewer = min(better, worse)
    return float(2 * flips.cdf(fewer) - flips.pmf(fewer))


def _sign_flip_p_value(differences: Any) -> float:
    import scipy.stats

    if len(differences) == 1 or not differences.any():
        return 1.0
    result: Any = scipy.stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=BOOTSTRAP_RESAMPLES - 1,
        vectorized=True,
        batch=max(1, RESAMPLED_VALUES // len(differences)),
        rng=np.random.default_rng(BOOTSTRAP_SEED),
    )
    return float(result.pvalue)


def smallest_detectable_difference(discordance: float, num_questions: int) -> float | None:
    """Return the difference that McNemar's test finds with 80% power.

    Connor 1987, doi 10.2307/2531961, solved for the difference.

    Args:
        discordance: Share of the questions that exactly one of the two runs gets right.
        num_questions: Questions that both answered.

    Returns:
        The difference of the two accuracies, or None if even the largest possible one, which is
        the discordance itself, would be missed.
    """
    from scipy import optimize

    alpha, beta = normal_quantile((1 + CONFIDENCE) / 2), normal_quantile(POWER)

    def shortfall(difference: float) -> float:
        spread = math.sqrt(max(0.0, discordance - difference**2))
        return (
            alpha * math.sqrt(discordance) + beta * spread - difference * math.sqrt(num_questions)
        )

    if discordance <= 0 or shortfall(discordance) > 0:
        return None
    return float(cast("Any", optimize).brentq(shortfall, 0.0, discordance))


def difference_to_published(
    num_correct: int, num_items: int, accuracy: float, num_published: int
) -> Difference:
    """Compare a run with a publication of which only accuracy and n are known.

    Newcombe's hybrid score interval (Statistics in Medicine 17:873, 1998) and the pooled z-test,
    as if the samples were independent. Both answered the same questions, which usually agree, so
    the test is cautious.

    Args:
        num_correct: Right answers of the run.
        num_items: Questions of the run.
        accuracy: The published accuracy as a share.
        num_published: Its number of questions.
    """
    from statsmodels.stats import proportion

    library = cast("Any", proportion)
    right, asked = [num_correct, round(accuracy * num_published)], [num_items, num_published]
    low, high = library.confint_proportions_2indep(
        right[0], asked[0], right[1], asked[1], method="newcomb", alpha=1 - CONFIDENCE
    )
    differ = 0 < sum(right) < sum(asked)  # else the test is 0/0
    return Difference(
        value=num_correct / num_items - accuracy,
        interval=Interval(max(-1.0, float(low)), min(1.0, float(high)), "Newcombe"),
        p_value=float(library.proportions_ztest(right, asked)[1]) if differ else 1.0,
        test="two-proportion score test",
        num_questions=num_items,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for testing them together (Holm 1979).

    As statsmodels' `multipletests`, which collects garbage at every call: a quarter of a second
    each, where a comparison holds its samples.
    """
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(order))
    stepped = np.asarray(p_values)[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(stepped))
    return adjusted.tolist()
