"""The rules that never read a question run through the harness like any model."""

from collections.abc import Callable
from typing import Any

import pytest

from proteinlm_ext.benchmark import load_sample
from proteinlm_ext.errors import UsageError
from proteinlm_ext.heuristic import RULES, HeuristicLM
from proteinlm_ext.scoring import longest, shortest

HeuristicRun = Callable[..., dict[str, Any]]


def test_ties_go_to_the_first_option() -> None:
    assert longest(["aa", "bbb", "ccc"]) == 1
    assert shortest(["aa", "b", "c"]) == 1


@pytest.mark.parametrize("rule", ["longest", "shortest", "A", "F"])
@pytest.mark.parametrize("task", ["proteinlmbench", "proteinlmbench_cloze", "proteinlmbench_gen"])
def test_a_rule_scores_what_it_scores_by_hand(
    rule: str, task: str, heuristic_run: HeuristicRun, sample_as_benchmark: object
) -> None:
    printed = heuristic_run("--tasks", task, rule=rule)["tasks"][task]
    questions = load_sample().questions
    right = sum(RULES[rule](q.choices) == q.answer for q in questions)
    assert printed["scores"][0]["value"] == pytest.approx(right / len(questions))
    if rule == "longest":
        assert printed["longest"] == pytest.approx(right / len(questions))


def test_an_unknown_rule_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="'best' is unknown; the rules are longest, shortest, A"):
        HeuristicLM(rule="best")


def test_a_document_without_options_is_refused(heuristic_run: HeuristicRun) -> None:
    with pytest.raises(UsageError, match="choices"):
        HeuristicLM()._pick({"question": "?"})
