"""How documents are scored: nothing leaves a denominator; the unit of rotations is a question."""

import math

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from proteinlm_ext.scoring import (
    ByQuestion,
    mean_answered,
    mean_over_questions,
    rotate_options,
    score_generation,
    score_rotation,
    share_all_right,
)

DOC = {"id": "a", "question": "Which?", "choices": ["w", "x", "y", "z"], "answer": 2}


@pytest.mark.parametrize(
    ("letter", "right", "invalid"), [("C", 1.0, 0.0), ("A", 0.0, 0.0), ("[invalid]", 0.0, 1.0)]
)
def test_an_invalid_answer_is_wrong_and_counted(letter: str, right: float, invalid: float) -> None:
    scored = score_generation(DOC, [letter])
    assert scored == {"exact_match": right, "invalid_rate": invalid}


def test_each_option_stands_at_each_letter_once_and_the_gold_moves_with_it() -> None:
    rotations = list(rotate_options(Dataset.from_list([DOC])))
    assert [doc["rotation"] for doc in rotations] == [0, 1, 2, 3]
    assert sorted(doc["choices"][0] for doc in rotations) == DOC["choices"]
    assert all(doc["choices"][doc["answer"]] == "y" for doc in rotations)
    assert sorted(doc["answer"] for doc in rotations) == [0, 1, 2, 3]


def test_rotating_is_pure_since_lm_eval_repeats_it() -> None:
    dataset = Dataset.from_list([DOC, {**DOC, "id": "b", "choices": ["m", "n"], "answer": 0}])
    assert rotate_options(dataset).to_list() == rotate_options(dataset).to_list()
    assert len(rotate_options(dataset)) == 6


def test_a_rotation_is_scored_by_the_highest_log_likelihood_ties_to_the_first() -> None:
    right = ByQuestion("a", 1.0)
    assert score_rotation(DOC, [(-3, False), (-2, False), (-1, True), (-2, False)])["acc"] == right
    tied = score_rotation(DOC, [(-3, False), (-1, False), (-1, True), (-2, False)])
    assert tied["acc_all_rotations"] == ByQuestion("a", 0.0)


def test_questions_weigh_alike_whatever_their_number_of_rotations() -> None:
    scores = [("two", 1.0), ("two", 1.0), *[("six", 0.0)] * 5, ("six", 1.0)]
    assert mean_over_questions(scores) == pytest.approx((1 + 1 / 6) / 2)
    assert share_all_right(scores) == 0.5


@given(st.lists(st.sampled_from([1.0, 0.0, None]), min_size=1))
def test_the_answered_denominator_counts_what_was_answered(scores: list[float | None]) -> None:
    answered = [score for score in scores if score is not None]
    result = mean_answered(scores)
    if answered:
        assert result == pytest.approx(sum(answered) / len(answered))
    else:
        assert math.isnan(result)
