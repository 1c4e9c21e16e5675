"""What a run says, with everything a bare accuracy hides: n, interval, chance, always-longest.

The functions take what lm-eval returns (or writes): its results and its logged samples.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from numbers import Real
from typing import Any, cast

from proteinlm_ext.scoring import group_by_question, longest
from proteinlm_ext.stats import Interval, bootstrap_interval, wilson_interval

NORMAL = "normal, lm-eval's standard error"
Z_95 = 1.959964  # standard normal quantile at 0.975


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One metric under one filter."""

    metric: str
    filter: str
    value: float | None
    """None if the protocol counted no answer."""
    num_items: int
    """Questions in the denominator."""
    interval: Interval | None

    @property
    def is_share(self) -> bool:
        """Whether the value is a share of the items, and so printed in percent."""
        return self.interval is not None and self.interval.method != NORMAL

    @property
    def label(self) -> str:
        """The metric, with the filter where there is one."""
        return self.metric if self.filter == "none" else f"{self.metric} ({self.filter})"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSummary:
    """One task of one run."""

    task: str
    version: str
    protocol: str
    num_questions: int
    num_available: int
    """Questions that the task holds; larger than `num_questions` under --limit or --samples."""
    chance: float | None
    """Mean of 1/k over the questions; None for tasks without options."""
    longest: float | None
    """Accuracy of always choosing the longest option (characters; ties: the first)."""
    scores: tuple[Score, ...]
    invalid_rates: dict[str, float] = field(default_factory=dict[str, float])
    """Share of unreadable answers by filter, for generative tasks."""
    provenance: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def remarks(self) -> list[str]:
        """Sentences on what was scored: the data, and where it is not the whole benchmark."""
        data, remarks = self.provenance, list[str]()
        if data:
            content = f"{data['source']}, {data['questions']} questions"
            remarks.append(f"data: {content}, sha256 {data['sha256'][:12]}")
        if data and not data["complete"]:
            count = f"{data['questions']} of {data['rows']}"
            remarks.append(f"{self.task}: INCOMPLETE data, {count} questions")
        if self.num_questions < self.num_available:
            count = f"{self.num_questions} of {self.num_available}"
            remarks.append(f"{self.task}: only {count} questions")
        return remarks


def summarise(results: Mapping[str, Any], samples: Mapping[str, Any]) -> list[TaskSummary]:
    """Summarise every task of a run.

    Args:
        results: lm-eval's results, as `simple_evaluate` returns them or its JSON file holds them.
        samples: Logged samples by task.
    """
    return [_summarise_task(task, results, samples[task]) for task in sorted(samples)]


def _summarise_task(
    task: str, results: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]
) -> TaskSummary:
    config = results["configs"][task]
    metadata: dict[str, Any] = config.get("metadata") or {}
    rotated = _is_rotation(samples[0]["doc"])
    # The rotations of a question share its id; any other document is a question of its own.
    docs = {
        sample["doc"]["id"] if rotated else sample["doc_id"]: sample["doc"]
        for sample in reversed(samples)
    }
    scores, invalid_rates = _scores(results["results"][task], samples)
    multiple_choice = [doc for doc in docs.values() if _has_options(doc)]
    right = [float(longest(doc["choices"]) == doc["answer"]) for doc in multiple_choice]
    return TaskSummary(
        task=task,
        version=str(results["versions"].get(task, "")),
        protocol=_protocol(config, results),
        num_questions=len(docs),
        # lm-eval counts documents, which may be rotations.
        num_available=metadata["provenance"]["questions"]
        if rotated
        else results["n-samples"][task]["original"],
        chance=_mean([1 / len(doc["choices"]) for doc in multiple_choice]),
        longest=_mean(right),
        scores=tuple(scores),
        invalid_rates=invalid_rates,
        provenance=metadata.get("provenance") or {},
    )


def _scores(
    aggregated: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]
) -> tuple[list[Score], dict[str, float]]:
    """Return the scores of one task, and the invalid rates by filter."""
    scores: list[Score] = []
    invalid_rates: dict[str, float] = {}
    for name in dict.fromkeys(sample["filter"] for sample in samples):
        filtered = [sample for sample in samples if sample["filter"] == name]
        for metric in filtered[0]["metrics"]:
            values = [sample[metric] for sample in filtered]
            if metric == "invalid_rate":
                invalid_rates[name] = sum(values) / len(values)
            elif f"{metric},{name}" in aggregated:
                value = aggregated[f"{metric},{name}"]
                stderr = aggregated.get(f"{metric}_stderr,{name}")
                rotated = _is_rotation(samples[0]["doc"])
                scores.append(_score(metric, name, values, value, stderr, rotated=rotated))
    return scores, invalid_rates


