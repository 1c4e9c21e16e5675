"""Runs side by side: each against the baseline, a task and a suite at a time, and publications."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from proteinlm_ext.catalog import suites
from proteinlm_ext.differences import Difference, difference_to_published, holm, paired_difference
from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_ext.outcomes import is_ours, primary_metric
from proteinlm_ext.pairing import pair_scores, why_not_paired, why_not_tested
from proteinlm_ext.published_scores import (
    PublishedScore,
    load_published_scores,
    reason_not_comparable,
)
from proteinlm_ext.runs import SavedRun, SavedTask
from proteinlm_ext.summary import Score, label


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """One run against the baseline on one score, or on a suite of tasks."""

    task: str
    metric: str
    filter: str
    run: str
    baseline: str
    difference: Difference | None
    """None where pairing would not be honest; `note` says why."""
    adjusted_p: float | None = None
    """Holm, over all runs against the baseline on this score."""
    note: str = ""
    is_share: bool = True
    """Whether the score is a share, so that the difference is one of percentage points."""
    tasks: tuple[str, ...] = ()
    """For a suite, the tasks that are pooled, question by question."""

    @property
    def label(self) -> str:
        """The metric, with the filter where there is one."""
        return label(self.metric, self.filter)


class Published(NamedTuple):
    """A published score beside a run."""

    task: str
    run: str
    score: PublishedScore
    value: float | None
    """The run's score minus the published one, as a share."""
    difference: Difference | None
    """With interval and test; None where the published denominator is not known."""
    reason: str | None
    """Why the two cannot be compared; None if they can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All runs, and each against the baseline."""

    runs: tuple[SavedRun, ...]
    baseline: str
    contrasts: tuple[Contrast, ...]
    suites: tuple[Contrast, ...]
    published: tuple[Published, ...]
    remarks: tuple[str, ...]

    def __str__(self) -> str:
        from proteinlm_ext.comparison_tables import render

        return render(self, "text")


def compare(
    runs: Sequence[SavedRun],
    baseline: str | None = None,
    *,
    tasks: Sequence[str] = (),
    allow_limited: bool = False,
    allow_prompts: bool = False,
) -> Comparison:
    """Compare runs.

    Args:
        runs: At least one.
        baseline: The name of the run that the others are compared with; default the first.
        tasks: Look at these tasks only.
        allow_limited: Accept runs of --limit or --samples.
        allow_prompts: Test also where prompts, few-shot count or chat template differ.

    Raises:
        UsageError: The baseline or a task is in no run, or a run was limited.
        ProteinLMError: Runs of one task cannot be paired; the message names every difference.
    """
    known = sorted({name for run in runs for name in run.tasks})
    if missing := [task for task in tasks if task not in known]:
        raise UsageError(f"No run has the task {', '.join(missing)}; there is {', '.join(known)}.")
    runs = [_select(run, tasks) for run in runs]
    names = [run.name for run in runs]
    if baseline is not None and baseline not in names:
        raise UsageError(f"There is no run {baseline!r}; the runs are {', '.join(names)}.")
    base = next(run for run in runs if baseline in (None, run.name))
    if not allow_limited:
        _refuse_limited(runs)
    _refuse_unpairable([base, *(run for run in runs if run is not base)])
    others = [run for run in runs if run is not base]
    contrasts = [c for run in others for c in _contrasts(run, base, allow_prompts=allow_prompts)]
    pooled = [c for run in others for c in _pool(run, base, contrasts)]
    return Comparison(
        runs=tuple(runs),
        baseline=base.name,
        contrasts=tuple(_adjust(contrasts)),
        suites=tuple(_adjust(pooled)),
        published=tuple(item for run in runs for item in _published(run)),
        remarks=tuple(f"{run.name}: {remark}" for run in runs for remark in run.remarks),
    )


def _select(run: SavedRun, tasks: Sequence[str]) -> SavedRun:
    if not tasks:
        return run
    return replace(run, tasks={name: task for name, task in run.tasks.items() if name in tasks})


def _refuse_limited(runs: Sequence[SavedRun]) -> None:
    limited = [
        f"{run.name}: {name}" for run in runs for name in run.tasks if run.tasks[name].limited
    ]
    if limited:
        raise UsageError(
            f"Only some of the questions were asked (--limit or --samples): {', '.join(limited)}. "
            "A score of the first few is not the task's score. Leave such a task out (--tasks "
            "NAME,NAME), or compare it anyway (--allow-limited)."
        )


def _refuse_unpairable(runs: Sequence[SavedRun]) -> None:
    """Check each task against the first run that has it: the baseline, where it does."""
    first: dict[str, SavedRun] = {}
    reasons: list[str] = []
    for run in runs:
        for name, task in run.tasks.items():
            other = first.setdefault(name, run)
            if other is not run:
                found = why_not_paired(task, run.name, other.tasks[name], other.name)
                reasons += [f"{name}: {reason}" for reason in found]
    if reasons:
        text = "\n".join(f"  {reason}" for reason in reasons)
        raise ProteinLMError(
            f"These runs cannot be paired:\n{text}\n"
            "Run them again alike, or leave the task out: --tasks NAME,NAME"
        )


