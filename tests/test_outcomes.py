"""Picks and scores from logged samples: every protocol, in memory and saved, as lm-eval scored."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lm_eval
import pickers
import pytest
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

from proteinlm_ext.benchmark import load_sample
from proteinlm_ext.outcomes import (
    document_id,
    has_options,
    is_ours,
    is_rotation,
    primary_metric,
    read_outcomes,
)
from proteinlm_ext.paths import tasks_dir
from proteinlm_ext.questions import LETTERS, make_question
from proteinlm_ext.runs import load_run

DOC = make_question("Which?", ["aaa", "bb", "cc", "d", "eeee", "f"], 2).to_doc()


def place_of(doc: dict[str, Any]) -> int:
    """Return the place that the model picks, the same in all rotations; ScienceEval reads A-F."""
    return int(doc["id"], 16) % min(6, len(doc["choices"]))


def is_silent(doc: dict[str, Any]) -> bool:
    return int(doc["id"], 16) % 5 == 0


def write(doc: dict[str, Any]) -> str:
    letter, number = LETTERS[place_of(doc)], place_of(doc) + 1
    said = f"The correct option is {number}. $\\boxed{{{letter}}}$\nAnswer: {letter}"
    return "no idea." if is_silent(doc) else said


def evaluate(task: str, model: Any, output: Path) -> list[dict[str, Any]]:
    """Run lm-eval, save what it saves, and return the samples in memory."""
    results: Any = lm_eval.simple_evaluate(
        model=model,
        tasks=[task],
        task_manager=TaskManager(include_path=tasks_dir(), include_defaults=False),
    )
    samples = results.pop("samples")
    tracker = EvaluationTracker(output_path=str(output))
    tracker.general_config_tracker.model_name_sanitized = "picker"
    tracker.save_results_aggregated(results=results, samples=samples)
    tracker.save_results_samples(task_name=task, samples=samples[task])
    return samples[task]


@pytest.mark.usefixtures("sample_as_benchmark")
@pytest.mark.parametrize(
    ("task", "metric", "filters"),
    [
        ("proteinlmbench", "acc", ["none"]),
        ("proteinlmbench_choices_only", "acc", ["none"]),
        ("proteinlmbench_cloze", "acc_norm", ["none"]),
        ("proteinlmbench_perm", "acc", ["none"]),
        ("proteinlmbench_gen", "exact_match", ["strict", "flexible"]),
        ("proteinlmbench_cot", "exact_match", ["strict", "flexible"]),
        ("proteinlmbench_paper", "acc", ["paper"]),
        ("proteinlmbench_scienceeval", "acc", ["scienceeval"]),
    ],
)
def test_the_picks_of_a_run_are_those_that_the_model_made(
    task: str, metric: str, filters: list[str], tmp_path: Path
) -> None:
    logged = evaluate(task, pickers.Picker(place_of, write), tmp_path)
    (saved,) = load_run(tmp_path).tasks.values()
    questions = {question.id: question for question in load_sample().questions}
    assert list(dict.fromkeys(sample["filter"] for sample in logged)) == filters
    for name in filters:
        samples = [sample for sample in logged if sample["filter"] == name]
        assert primary_metric(samples[0]["metrics"]) == metric
        outcomes = read_outcomes(samples, metric)
        asked = [q for q in questions.values() if q.answer < 6 or "scienceeval" not in task]
        assert len(outcomes) == len(asked)
        for outcome in outcomes:
            question = questions[outcome.id]
            assert outcome.choices == question.choices
            assert (outcome.question, outcome.answer) == (question.question, question.answer)
            doc, count = question.to_doc(), len(question.choices)
            turns = range(count if "perm" in task else 1)
            unread = is_silent(doc) and saved.summary.invalid_rates != {}
            expected = [(turn, (place_of(doc) + turn) % count) for turn in turns]
            assert outcome.picks == (((0, None),) if unread else tuple(expected))
            hits = [picked == question.answer for _, picked in outcome.picks]
            assert outcome.score == pytest.approx(sum(hits) / len(hits))
        from_file = [sample for sample in saved.samples if sample["filter"] == name]
        assert read_outcomes(from_file, metric) == outcomes


@pytest.mark.usefixtures("sample_as_benchmark")
def test_plain_acc_of_a_cloze_task_has_the_picks_that_acc_counts(tmp_path: Path) -> None:
    """The picker's summed log-likelihoods favour short options, those per character do not."""
    samples = evaluate("proteinlmbench_cloze", pickers.Picker(place_of), tmp_path)
    by_metric = {metric: read_outcomes(samples, metric) for metric in ("acc", "acc_norm")}
    for outcomes in by_metric.values():
        assert [o.score for o in outcomes] == [o.picks[0][1] == o.answer for o in outcomes]
    assert by_metric["acc"] != by_metric["acc_norm"]


# --- one document -------------------------------------------------------------------------------


def read(answers: list[Any], metric: str = "acc", **doc: Any) -> int | None:
    """Return the pick of one sample of a question with six options."""
    sample = {"doc_id": 0, "doc": DOC | doc, "filtered_resps": answers, metric: 0.0}
    (outcome,) = read_outcomes([sample], metric)
    ((rotation, picked),) = outcome.picks
    assert rotation == doc.get("rotation", 0)
    return picked


