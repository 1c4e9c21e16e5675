"""The loss of a run as a picture."""

from collections.abc import Mapping, Sequence
from typing import Any

from proteinlm_ext.plots import to_svg

_WINDOW = 20
_LIGHT, _DARK, _HELD_OUT = "#9ecae1", "#08519c", "#d94801"


def draw_loss(log: Sequence[Mapping[str, Any]], title: str) -> str:
    """Return training loss by step with its running mean, and the validation loss, as SVG.

    Args:
        log: Entries of `step_log.read_log`.
        title: Over the picture.
    """
    return to_svg(lambda: _figure(log, title))


def _figure(log: Sequence[Mapping[str, Any]], title: str) -> Any:
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(7.5, 4), layout="constrained")
    axes = figure.subplots()
    _training(axes, [(entry["step"], entry["loss"]) for entry in log if "loss" in entry])
    _held_out(axes, [(entry["step"], entry["eval_loss"]) for entry in log if "eval_loss" in entry])
    axes.set(xlabel="optimizer step", ylabel="loss, nats per label token", title=title)
    axes.grid(alpha=0.25)
    axes.margins(y=0.1)  # room for the numbers
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def _training(axes: Any, points: Sequence[tuple[int, float]]) -> None:
    """Draw the training loss, and its mean over whole windows."""
    if not points:
        return
    steps, losses = [step for step, _ in points], [loss for _, loss in points]
    axes.plot(steps, losses, color=_LIGHT, linewidth=0.8, label="training, each log")
    window = min(_WINDOW, len(losses) // 5)
    if window > 1:
        ends = range(window, len(losses) + 1)
        means = [sum(losses[end - window : end]) / window for end in ends]
        axes.plot(steps[window - 1 :], means, color=_DARK, label=f"training, mean of {window} logs")


def _held_out(axes: Any, points: Sequence[tuple[int, float]]) -> None:
    """Draw the validation loss, with the numbers at its start and at its best."""
    if not points:
        return
    axes.plot(*zip(*points, strict=True), "o-", color=_HELD_OUT, markersize=4, label="validation")
    best = min(points, key=lambda point: point[1])
    marks = {points[0]: "start"} | {best: "best" if best != points[0] else "start, best"}
    for point, word in marks.items():
        axes.plot(*point, "o", color=_HELD_OUT, markersize=8)
        axes.annotate(
            f"{word} {point[1]:.3f}", point, xytext=(0, 8), textcoords="offset points",
            ha="left" if point is points[0] else "center", color=_HELD_OUT,
            bbox={"pad": 1, "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
        )  # fmt: skip
