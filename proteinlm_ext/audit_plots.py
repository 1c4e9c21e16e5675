"""The pictures of an audit: what the baselines score, where the right options stand, how long."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from proteinlm_ext.auditing import Audit
from proteinlm_ext.baselines import Baseline
from proteinlm_ext.plots import to_svg
from proteinlm_ext.questions import LETTERS

PICTURES = ("baselines.svg", "gold_position.svg", "gold_length_rank.svg")
_DARK, _LIGHT, _GREY = "#1f6f8b", "#a9cbd6", "#666666"


def draw(audit: Audit) -> dict[str, str]:
    """Return `PICTURES` as SVG by file name; nothing without a question."""
    if not audit.baselines:
        return {}
    figures = (baselines_figure, positions_figure, length_ranks_figure)
    return {
        name: to_svg(partial(figure, audit)) for name, figure in zip(PICTURES, figures, strict=True)
    }


def baselines_figure(audit: Audit) -> Any:
    """Draw each baseline's accuracy with its interval over the band where guessers score."""
    chance = next(baseline for baseline in audit.baselines if baseline.name == "chance")
    shown = [baseline for baseline in audit.baselines if baseline is not chance]
    figure, axes = _axes(0.9 + 0.28 * len(shown))
    axes.axvspan(100 * chance.low, 100 * chance.high, color="#eeeeee", linewidth=0)
    axes.axvline(100 * chance.accuracy, color=_GREY, linewidth=1)
    for y, baseline in enumerate(shown):
        axes.plot([100 * baseline.low, 100 * baseline.high], [y, y], color=_DARK, linewidth=2)
        axes.plot(100 * baseline.accuracy, y, "o", color=_DARK, markersize=5)
    axes.set_yticks(range(len(shown)), [_label(baseline) for baseline in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("percent right, 95% interval; line and band: chance, 95% of guessers")
    return figure


def _label(baseline: Baseline) -> str:
    return f"always {baseline.name}" if baseline.name in LETTERS else baseline.name


def positions_figure(audit: Audit) -> Any:
    """Draw how often each position holds the right option, with the expectation as ticks."""
    figure, axes = _axes(2.8)
    found = audit.figures["gold_position"]
    letters = list(LETTERS[: len(found["observed"])])
    _bars(axes, letters, found["observed"], found["expected"])
    axes.set_xlabel("position of the right option")
    return figure


def length_ranks_figure(audit: Audit) -> Any:
    """Draw how often the right option is the longest, the second longest, ..."""
    figure, axes = _axes(2.8)
    found = audit.figures["gold_length_rank"]
    ranks = [str(rank) for rank in range(1, found["options"] + 1)]
    uniform = [found["questions"] / found["options"]] * found["options"]
    _bars(axes, ranks, found["counts"], uniform)
    axes.set_xlabel(
        f"length rank of the right option, 1 = longest ({found['questions']} questions with "
        f"{found['options']} options)"
    )
    return figure


def _bars(
    axes: Any, labels: Sequence[str], counts: Sequence[int], expected: Sequence[float]
) -> None:
    bars = axes.bar(labels, counts, color=_LIGHT, width=0.7)
    axes.bar_label(bars, label_type="center", fontsize=8)
    axes.plot(labels, expected, "_", color=_DARK, markersize=26, markeredgewidth=2)
    axes.set_ylabel("questions; line: uniform")


def _axes(height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, height), layout="constrained")
    axes: Any = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return figure, axes