@pytest.mark.parametrize(
    ("answer", "picked"),
    [
        ("A", 0), ("F", 5), ("G", None), ("J", None), ("K", None), ("a", None), ("AB", None),
        ("1", 0), ("6", 5), ("7", None), ("0", None), ("2024", None), ("9" * 5000, None),
        ("[invalid]", None), ("", None), ("\u00b2", None),
    ],
)  # fmt: skip
def test_a_letter_or_the_papers_number_names_an_option_if_the_question_has_it(
    answer: str, picked: int | None
) -> None:
    assert read([answer]) == picked


@pytest.mark.parametrize("number", [float, str])
def test_ties_of_likelihood_go_to_the_first_option(number: Callable[[float], Any]) -> None:
    answers = [(number(value), number(False)) for value in (-3.0, -2.0, -9.0, -2.0, -2.5, -4.0)]
    assert read(answers) == 1


def test_acc_norm_picks_by_log_likelihood_per_character() -> None:
    answers = [(value, False) for value in (-6.0, -5.0, -5.0, -2.5, -7.0, -3.0)]
    assert read(answers, "acc") == 3
    assert read(answers, "acc_norm") == 4


def test_an_option_without_text_is_never_the_likeliest_per_character() -> None:
    answers = [(value, False) for value in (-6.0, -5.0, -5.0, -0.5, -7.0, -3.0)]
    choices = ["aaa", "bb", "cc", "", "eeee", "f"]
    assert read(answers, "acc_norm", choices=choices) == 4


# --- rotations ----------------------------------------------------------------------------------


def rotations(*shifts: int, picked: int = 0) -> list[dict[str, Any]]:
    docs = pickers.rotate([make_question("Which?", DOC["choices"], DOC["answer"])])
    return [pickers.log_letter(docs[shift], picked, shift) for shift in shifts]


@pytest.mark.parametrize("shifts", [range(6), [4], [5, 1, 3]])
def test_picks_of_rotations_are_told_in_the_order_of_the_file(shifts: list[int]) -> None:
    """Also where --limit or --samples left some rotations out."""
    (outcome,) = read_outcomes(rotations(*shifts, picked=1), "acc")
    assert list(outcome.choices) == DOC["choices"]
    assert outcome.answer == DOC["answer"]
    assert outcome.picks == tuple((shift, (1 + shift) % 6) for shift in sorted(shifts))
    right = [shift for shift in shifts if (1 + shift) % 6 == DOC["answer"]]
    assert outcome.score == pytest.approx(len(right) / len(shifts))


def test_an_option_picked_in_every_rotation_is_one_pick_in_the_order_of_the_file() -> None:
    docs = pickers.rotate([make_question("Which?", DOC["choices"], DOC["answer"])])
    samples = [pickers.log_letter(doc, doc["choices"].index("f"), n) for n, doc in enumerate(docs)]
    (outcome,) = read_outcomes(samples, "acc")
    assert {picked for _, picked in outcome.picks} == {5}
    assert outcome.score == 0


def test_the_order_of_a_questions_rotations_does_not_matter() -> None:
    samples = rotations(*range(6))
    shuffled = [samples[place] for place in (3, 0, 5, 1, 4, 2)]
    assert read_outcomes(shuffled, "acc") == read_outcomes(samples, "acc")


def test_two_rows_of_a_file_with_one_id_are_two_outcomes() -> None:
    samples = [pickers.log_letter(DOC, picked, place) for place, picked in enumerate((0, 2))]
    outcomes = read_outcomes(samples, "acc")
    assert [outcome.score for outcome in outcomes] == [0.0, 1.0]
    assert [outcome.id for outcome in outcomes] == [DOC["id"]] * 2


# --- what a document is -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metrics", "primary"),
    [
        (["acc", "acc_norm", "acc_bytes"], "acc_norm"),
        (["acc", "acc_all_rotations"], "acc"),
        (["acc", "acc_answered", "invalid_rate"], "acc"),
        (["exact_match", "invalid_rate"], "exact_match"),
        (["f1"], None),
        ([], None),
    ],
)
def test_the_primary_metric_scores_the_pick(metrics: list[str], primary: str | None) -> None:
    assert primary_metric(metrics) == primary


@pytest.mark.parametrize("doc", ["row_hash rotation", ["choices"], None, {"choices": "ab"}, {}])
def test_a_document_of_another_benchmark_may_be_anything(doc: Any) -> None:
    assert not has_options(doc)
    assert not is_rotation(doc)
    assert not is_ours(doc)
    assert document_id({"doc": doc, "doc_hash": "5f"}) == "5f"


def test_a_question_is_known_by_its_id_and_mmlu_by_lm_evals_hash() -> None:
    mmlu = {"question": "?", "choices": ["a", "b"], "answer": 0, "id": "x"}
    assert has_options(mmlu)
    assert not is_ours(mmlu)
    assert document_id({"doc": mmlu, "doc_hash": "5f"}) == "5f"
    assert document_id({"doc": DOC, "doc_hash": "5f"}) == DOC["id"]
    assert is_rotation(rotations(3)[0]["doc"])
    assert not is_rotation(DOC)
