"""The pictures of a comparison: accuracies, differences, and where the models' picks stand."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

from proteinlm_ext.comparison import Comparison, Contrast
from proteinlm_ext.comparison_tables import scored, task_names
from proteinlm_ext.outcomes import is_ours
from proteinlm_ext.plots import to_svg
from proteinlm_ext.questions import LETTERS
from proteinlm_ext.runs import SavedRun
from proteinlm_ext.summary import Score, TaskSummary

ROW_HEIGHT = 0.26  # inches
_COLORS = ("#1f6f8b", "#c8553d", "#588157", "#7b4b94", "#b08900", "#4a5568")


def _color(comparison: Comparison, run: str) -> str:
    position = [item.name for item in comparison.runs].index(run)
    return _COLORS[position % len(_COLORS)]


def draw_comparison(comparison: Comparison) -> dict[str, str]:
    """Return the pictures as SVG by the title of the table that they belong to."""
    pictures = {
        "Scores": (forest_figure, _shares(comparison)),
        f"Differences from {comparison.baseline}": (difference_figure, _tested(comparison)),
        "Slices": (position_figure, _confusions(comparison)),
    }
    return {
        title: to_svg(partial(figure, comparison, content))
        for title, (figure, content) in pictures.items()
        if content
    }


def _shares(comparison: Comparison) -> list[tuple[SavedRun, TaskSummary, Score]]:
    return [row for row in scored(comparison) if row[2].is_share and row[2].value is not None]


def _tested(comparison: Comparison) -> list[Contrast]:
    all_of_them = [*comparison.contrasts, *comparison.suites]
    return [contrast for contrast in all_of_them if contrast.difference and contrast.is_share]


def _confusions(comparison: Comparison) -> list[tuple[str, Counter[tuple[int, int]]]]:
    """Count by run and task (place of the right option, place of the pick), as the model saw."""
    panels: list[tuple[str, Counter[tuple[int, int]]]] = []
    for name in task_names(comparison):
        for run in comparison.runs:
            if name not in run.tasks or not is_ours(run.tasks[name].samples[0]["doc"]):
                continue
            counts = Counter(
                ((outcome.answer - rotation) % size, (picked - rotation) % size)
                for outcome in run.tasks[name].outcomes()
                for size in [len(outcome.choices)]
                for rotation, picked in outcome.picks
                if picked is not None
            )
            if counts:
                panels.append((f"{name}\n{run.name}", counts))
    return panels


def forest_figure(
    comparison: Comparison, rows: Sequence[tuple[SavedRun, TaskSummary, Score]]
) -> Any:
    """Draw every share with its interval; a tick at chance, a cross at always-longest."""
    figure, axes = _rows([f"{s.task} {score.label}   {run.name}" for run, s, score in rows])
    for y, (run, summary, score) in enumerate(rows):
        if summary.chance is not None:
            axes.plot(100 * summary.chance, y, "|", color="#666666", markersize=11)
        if summary.longest is not None:
            axes.plot(100 * summary.longest, y, "x", color="#666666", markersize=5)
        _interval(axes, y, score.value, score.interval, _color(comparison, run.name))
    axes.set_xlabel("percent right, 95% interval; | chance, x always the longest option")
    axes.set_xlim(0, 100)
    return figure


def difference_figure(comparison: Comparison, tested: Sequence[Contrast]) -> Any:
    """Draw the differences from the baseline, tasks and suites."""
    figure, axes = _rows([f"{c.task} {c.label}   {c.run}" for c in tested])
    axes.axvline(0, color="#666666", linewidth=1)
    for y, contrast in enumerate(tested):
        if found := contrast.difference:
            color = _color(comparison, contrast.run)
            _interval(axes, y, found.value, found.interval, color)
    axes.set_xlabel(f"percentage points from {comparison.baseline}, 95% interval")
    return figure


def _rows(labels: Sequence[str]) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 0.9 + ROW_HEIGHT * len(labels)), layout="constrained")
    axes: Any = figure.subplots()
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure, axes


def _interval(axes: Any, y: float, value: Any, interval: Any, color: str) -> None:
    axes.plot([100 * interval.low, 100 * interval.high], [y, y], color=color, linewidth=2)
    axes.plot(100 * value, y, "o", color=color, markersize=5)


def position_figure(
    comparison: Comparison, panels: Sequence[tuple[str, Counter[tuple[int, int]]]]
) -> Any:
    """Draw where picks fall, by where the right option stood, a panel a run and task.

    A model that knows answers fills the diagonal; one that prefers a letter fills a column.
    """
    del comparison
    from matplotlib.figure import Figure

    columns = min(4, len(panels))
    lines = -(-len(panels) // columns)
    size = 1 + max(place for _, counts in panels for pair in counts for place in pair)
    figure = Figure(figsize=(2.4 * columns + 0.4, 2.7 * lines), layout="constrained")
    grid: Any = figure.subplots(lines, columns, squeeze=False)
    for place, axes in enumerate(grid.flat):
        axes.set_visible(place < len(panels))
    for axes, (title, counts) in zip(grid.flat, panels, strict=False):
        table = [[counts[gold, picked] for picked in range(size)] for gold in range(size)]
        axes.pcolormesh(table, cmap="Blues", edgecolors="white", linewidth=0.5)
        top = max(map(max, table))
        for gold, row in enumerate(table):
            for picked, count in enumerate(row):
                shade = "white" if count > 0.6 * top else "#333333"
                axes.text(picked + 0.5, gold + 0.55, count or "", ha="center", va="center",
                          fontsize=6, color=shade)  # fmt: skip
        middles = [place + 0.5 for place in range(size)]
        axes.set_xticks(middles, LETTERS[:size], fontsize=7)
        axes.set_yticks(middles, LETTERS[:size], fontsize=7)
        axes.invert_yaxis()
        axes.set_xlabel("picked", fontsize=7)
        axes.set_ylabel("right", fontsize=7)
        axes.set_title(title, fontsize=7)
    return figure