def _score(
    metric: str, name: str, values: Sequence[Any], value: Any, stderr: Any, *, rotated: bool
) -> Score:
    """Choose the interval by what the values are.

    (question, score) pairs of rotations are bootstrapped over questions, 0/1 values get a Wilson
    interval, and any other metric lm-eval's own standard error.
    """
    if rotated:
        groups = group_by_question(values).values()
        share = metric == "acc_all_rotations"
        means = [float(all(group)) if share else sum(group) / len(group) for group in groups]
        return Score(
            metric=metric,
            filter=name,
            value=value,
            num_items=len(means),
            interval=bootstrap_interval(means),
        )
    counted = [item for item in values if item is not None]
    interval = None
    if counted and all(isinstance(item, Real) and item in (0, 1) for item in counted):
        interval = wilson_interval(int(sum(counted)), len(counted))
    elif counted and isinstance(stderr, float):
        interval = Interval(value - Z_95 * stderr, value + Z_95 * stderr, NORMAL)
    known = bool(counted) and isinstance(value, Real) and math.isfinite(value)
    return Score(
        metric=metric,
        filter=name,
        value=float(value) if known else None,
        num_items=len(counted),
        interval=interval,
    )


def _has_options(doc: Any) -> bool:
    if not isinstance(doc, Mapping):
        return False
    fields = cast("Mapping[str, Any]", doc)
    return isinstance(fields.get("choices"), list) and isinstance(fields.get("answer"), int)


def _is_rotation(doc: Any) -> bool:
    return isinstance(doc, Mapping) and "rotation" in doc


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _protocol(config: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    metadata: dict[str, Any] = config.get("metadata") or {}
    kind = metadata.get("protocol") or config.get("output_type", "")
    template = "chat template" if results.get("chat_template") else "no chat template"
    return f"{kind}, {config.get('num_fewshot') or 0}-shot, {template}"


# --- text and JSON ------------------------------------------------------------------------------


def to_json(summaries: Sequence[TaskSummary], files: Mapping[str, Any]) -> str:
    """Return the summaries as JSON for machines, `files` (what was written where) beside them."""
    tasks = {
        summary.task: {name: value for name, value in asdict(summary).items() if name != "task"}
        | {"scores": [_score_json(score) for score in summary.scores]}
        for summary in summaries
    }
    return json.dumps({"tasks": tasks, **files}, indent=2, ensure_ascii=False, allow_nan=False)


def _score_json(score: Score) -> dict[str, Any]:
    interval = score.interval._asdict() if score.interval else None
    return asdict(score) | {"interval": interval}


def to_table(summaries: Sequence[TaskSummary]) -> str:
    """Return the summaries as an aligned text table, with a line where data are incomplete."""
    header = ("task", "metric", "n", "score", "95% interval", "chance", "longest", "protocol")
    rows = [_row(summary, score) for summary in summaries for score in summary.scores]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    numeric = range(2, 7)
    lines = [
        "  ".join(
            cell.rjust(width) if column in numeric else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [header, tuple("-" * width for width in widths), *rows]
    ]
    remarks = dict.fromkeys(remark for summary in summaries for remark in summary.remarks)
    return "\n".join([*lines, *(["", *remarks] if remarks else [])])


def _row(summary: TaskSummary, score: Score) -> tuple[str, ...]:
    show = _percent if score.is_share else _plain
    interval = "-"
    if score.interval:
        interval = f"{show(score.interval.low)} to {show(score.interval.high)}"
    protocol = summary.protocol
    if score.filter in summary.invalid_rates:
        protocol += f", {100 * summary.invalid_rates[score.filter]:.1f}% invalid"
    return (
        f"{summary.task} v{summary.version}",
        score.label,
        str(score.num_items),
        show(score.value),
        interval,
        _percent(summary.chance),
        _percent(summary.longest),
        protocol,
    )


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