def _contrasts(run: SavedRun, base: SavedRun, *, allow_prompts: bool) -> Iterable[Contrast]:
    for name, task in run.tasks.items():
        other = base.tasks.get(name)
        theirs = other.summary.scores if other else ()
        known = {(score.metric, score.filter) for score in theirs}
        for score in task.summary.scores:
            if other and (score.metric, score.filter) in known:
                yield _contrast(run, base, name, score, allow_prompts=allow_prompts)


def _contrast(
    run: SavedRun, base: SavedRun, name: str, score: Score, *, allow_prompts: bool
) -> Contrast:
    task, other = run.tasks[name], base.tasks[name]
    note = why_not_tested(task, other, score.filter)
    pairs = None
    if not note or allow_prompts:
        pairs = pair_scores(task, other, score.metric, score.filter)
        note = note if pairs else "the scores of single documents cannot be paired"
    return Contrast(
        task=name,
        metric=score.metric,
        filter=score.filter,
        run=run.name,
        baseline=base.name,
        difference=paired_difference(*pairs) if pairs else None,
        note=note,
        is_share=score.is_share,
    )


def _pool(run: SavedRun, base: SavedRun, contrasts: Sequence[Contrast]) -> Iterable[Contrast]:
    """Pool the tasks of each suite, every question with the same weight, on the primary metric.

    Only right or wrong answers are pooled: a share between them would turn the test of thousands of
    questions into a bootstrap, and TruthfulQA's MC2 asks the questions of MC1 once more.
    """
    for suite, members in suites().items():
        both = [name for name in members if name in run.tasks and name in base.tasks]
        shared = [name for name in both if run.tasks[name].summary.scores]
        if not shared:
            continue
        scores = {name: _primary(run.tasks[name]) for name in shared}
        tested = {
            c.task: c
            for c in contrasts
            if c.run == run.name
            and scores.get(c.task) == (c.metric, c.filter)
            and c.difference
            and c.difference.num_better is not None
        }
        pairs = [pair_scores(run.tasks[t], base.tasks[t], *scores[t]) for t in tested]
        mine = [value for pair in pairs if pair for value in pair[0]]
        theirs = [value for pair in pairs if pair for value in pair[1]]
        left_out = [name for name in shared if name not in tested]
        notes = [f"not in it: {', '.join(left_out)}"] if left_out else []
        notes += ["prompts differ"] if any(c.note for c in tested.values()) else []
        yield Contrast(
            task=suite,
            metric="primary metric",
            filter="none",
            run=run.name,
            baseline=base.name,
            difference=paired_difference(mine, theirs) if mine else None,
            note="; ".join(notes),
            tasks=tuple(tested),
        )


def _primary(task: SavedTask) -> tuple[str, str]:
    """Return metric and filter of the score to read first."""
    scores = task.summary.scores
    metric = primary_metric([score.metric for score in scores])
    chosen = next((score for score in scores if score.metric == metric), scores[0])
    return chosen.metric, chosen.filter


def _adjust(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """Add Holm's adjusted p-values; a family is all runs against the baseline on one score."""
    families: dict[tuple[str, str, str], list[int]] = {}
    for position, contrast in enumerate(contrasts):
        if contrast.difference:
            family = (contrast.task, contrast.metric, contrast.filter)
            families.setdefault(family, []).append(position)
    adjusted = list(contrasts)
    for positions in families.values():
        found = [contrasts[position].difference for position in positions]
        p_values = holm([difference.p_value for difference in found if difference])
        for position, p in zip(positions, p_values, strict=True):
            adjusted[position] = replace(contrasts[position], adjusted_p=p)
    return adjusted


def _published(run: SavedRun) -> Iterable[Published]:
    for name, task in run.tasks.items():
        source = task.summary.provenance.get("source")
        if source in (None, "sample") or not is_ours(task.samples[0]["doc"]):
            continue
        for score in load_published_scores():
            yield _beside(name, run.name, task, score)


def _beside(name: str, run: str, task: SavedTask, score: PublishedScore) -> Published:
    """Put one published score beside a task of a run."""
    reason = reason_not_comparable(score, task.summary.kind, task.summary.num_questions)
    if reason is None and task.departures:
        reason = f"this run departs from the protocol: {', '.join(task.departures)}"
    # ScienceEval's score is over the answers it could read, and it does not say how many.
    answered_only = score.protocol == "scienceeval"
    counted = "acc_answered" if answered_only else "acc"
    ours = next((s for s in task.summary.scores if s.metric == counted), None)
    if reason is None and (ours is None or ours.value is None):
        reason = "this run counted no answer"
    if reason or ours is None or ours.value is None:
        return Published(name, run, score, None, None, reason)
    difference = None
    if not answered_only:
        right = round(ours.value * ours.num_items)
        difference = difference_to_published(
            right, ours.num_items, score.accuracy, score.num_questions
        )
    return Published(name, run, score, ours.value - score.accuracy, difference, None)
