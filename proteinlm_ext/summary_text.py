"""The summary of one run as text for a terminal, and as JSON for machines."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from proteinlm_ext.protein_scores import AMOUNTS
from proteinlm_ext.questions import LETTERS
from proteinlm_ext.slices import SLICES_VERSION, Slice, Slices
from proteinlm_ext.stats import DEPENDENCE
from proteinlm_ext.summary import Score, TaskSummary, label
from proteinlm_ext.tables import Table, percent, plain, points, print_table, span, to_data

PREFERENCES = (
    "P(gold) without preferences takes log-odds to add up: it is too high for a model that falls "
    "back on a rule (docs/statistics.md)."
)
# Metrics that say how an answer is written or repeat another: only in JSON by identity.
_OF_FORM = ("has_opening", "empty_rate", "row_nats_per_byte")


def to_json(summaries: Sequence[TaskSummary], files: Mapping[str, Any]) -> str:
    """Return the summaries as JSON for machines, `files` (what was written where) beside them."""
    tasks = {summary.task: to_data(summary) for summary in summaries}
    return json.dumps({"tasks": tasks, **files}, indent=2, ensure_ascii=False, allow_nan=False)


def to_table(summaries: Sequence[TaskSummary], *, with_slices: bool = True) -> str:
    """Return the summaries as text: scores, slices, and a line where data are incomplete."""
    scores = Table(
        title="Scores",
        header=("task", "metric", "n", "score", "95% interval", "chance", "longest", "protocol"),
        rows=tuple(_row(summary, score) for summary in summaries for score in summary.scores),
        left=("task", "metric", "protocol"),
    )
    blocks = [print_table(scores)]
    if with_slices and any(summary.slices for summary in summaries):
        blocks += [print_table(_slices_table(summaries)), PREFERENCES, DEPENDENCE]
    if any(summary.identity for summary in summaries):
        blocks.append(print_table(_identity_table(summaries)))
    remarks = dict.fromkeys(remark for summary in summaries for remark in summary.remarks)
    return "\n\n".join([*blocks, *(["\n".join(remarks)] if remarks else [])])


def _row(summary: TaskSummary, score: Score) -> tuple[str, ...]:
    show = percent if score.is_share else plain
    return (
        f"{summary.task} v{summary.version}",
        score.label,
        str(score.num_items),
        show(score.value),
        span(score.interval, show),
        percent(summary.chance),
        percent(summary.longest),
        describe_protocol(summary, score),
    )


def describe_protocol(summary: TaskSummary, score: Score) -> str:
    """Return the protocol, with the share of answers that could not be read where that is known."""
    if score.filter not in summary.invalid_rates:
        return summary.protocol
    return f"{summary.protocol}, {percent(summary.invalid_rates[score.filter])}% invalid"


def _slices_table(summaries: Sequence[TaskSummary]) -> Table:
    rows = [
        (f"{summary.task} {label(*key)}", *row)
        for summary in summaries
        for key, slices in summary.slices.items()
        for row in slice_rows(slices)
    ]
    return Table(
        title="Slices",
        header=("task", f"slice (definitions v{SLICES_VERSION})", "n", "value", "95% interval"),
        rows=tuple(rows),
        left=("task", f"slice (definitions v{SLICES_VERSION})"),
    )


def _identity_table(summaries: Sequence[TaskSummary]) -> Table:
    """Tabulate scores by identity of the nearest training protein, without empty bins."""
    rows: list[tuple[str, ...]] = []
    for summary in summaries:
        for (metric, name), bins in summary.identity.items():
            show = plain if metric in AMOUNTS else percent
            if metric in _OF_FORM:
                continue
            rows += [
                (f"{summary.task} {label(metric, name)}", part.name, str(part.num_rows),
                 show(part.value), span(part.interval, show))
                for part in bins
                if part.num_rows
            ]  # fmt: skip
    return Table(
        title="By identity of the nearest training protein",
        header=("task", "nearest training protein", "n", "score", "95% interval"),
        rows=tuple(rows),
        left=("task", "nearest training protein"),
    )


def slice_rows(slices: Slices) -> list[tuple[str, str, str, str]]:
    """Return name, n, value and interval of each slice, as text."""
    parts = {
        name: getattr(slices, name)
        for name in ("acc_selfcontained", "acc_clean", "acc_lenbalanced", "acc_gold_longest",
                     "acc_gold_not_longest")
    }  # fmt: skip
    rows = [
        (name, _count(part), percent(part.value), span(part.interval))
        for name, part in parts.items()
    ]
    above = slices.above_longest
    rows.append(
        ("above always-longest", str(above.num_questions), points(above.value),
         span(above.interval, points))
    )  # fmt: skip
    if known := slices.knowledge:
        count, value = str(known.num_questions), percent(known.knowledge)
        rows.append(("P(gold) without preferences", count, value, span(known.interval)))
        place = max(range(len(known.positions)), key=known.positions.__getitem__)
        odds = f"{known.positions[place]:+.1f} log-odds"
        rows.append(("favoured place", count, LETTERS[place], odds))
    return rows


def _count(part: Slice) -> str:
    if part.effective_n is None:
        return str(part.num_questions)
    return f"{part.num_questions} (effective {part.effective_n:.0f})"
