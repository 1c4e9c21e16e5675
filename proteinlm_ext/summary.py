"""What a run says, with everything a bare accuracy hides: n, interval, chance, always-longest.

The functions take what lm-eval returns (or writes): its results and its logged samples.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

from proteinlm_ext.identity_bins import IdentityBin, count_hits, score_by_identity
from proteinlm_ext.outcomes import has_options, is_annotation, is_rotation
from proteinlm_ext.protein_scores import AMOUNTS, score_rows
from proteinlm_ext.scoring import group_by_question, longest
from proteinlm_ext.slices import Slices, slice_samples
from proteinlm_ext.stats import (
    CONFIDENCE,
    Interval,
    bootstrap_interval,
    chance_p_value,
    normal_quantile,
    wilson_interval,
)

NORMAL = "normal, lm-eval's standard error"


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
    above_chance: float | None = None
    """Probability that guessing gets as many right; None where a score is no share of picks."""

    @property
    def is_share(self) -> bool:
        """Whether the value is a share of the items, and so printed in percent."""
        known = self.interval is not None and self.interval.method != NORMAL
        return known and self.metric not in AMOUNTS

    @property
    def label(self) -> str:
        """The metric, with the filter where there is one."""
        return label(self.metric, self.filter)


def label(metric: str, filter_name: str) -> str:
    """Return the metric, with the filter where there is one."""
    return metric if filter_name == "none" else f"{metric} ({filter_name})"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSummary:
    """One task of one run."""

    task: str
    version: str
    protocol: str
    """The kind, number of examples and chat template, as tables show them."""
    kind: str
    """How the answer is obtained: the protocol of the task's metadata, else lm-eval's type."""
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
    slices: dict[tuple[str, str], Slices] = field(default_factory=dict[tuple[str, str], Slices])
    """By (metric, filter), where the questions are ProteinLMBench's or of its schema."""
    identity: dict[tuple[str, str], tuple[IdentityBin, ...]] = field(
        default_factory=dict[tuple[str, str], tuple[IdentityBin, ...]]
    )
    """By (metric, filter), where the documents name their nearest training protein."""
    num_hits: int | None = None
    """Documents with a similar training protein; None where that was not looked for."""

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
        if self.num_hits is not None:
            share = f"{self.num_hits} of {self.num_questions} rows"
            remarks.append(f"{self.task}: {share} have a similar training protein (MMseqs2)")
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
    rotated = is_rotation(samples[0]["doc"])
    # The rotations of a question share its id; any other document is a question of its own.
    docs = {
        sample["doc"]["id"] if rotated else sample["doc_id"]: sample["doc"]
        for sample in reversed(samples)
    }
    scores, invalid_rates = _scores(results["results"][task], samples)
    num_hits = count_hits(samples) if is_annotation(samples[0]["doc"]) else None
    multiple_choice = [doc for doc in docs.values() if has_options(doc)]
    option_counts = [len(doc["choices"]) for doc in multiple_choice]
    scores = [replace(score, above_chance=_above_chance(score, option_counts)) for score in scores]
    right = [float(longest(doc["choices"]) == doc["answer"]) for doc in multiple_choice]
    return TaskSummary(
        task=task,
        version=str(results["versions"].get(task, "")),
        protocol=_protocol(config, results),
        kind=_kind(config),
        num_questions=len(docs),
        # lm-eval counts documents, which may be rotations.
        num_available=metadata["provenance"]["questions"]
        if rotated
        else results["n-samples"][task]["original"],
        chance=_mean([1 / count for count in option_counts]),
        longest=_mean(right),
        scores=tuple(scores),
        invalid_rates=invalid_rates,
        provenance=metadata.get("provenance") or {},
        slices=slice_samples(samples),
        identity={
            (score.metric, score.filter): score_by_identity(
                score.metric, [s for s in samples if s["filter"] == score.filter]
            )
            for score in scores
            if num_hits is not None
        },
        num_hits=num_hits,
    )


def _scores(
    aggregated: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]
) -> tuple[list[Score], dict[str, float]]:
    """Return the scores of one task, and the invalid rates by filter."""
    scores: list[Score] = []
    invalid_rates: dict[str, float] = {}
    for name in dict.fromkeys(sample["filter"] for sample in samples):
        filtered = [sample for sample in samples if sample["filter"] == name]
        # lm-eval allows documents of one task to log different metrics.
        for metric in dict.fromkeys(logged for sample in filtered for logged in sample["metrics"]):
            values = [sample[metric] for sample in filtered if metric in sample]
            if metric == "invalid_rate":
                invalid_rates[name] = sum(values) / len(values)
            elif f"{metric},{name}" in aggregated:
                value = aggregated[f"{metric},{name}"]
                stderr = aggregated.get(f"{metric}_stderr,{name}")
                if is_annotation(samples[0]["doc"]):
                    found = score_rows(metric, filtered)
                    scores.append(
                        Score(
                            metric=metric,
                            filter=name,
                            value=found.value,
                            num_items=found.num_rows,
                            interval=found.interval,
                        )
                    )
                    continue
                rotated = is_rotation(samples[0]["doc"])
                scores.append(_score(metric, name, values, value, stderr, rotated=rotated))
    return scores, invalid_rates


def _score(
    metric: str, name: str, values: Sequence[Any], value: Any, stderr: Any, *, rotated: bool
) -> Score:
    """Choose the interval by what the values are.

    (question, score) pairs of rotations are bootstrapped over questions. The mean of 0/1 values
    gets a Wilson interval, that of other shares a bootstrap, any other metric lm-eval's own
    standard error.
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
            interval=bootstrap_interval(sorted(means)),  # whatever the order of samples
        )
    counted = [item for item in values if item is not None]
    interval = None
    numbers = [float(item) for item in counted if isinstance(item, Real)]
    shares = len(numbers) == len(counted) > 0 and all(0 <= number <= 1 for number in numbers)
    known = bool(counted) and isinstance(value, Real) and math.isfinite(value)
    if known and shares and math.isclose(value, sum(numbers) / len(numbers), abs_tol=1e-9):
        if set(numbers) <= {0, 1}:
            interval = wilson_interval(int(sum(numbers)), len(numbers))
        else:
            interval = bootstrap_interval(sorted(numbers))
    elif known and isinstance(stderr, float):
        margin, center = normal_quantile((1 + CONFIDENCE) / 2) * stderr, float(value)
        interval = Interval(center - margin, center + margin, NORMAL)
    return Score(
        metric=metric,
        filter=name,
        value=float(value) if known else None,
        num_items=len(counted),
        interval=interval,
    )


def _above_chance(score: Score, option_counts: Sequence[int]) -> float | None:
    exact = score.interval is not None and score.interval.method == "wilson"
    if score.value is None or not exact or score.num_items != len(option_counts):
        return None
    return chance_p_value(round(score.value * score.num_items), option_counts)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _kind(config: Mapping[str, Any]) -> str:
    metadata: dict[str, Any] = config.get("metadata") or {}
    return str(metadata.get("protocol") or config.get("output_type", ""))


def _protocol(config: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    # A chat API applies its own, of which lm-eval writes down an empty text.
    config_of_run: dict[str, Any] = results.get("config") or {}
    applied = results.get("chat_template") or "chat" in str(config_of_run.get("model"))
    template = "chat template" if applied else "no chat template"
    return f"{_kind(config)}, {config.get('num_fewshot') or 0}-shot, {template}"
