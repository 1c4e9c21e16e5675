"""How a task scores one document and aggregates: what the YAML names as `!function`.

An invalid answer is wrong, never dropped: it stays in the denominator of `exact_match`, and
`invalid_rate` says how many there were.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from proteinlm_ext.extract import INVALID
from proteinlm_ext.questions import LETTERS


class ByQuestion(NamedTuple):
    """A score of one rotation, with the question that it belongs to."""

    question_id: str
    score: float


def longest(choices: Sequence[str]) -> int:
    """Return the position of the longest option by characters; ties go to the first."""
    return max(range(len(choices)), key=lambda position: len(choices[position]))


def shortest(choices: Sequence[str]) -> int:
    """Return the position of the shortest option by characters; ties go to the first."""
    return min(range(len(choices)), key=lambda position: len(choices[position]))


def score_generation(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Compare one extracted letter with the key.

    Args:
        doc: A document with `answer` (0-based).
        results: One text, a letter or "[invalid]", as the task's filter left it.
    """
    (letter,) = results
    return {
        "exact_match": float(letter == LETTERS[doc["answer"]]),
        "invalid_rate": float(letter == INVALID),
    }


def rotate_options(dataset: Any) -> Any:
    """Replace every question by its k cyclic rotations: circular evaluation.

    Rotation r starts with option r, so each option stands at each letter once. Rotations of one
    question are neighbours; `rotation` holds r. A pure function, since lm-eval calls it repeatedly.

    Args:
        dataset: `datasets.Dataset` with the columns of `Question`.
    """
    from datasets import Dataset

    return Dataset.from_list([rotation for doc in dataset for rotation in _rotations(doc)])


def _rotations(doc: Mapping[str, Any]) -> list[dict[str, Any]]:
    choices: list[str] = doc["choices"]
    num_options = len(choices)
    return [
        {
            **doc,
            "choices": choices[shift:] + choices[:shift],
            "answer": (doc["answer"] - shift) % num_options,
            "rotation": shift,
        }
        for shift in range(num_options)
    ]


def score_rotation(
    doc: Mapping[str, Any], results: Sequence[tuple[float, bool]]
) -> dict[str, ByQuestion]:
    """Score one rotation by the letter of the highest log-likelihood (ties: the first letter)."""
    log_likelihoods = [log_likelihood for log_likelihood, _ in results]
    picked = log_likelihoods.index(max(log_likelihoods))
    score = ByQuestion(doc["id"], float(picked == doc["answer"]))
    return {"acc": score, "acc_all_rotations": score}


def group_by_question(scores: Sequence[Sequence[Any]]) -> dict[str, list[float]]:
    """Collect (question id, score) pairs by question."""
    groups: defaultdict[str, list[float]] = defaultdict(list)
    for question_id, score in scores:
        groups[question_id].append(float(score))
    return groups


def mean_over_questions(scores: Sequence[Sequence[Any]]) -> float:
    """Return the mean over questions of the mean over their rotations."""
    means = [sum(group) / len(group) for group in group_by_question(scores).values()]
    return sum(means) / len(means)


def share_all_right(scores: Sequence[Sequence[Any]]) -> float:
    """Return the share of questions that are right under every rotation."""
    groups = group_by_question(scores).values()
    return sum(all(group) for group in groups) / len(groups)


def mean_answered(scores: Sequence[float | None]) -> float:
    """Return the mean over the answers that a protocol counts (None: not counted), NaN if none."""
    counted = [score for score in scores if score is not None]
    return sum(counted) / len(counted) if counted else float("nan")
