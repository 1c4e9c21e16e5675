"""The length distributions of a dataset as SVG, one panel a config with all its splits."""

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

from proteinlm_ext.plots import to_svg
from proteinlm_sft.dataset_stats import DatasetStats

_DARK, _LIGHT, _GREY = "#1f6f8b", "#a9cbd6", "#666666"
_BINS_A_DOUBLING = 4
_COLUMNS = 3


def draw(stats: DatasetStats) -> dict[str, str]:
    """Return `row_lengths.svg`, in tokens or else characters, and `residues.svg` by file name."""
    tokens = ("row tokens, spaced", "row tokens, joined")
    rows = ("row characters",) if stats.tokenizer is None else tokens
    pictures = {"row_lengths.svg": rows, "residues.svg": ("residues",)}
    return {
        name: to_svg(partial(_figure, panels, measures, _marks(stats, measures)))
        for name, measures in pictures.items()
        if (panels := _panels(stats, measures))
    }


def _marks(stats: DatasetStats, measures: Sequence[str]) -> list[int]:
    """Return the maximum lengths, where tokens are drawn."""
    cuts = {cut.max_length for split in stats.splits for cut in split.cuts}
    return sorted(cuts) if "tokens" in measures[0] else []


def _panels(stats: DatasetStats, measures: Sequence[str]) -> dict[str, list[Counter[int]]]:
    """Return, by config, the rows of each length; configs without any length are left out."""
    panels: dict[str, list[Counter[int]]] = {}
    for split in stats.splits:
        sums = panels.setdefault(split.config, [Counter() for _ in measures])
        for summed, measure in zip(sums, measures, strict=True):
            if measure in split.lengths:
                counts = split.lengths[measure].counts
                summed.update({length: rows for length, rows in counts.items() if length})
    return {config: sums for config, sums in panels.items() if any(sums)}


def _figure(
    panels: dict[str, list[Counter[int]]], measures: Sequence[str], marks: Sequence[int]
) -> Any:
    from matplotlib.figure import Figure

    lines = math.ceil(len(panels) / _COLUMNS)
    figure = Figure(figsize=(9.6, 0.6 + 2.2 * lines), layout="constrained")
    axes: list[Any] = list(figure.subplots(lines, _COLUMNS, sharex=True, squeeze=False).flat)
    for one, (config, sums) in zip(axes, panels.items(), strict=False):
        _panel(one, config, sums, measures, marks)
    for unused in axes[len(panels) :]:
        unused.set_visible(False)
    if len(measures) > 1:
        axes[0].legend(fontsize=7, frameon=False)
    unit = f"{measures[0].split(',')[0]} (log scale)"
    figure.supxlabel(f"{unit}; lines: maximum lengths" if marks else unit, fontsize=9)
    figure.supylabel("percent of rows", fontsize=9)
    return figure


def _panel(
    axes: Any,
    config: str,
    sums: Sequence[Counter[int]],
    measures: Sequence[str],
    marks: Sequence[int],
) -> None:
    for rows, measure, filled in zip(sums, measures, (True, False), strict=False):
        edges, shares = _bins(rows)
        color = _LIGHT if filled else _DARK
        axes.stairs(shares, edges, fill=filled, color=color, label=measure.split(", ")[-1])
    for mark in marks:
        axes.axvline(mark, color=_GREY, linewidth=0.8, linestyle=":")
    axes.set_xscale("log", base=2)
    axes.set_title(f"{config}, n = {sums[0].total():,}", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=7, labelbottom=True)
    axes.xaxis.set_major_formatter("{x:g}")


def _bins(rows: Counter[int]) -> tuple[list[float], list[float]]:
    """Return edges in equal steps of the logarithm and the percent of rows between them."""
    binned: Counter[int] = Counter()
    for length, count in rows.items():
        binned[math.floor(_BINS_A_DOUBLING * math.log2(length))] += count
    first, last = min(binned, default=0), max(binned, default=0)
    edges = [2 ** (number / _BINS_A_DOUBLING) for number in range(first, last + 2)]
    whole = max(1, rows.total())
    return edges, [100 * binned[number] / whole for number in range(first, last + 1)]
