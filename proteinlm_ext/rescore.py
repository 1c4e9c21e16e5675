"""`proteinlm rescore`: the saved answers of one generative run, read by every rule that we know.

The model's answers stay as they are; only extraction and denominator change. What differs here is
the part of a published difference that the kit made.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proteinlm_ext.errors import MissingDependencyError, UsageError
from proteinlm_ext.extract import INVALID, extract_answer, extract_final_line
from proteinlm_ext.outcomes import has_options
from proteinlm_ext.published import extract_opencompass, extract_paper, extract_scienceeval
from proteinlm_ext.questions import LETTERS
from proteinlm_ext.runs import load_run
from proteinlm_ext.stats import Interval, wilson_interval
from proteinlm_ext.tables import Table, percent, span

# Each takes the text and the options, and returns a letter, the paper's number, or "[invalid]".
RULES: dict[str, Callable[[str, Sequence[str]], str | None]] = {
    "strict": extract_final_line,
    "flexible": extract_answer,
    "paper": lambda text, _: extract_paper(text),
    "opencompass": lambda text, choices: extract_opencompass(text, len(choices)),
    "scienceeval": lambda text, _: extract_scienceeval(text),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescored:
    """The answers of one task under one extraction rule."""

    rule: str
    num_questions: int
    num_answered: int
    """Answers that the rule could read."""
    num_correct: int
    accuracy: float
    """Over all questions: an answer that cannot be read is wrong."""
    interval: Interval
    accuracy_answered: float | None
    """Over the answers that were read, ScienceEval's denominator; None without any."""
    interval_answered: Interval | None
    flips: dict[str, int]
    """By the other rule: answers that one counts as right and the other as wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RescoredTask:
    """A generative task of a run under every rule."""

    task: str
    rules: tuple[Rescored, ...]
    remarks: tuple[str, ...]


def rescore(path: Path) -> list[RescoredTask]:
    """Read the saved answers of a run by every rule.

    Args:
        path: A folder or results file of lm-eval with logged samples.

    Raises:
        UsageError: The run has no generated answers to questions with options.
        ProteinLMError: A file is damaged.
    """
    tasks = load_run(path, responses=True).tasks
    rescored = [
        rescore_answers(name, first)
        for name, task in tasks.items()
        if (first := [s for s in task.samples if s["filter"] == task.samples[0]["filter"]])
        and _is_generated(first[0])
    ]
    if not rescored:
        raise UsageError(
            f"{path} has no generated answers to multiple-choice questions (its tasks: "
            f"{', '.join(tasks)}). Run --tasks proteinlmbench_gen, or a published protocol."
        )
    return rescored


def _is_generated(sample: Mapping[str, Any]) -> bool:
    return isinstance(sample["resps"][0][0], str) and has_options(sample["doc"])


def rescore_answers(task: str, samples: Sequence[Mapping[str, Any]]) -> RescoredTask:
    """Rescore one task.

    Args:
        task: Its name.
        samples: Logged samples of one filter, with `resps`; of several responses the first counts.
    """
    correct: dict[str, list[bool]] = {}
    answered: dict[str, int] = {}
    remarks: list[str] = []
    for name, rule in RULES.items():
        try:
            found = [rule(_text(s), s["doc"]["choices"]) or INVALID for s in samples]
        except MissingDependencyError as error:
            remarks.append(f"{name} is left out: {error}")
            continue
        answered[name] = sum(answer != INVALID for answer in found)
        correct[name] = [
            answer in (LETTERS[s["doc"]["answer"]], str(s["doc"]["answer"] + 1))
            for answer, s in zip(found, samples, strict=True)
        ]
    if any(len(sample["resps"][0]) > 1 for sample in samples):
        remarks.append("of several responses to a question the first is read")
    return RescoredTask(
        task=task,
        rules=tuple(_rescored(name, answered[name], correct) for name in correct),
        remarks=tuple(remarks),
    )


def _text(sample: Mapping[str, Any]) -> str:
    """Return the first response; lm-eval saves a missing one as the text "None"."""
    text: str = sample["resps"][0][0]
    return "" if text == "None" else text


def _rescored(rule: str, num_answered: int, correct: Mapping[str, list[bool]]) -> Rescored:
    mine = correct[rule]
    right = sum(mine)
    return Rescored(
        rule=rule,
        num_questions=len(mine),
        num_answered=num_answered,
        num_correct=right,
        accuracy=right / len(mine),
        interval=wilson_interval(right, len(mine)),
        accuracy_answered=right / num_answered if num_answered else None,
        interval_answered=wilson_interval(right, num_answered) if num_answered else None,
        flips={
            other: sum(a != b for a, b in zip(mine, theirs, strict=True))
            for other, theirs in correct.items()
            if other != rule
        },
    )


def rescored_table(task: RescoredTask) -> Table:
    """Return the matrix: rules by denominators, then the flips between each two rules."""
    names = [rule.rule for rule in task.rules]
    header = ("rule", "n", "answered", "right", "of all", "95% interval", "of answered",
              "95% interval", *(f"flips {name}" for name in names))  # fmt: skip
    rows = tuple(
        (
            rule.rule, str(rule.num_questions), str(rule.num_answered), str(rule.num_correct),
            percent(rule.accuracy), span(rule.interval), percent(rule.accuracy_answered),
            span(rule.interval_answered), *(str(rule.flips.get(name, "-")) for name in names),
        )
        for rule in task.rules
    )  # fmt: skip
    return Table(title=task.task, header=header, rows=rows, left=("rule",), notes=task.remarks)
