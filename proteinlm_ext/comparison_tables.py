"""A `Comparison` as tables, and the tables as text, Markdown, LaTeX, CSV or JSON."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

from proteinlm_ext.catalog import suites
from proteinlm_ext.comparison import Comparison, Contrast, Published
from proteinlm_ext.runs import SavedRun
from proteinlm_ext.slices import SLICES_VERSION
from proteinlm_ext.stats import DEPENDENCE
from proteinlm_ext.summary import Score, TaskSummary, label
from proteinlm_ext.summary_text import PREFERENCES, describe_protocol, slice_rows
from proteinlm_ext.tables import (
    Table,
    p_value,
    percent,
    plain,
    points,
    print_table,
    span,
    to_data,
)

_DIFFERENCE = ("run", "n", "difference", "95% interval", "only run", "only baseline", "p",
               "p (Holm)", "detectable", "note")  # fmt: skip
SLICE = f"slice (definitions v{SLICES_VERSION})"


def render(comparison: Comparison, form: str) -> str:
    """Return the comparison in one format: text, md, latex, csv or json."""
    if form == "json":
        return to_json(comparison)
    if form == "csv":
        return to_csv(comparison)
    blocks: list[str] = []
    for table in comparison_tables(comparison):
        body = print_table(table, form)
        if form == "latex":
            caption = _latex(" ".join([f"{table.title}.", *table.notes]))
            blocks.append(f"\\begin{{table}}\n\\caption{{{caption}}}\n{body}\n\\end{{table}}")
        else:
            title = f"## {table.title}" if form == "md" else f"[{table.title}]"
            blocks.append("\n\n".join([title, body, *table.notes]))
    remarks = [f"{remark}." for remark in comparison.remarks]
    return "\n\n".join([*blocks, *(remarks if form != "latex" else [f"% {r}" for r in remarks])])


def _latex(text: str) -> str:
    import tabulate

    return "".join(tabulate.LATEX_ESCAPE_RULES.get(mark, mark) for mark in text)


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Return the tables that hold something: scores, differences, suites, slices, publications."""
    tables = [_scores(comparison)]
    if comparison.contrasts:
        tables.append(_differences(comparison))
    if comparison.suites:
        tables.append(_suites(comparison))
    if rows := tuple(_slice_rows(comparison)):
        header = ("task", SLICE, "run", "n", "value", "95% interval")
        notes = (PREFERENCES,)
        tables.append(Table(title="Slices", header=header, rows=rows, left=header[:3], notes=notes))
    tables.extend(_published(comparison.published))
    return tables


def task_names(comparison: Comparison) -> list[str]:
    """Return every task once: ProteinLMBench first, then by name."""
    names = {name for run in comparison.runs for name in run.tasks}
    return sorted(names, key=lambda name: (not name.startswith("proteinlm"), name))


def scored(comparison: Comparison) -> Iterable[tuple[SavedRun, TaskSummary, Score]]:
    """Yield every score of every run, by task, metric and run."""
    for name in task_names(comparison):
        found = [
            (run, run.tasks[name].summary, score)
            for run in comparison.runs
            if name in run.tasks
            for score in run.tasks[name].summary.scores
        ]
        order = list(dict.fromkeys(score.label for _, _, score in found))
        yield from sorted(found, key=lambda item: order.index(item[2].label))


def _scores(comparison: Comparison) -> Table:
    rows: list[tuple[str, ...]] = []
    stated_by: dict[str, dict[str, None]] = {}
    for run, summary, score in scored(comparison):
        show = percent if score.is_share else plain
        rows.append(
            (
                f"{summary.task} v{summary.version}", score.label, run.name, str(score.num_items),
                show(score.value), span(score.interval, show), percent(summary.chance),
                percent(summary.longest), p_value(score.above_chance),
                describe_protocol(summary, score),
            )
        )  # fmt: skip
        for remark in summary.remarks:
            stated_by.setdefault(remark, {})[run.name] = None
    notes = [f"{', '.join(names)}: {remark}." for remark, names in stated_by.items()]
    if any(summary.slices for _, summary, _ in scored(comparison)):
        notes.append(DEPENDENCE)
    header = ("task", "metric", "run", "n", "score", "95% interval", "chance", "longest",
              "p(chance)", "protocol")  # fmt: skip
    return Table(
        title="Scores",
        header=header,
        rows=tuple(rows),
        left=("task", "metric", "run", "protocol"),
        notes=tuple(notes),
    )


def _differences(comparison: Comparison) -> Table:
    names = task_names(comparison)
    ordered = sorted(comparison.contrasts, key=lambda c: (names.index(c.task), c.metric, c.filter))
    note = (
        f"Percentage points (of other metrics, their unit) against {comparison.baseline}, paired "
        "by question. Holm adjusts over the runs within a score. Detectable: the difference found "
        "with 80% power."
    )
    return Table(
        title=f"Differences from {comparison.baseline}",
        header=("task", "metric", *_DIFFERENCE),
        rows=tuple(_difference_row(c, c.label) for c in ordered),
        left=("task", "metric", "run", "note"),
        notes=(note,),
    )


def _difference_row(contrast: Contrast, second: str) -> tuple[str, ...]:
    found = contrast.difference
    if found is None:
        return (contrast.task, second, contrast.run, *"-" * 8, f"not tested: {contrast.note}")
    show = points if contrast.is_share else plain
    counts = (found.num_better, found.num_worse)
    return (
        contrast.task, second, contrast.run, str(found.num_questions), show(found.value),
        span(found.interval, show), *("-" if n is None else str(n) for n in counts),
        p_value(found.p_value), p_value(contrast.adjusted_p),
        percent(found.smallest_detectable), contrast.note,
    )  # fmt: skip


