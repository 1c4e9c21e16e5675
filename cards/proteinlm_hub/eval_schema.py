"""`.eval_results/*.yaml` of a model's repository and `eval.yaml` of a benchmark's."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from proteinlm_hub.metadata_schema import Link
from proteinlm_hub.metadata_types import (
    Mapping,
    Name,
    Names,
    Number,
    Repository,
    Strict,
    Text,
    listed,
    matching,
    require_unique,
    to_list,
)


def _date(value: str) -> str:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{value!r} is no ISO 8601 date") from None
    return value


class _EvalDataset(Strict):
    id: Repository
    task_id: Name
    revision: Annotated[str, matching("[0-9a-f]{40}", "no commit (40 hex digits)")] | None = None


class EvalResult(Strict):
    """One score in `.eval_results/*.yaml`, in percent."""

    dataset: _EvalDataset
    value: Annotated[Number, Field(ge=0, le=100)]
    verifyToken: str | None = None  # noqa: N815 - the Hub's spelling
    date: Annotated[str, AfterValidator(_date)] | None = None
    source: Link | None = None
    notes: Text | None = None


def _distinct_results(results: list[EvalResult]) -> list[EvalResult]:
    keys = [(r.dataset.id, r.dataset.task_id, r.notes) for r in results]
    require_unique(keys, "result (dataset, task, notes)")
    return results


EvalResults = Annotated[list[EvalResult], Field(min_length=1), AfterValidator(_distinct_results)]


class FieldSpec(Strict):
    """Which columns inspect-ai reads."""

    input: Name
    target: Annotated[str, matching(r"(?!literal:).+", "a constant; name the integer column")]
    choices: Annotated[Names, BeforeValidator(to_list)]
    input_image: Name | None = None
    metadata: Names


class Solver(Strict):
    """A solver of inspect-ai; the list is closed."""

    name: Literal[
        "prompt_template", "system_message", "user_message", "chain_of_thought", "use_tools",
        "generate", "self_critique", "multiple_choice",
    ]  # fmt: skip
    args: Mapping


class Scorer(Strict):
    """A scorer of inspect-ai; the list is closed."""

    name: Literal[
        "includes", "match", "pattern", "answer", "exact", "f1", "model_graded_qa",
        "model_graded_fact", "choice",
    ]  # fmt: skip
    args: Mapping


class EvalTask(Strict):
    """One task of `eval.yaml`, as inspect-ai 0.3's HFTask reads it."""

    id: Name
    config: Name = "default"
    split: Literal["test"] = "test"
    field_spec: FieldSpec
    shuffle_choices: bool | None = None
    epochs: Annotated[int, Field(ge=1)] = 1
    epoch_reducer: (
        Annotated[
            str,
            matching(r"(pass_at|at_least)_\d+|max|mode|median|mean", "no reducer of inspect-ai"),
        ]
        | None
    ) = None
    solvers: Annotated[list[Solver], Field(min_length=1)]
    scorers: Annotated[list[Scorer], Field(min_length=1)]

    @model_validator(mode="after")
    def _choices(self) -> Self:
        chosen = {part.name for part in (*self.solvers, *self.scorers)}
        if chosen & {"multiple_choice", "choice"} and not (
            self.field_spec.choices and {"multiple_choice", "choice"} <= chosen
        ):
            raise ValueError(
                "multiple_choice needs the scorer 'choice', and field_spec.choices names its column"
            )
        return self


class EvalYaml(Strict):
    """The `eval.yaml` of a benchmark's dataset."""

    name: Name
    description: Text
    evaluation_framework: Annotated[str, listed("evaluation_frameworks", "evaluation framework")]
    tasks: Annotated[list[EvalTask], Field(min_length=1)]

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if self.evaluation_framework != "inspect-ai":
            raise ValueError("evaluation_framework has to be 'inspect-ai': its fields are here")
        require_unique([task.id for task in self.tasks], "task")
        return self
