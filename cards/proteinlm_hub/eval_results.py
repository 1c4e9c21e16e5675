"""Scores in the Hub's two forms, `.eval_results/*.yaml` and the older model-index; in percent."""

from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult, EvalResultEntry, eval_result_entries_to_yaml

from proteinlm_hub.render import dump_yaml

PATH = ".eval_results/proteinlm.yaml"
_SOURCE: dict[str, Any] = {
    "source_name": "lm-evaluation-harness",
    "source_url": "https://github.com/EleutherAI/lm-evaluation-harness",
}


def to_index(scores: Sequence[Mapping[str, Any]]) -> list[EvalResult] | None:
    """Return the entries of model-index; None without any, as an empty list would be written.

    The client joins entries of one dataset and keeps only the first's settings, so they are a part
    of the metric's name.
    """
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=score["dataset"],
            dataset_name=score["dataset"],
            dataset_config=score["config"],
            dataset_split=score["split"],
            dataset_revision=score["revision"],
            metric_type="accuracy",
            metric_value=score["percent"],
            metric_name=f"{score['task']} {score['metric']}, {score['settings']}",
            **_SOURCE,
        )
        for score in scores
    ] or None


def to_yaml(scores: Sequence[Mapping[str, Any]]) -> str | None:
    """Return `.eval_results/*.yaml`: the first score of each of the benchmark's own tasks.

    Of other datasets it is not known which tasks their eval.yaml names.
    """
    first = {s["task"]: s for s in reversed(scores) if s["task"].startswith("proteinlmbench")}
    entries = [
        EvalResultEntry(
            dataset_id=score["dataset"],
            dataset_revision=score["revision"],
            task_id=score["task"],
            value=score["percent"],
            date=score["date"],
            notes=f"{score['metric']}, {score['settings']}",
            **_SOURCE,
        )
        for _, score in sorted(first.items())
    ]
    return dump_yaml(eval_result_entries_to_yaml(entries)) if entries else None