def _suites(comparison: Comparison) -> Table:
    sizes = {name: len(members) for name, members in suites().items()}
    return Table(
        title=f"Suites, differences from {comparison.baseline}",
        header=("suite", "tasks", *_DIFFERENCE),
        rows=tuple(
            _difference_row(c, f"{len(c.tasks)} of {sizes[c.task]}") for c in comparison.suites
        ),
        left=("suite", "tasks", "run", "note"),
        notes=(
            "The questions of the tasks that were run, pooled with equal weight, so that large "
            "tasks dominate; each task's primary metric, first filter. In proteinlm_hazard higher "
            "is worse.",
        ),
    )


def _slice_rows(comparison: Comparison) -> Iterable[tuple[str, ...]]:
    for name in task_names(comparison):
        rows = [
            (f"{name} {label(*key)}", slice_name, run.name, *cells)
            for run in comparison.runs
            if name in run.tasks
            for key, slices in run.tasks[name].summary.slices.items()
            for slice_name, *cells in slice_rows(slices)
        ]
        order = list(dict.fromkeys(row[:2] for row in rows))
        yield from sorted(rows, key=lambda row: order.index(row[:2]))


def _published(published: Sequence[Published]) -> Iterable[Table]:
    if comparable := [item for item in published if item.reason is None]:
        header = ("task", "run", "published model", "n", "score", "difference", "95% interval",
                  "p", "source")  # fmt: skip
        yield Table(
            title="Published under the same protocol",
            header=header,
            rows=tuple(_comparable_row(item) for item in comparable),
            left=("task", "run", "published model", "source"),
            notes=(
                "Only accuracy and n are published, so the test takes the two samples as "
                "independent; no test where the number of counted answers is not published. "
                "Differences are of the run from the publication.",
            ),
        )
    groups: dict[tuple[str, str, str], list[Published]] = {}
    for item in published:
        if item.reason:
            group = (item.task, item.score.protocol, item.reason)
            groups.setdefault(group, []).append(item)
    if groups:
        header = ("published protocol", "models", "best", "lowest", "not comparable with", "why")
        yield Table(
            title="Published, not comparable",
            header=header,
            rows=tuple(_reason_row(*group, groups[group]) for group in groups),
            left=("published protocol", "best", "lowest", "not comparable with", "why"),
        )


def _comparable_row(item: Published) -> tuple[str, ...]:
    found = item.difference
    return (
        item.task, item.run, item.score.model, str(item.score.num_questions),
        percent(item.score.accuracy), points(item.value),
        span(found and found.interval, points), p_value(found and found.p_value),
        item.score.source,
    )  # fmt: skip


def _reason_row(
    task: str, protocol: str, reason: str, items: Sequence[Published]
) -> tuple[str, ...]:
    models = {item.score.model: item.score.accuracy for item in items}
    best, lowest = max(models, key=models.__getitem__), min(models, key=models.__getitem__)
    runs = ", ".join(dict.fromkeys(item.run for item in items))
    return (
        protocol, str(len(models)), f"{percent(models[best])} {best}",
        f"{percent(models[lowest])} {lowest}", f"{task} of {runs}", reason,
    )  # fmt: skip


# --- for machines -------------------------------------------------------------------------------


def to_json(comparison: Comparison) -> str:
    """Return everything as JSON, the published scores one by one; no question texts."""
    runs = [
        {
            "name": run.name,
            "model": run.model,
            "settings": run.settings,
            "tasks": {
                name: to_data(task.summary)
                | {"num_fewshot": task.num_fewshot, "results_file": task.results_file.name}
                for name, task in run.tasks.items()
            },
        }
        for run in comparison.runs
    ]
    data: dict[str, Any] = {
        "baseline": comparison.baseline,
        "slices_version": SLICES_VERSION,
        "runs": runs,
        "contrasts": to_data(comparison.contrasts),
        "suites": to_data(comparison.suites),
        "published": to_data(comparison.published),
        "remarks": comparison.remarks,
        "note": DEPENDENCE,
    }
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)


def to_csv(comparison: Comparison) -> str:
    """Return one row a score with the difference from the baseline; shares, not percent.

    Suites, slices and publications, which are no scores, are in the JSON.
    """
    contrasts = {(c.task, c.metric, c.filter, c.run): c for c in comparison.contrasts}
    header = ("task", "version", "metric", "filter", "run", "model", "n", "score", "low", "high",
              "chance", "longest", "p_chance", "protocol", "baseline", "difference",
              "difference_low", "difference_high", "only_run", "only_baseline", "p", "p_holm",
              "test", "detectable", "note")  # fmt: skip
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(header)
    for run, summary, score in scored(comparison):
        contrast = contrasts.get((summary.task, score.metric, score.filter, run.name))
        found = contrast.difference if contrast else None
        writer.writerow(
            [
                summary.task, summary.version, score.metric, score.filter, run.name, run.model,
                score.num_items, score.value, *(score.interval or ("", ""))[:2],
                summary.chance, summary.longest, score.above_chance, summary.protocol,
                contrast.baseline if contrast else "",
                *((found.value, *found.interval[:2], found.num_better, found.num_worse,
                   found.p_value) if found else [""] * 6),
                contrast.adjusted_p if contrast else "",
                *((found.test, found.smallest_detectable) if found else ("", "")),
                contrast.note if contrast else "",
            ]
        )  # fmt: skip
    return sink.getvalue().rstrip("\n")
