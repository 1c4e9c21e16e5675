"""The loss of a run as a picture."""

from collections.abc import Mapping, Sequence
from typing import Any

from proteinlm_ext.plots import to_svg

_WINDOW = 20


def draw_loss(log: Sequence[Mapping[str, Any]], title: str) -> str:
    """Return training loss by step with its running mean, and the validation loss, as SVG.

    Args:
        log: Entries of `step_log.read_log`.
        title: Over the picture.
    """
    return to_svg(lambda: _figure(log, title))


def _figure(log: Sequence[Mapping[str, Any]], title: str) -> Any:
    from matplotlib.figure import Figure

    train = [(entry["step"], entry["loss"]) for entry in log if "loss" in entry]
    held_out = [(entry["step"], entry["eval_loss"]) for entry in log if "eval_loss" in entry]
    figure: Any = Figure(figsize=(7.5, 4), layout="constrained")
    axes = figure.subplots()
    if train:
        steps, losses = zip(*train, strict=True)
        means = [_mean(losses[max(0, n - _WINDOW + 1) : n + 1]) for n in range(len(losses))]
        axes.plot(steps, losses, color="#9ecae1", linewidth=0.8, label="training, each log")
        axes.plot(steps, means, color="#08519c", label=f"training, mean of {_WINDOW} logs")
    if held_out:
        steps, losses = zip(*held_out, strict=True)
        axes.plot(steps, losses, "o-", color="#d94801", label="validation")
        best = min(held_out, key=lambda point: point[1])
        axes.annotate(f"{best[1]:.3f}", best, xytext=(0, 7), textcoords="offset points",
                      ha="center", color="#d94801")  # fmt: skip
    axes.set(xlabel="optimizer step", ylabel="loss, nats per token", title=title)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    return figure


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
