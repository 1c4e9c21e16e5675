"""Rows of `eval_speed.py`: what the runs of a work say about cost and answers, and the table."""

import statistics
from collections import defaultdict
from typing import Any, TypeAlias

import numpy as np
from eval_works import NEVER_BELOW, TARGETS

MOST_TOKENS, MOST_MEMORY = 1.10, 1.05  # over the least possible, over stock
LARGEST_DIFFERENCE = CLEAR_MARGIN = 1e-3
# A target above what the tokens allow gives way to this share of what they allow.
OF_THE_CEILING = 0.95

Run: TypeAlias = dict[str, Any]
Pairs: TypeAlias = list[tuple[Run, Run]]  # stock, ours


def make_row(work: str, numbers: list[int], pairs: Pairs, *, bounded: bool) -> dict[str, Any]:
    """Summarise the runs of a work; `numbers` tells the document of each request."""
    row = {"work": work, "questions": len(set(numbers))}
    row |= compare_cost(TARGETS.get(work, NEVER_BELOW), pairs) | compare_answers(numbers, pairs)
    if bounded:
        row["faults"] += missed_bounds(row)
    return row


def missed_bounds(row: dict[str, Any]) -> list[str]:
    """Say where a row costs more than it may."""
    bounds = {"tokens_ratio": MOST_TOKENS, "rss_ratio": MOST_MEMORY}
    faults = [
        f"{name} is {row[name]:.3f}, above {most}"
        for name, most in bounds.items()
        if row[name] > most
    ]
    if row["ratio"] < row["target"]:
        faults.append(f"ratio is {row['ratio']:.2f}, below {row['target']:.2f}")
    return faults


def compare_cost(target: float, pairs: Pairs) -> dict[str, Any]:
    """Take the medians of both, their ratios, and the ratio that the token counts allow."""
    names = ("wall_s", "cpu_s", "peak_rss_mb", "loaded_rss_mb", "tokens_fed")
    stock, ours = (
        {name: statistics.median(run[name] for run in runs) for name in names}
        for runs in zip(*pairs, strict=True)
    )
    counts = pairs[0][1]
    # Windows of a text share nothing: nobody can feed less than stock.
    least = counts.get("least_tokens", stock["tokens_fed"])
    logits = counts.get("least_logits", least)
    # Attention aside, a token costs as many multiplications as the parameters that it passes.
    # Stock computes the logits of every token.
    cost_of_stock = (counts["body"] + counts["head"]) * stock["tokens_fed"]
    ceiling = cost_of_stock / (counts["body"] * least + counts["head"] * logits)
    ratios = [one["wall_s"] / other["wall_s"] for one, other in pairs]
    return {
        "batch_size": pairs[0][0]["batch_size"],
        "ratio": stock["wall_s"] / ours["wall_s"],
        "ratio_range": [min(ratios), max(ratios)],
        "cpu_ratio": stock["cpu_s"] / ours["cpu_s"],
        "ceiling": ceiling,
        "target": target if target <= NEVER_BELOW else min(target, OF_THE_CEILING * ceiling),
        "tokens_ratio": ours["tokens_fed"] / least,
        "rss_ratio": ours["peak_rss_mb"] / stock["peak_rss_mb"],
        "least_tokens": least,
        "least_logits": logits,
        "stock": stock,
        "ours": ours,
    }


def compare_answers(numbers: list[int], pairs: Pairs) -> dict[str, Any]:
    """Compare log-probabilities, and the option of each question that has the highest."""
    differences, flips, changed, close = list[float](), 0, set[int](), set[int]()
    for stock, ours in pairs:
        values: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
        for number, one, other in zip(numbers, stock["answers"], ours["answers"], strict=True):
            values[number].append((one[0], other[0]))
            differences.append(abs(one[0] - other[0]))
            flips += one[1:] != other[1:]
        for number, options in values.items():
            expected, found = zip(*options, strict=True)
            first, *rest = sorted(expected, reverse=True)
            if rest and first - rest[0] <= CLEAR_MARGIN:
                close.add(number)
            elif expected.index(first) != found.index(max(found)):
                changed.add(number)
    faults = [f"the answer to question {number} differs" for number in sorted(changed)]
    largest = float(np.max(differences))
    if not largest <= LARGEST_DIFFERENCE:  # also where it is not a number
        faults.append(f"log-probabilities differ by up to {largest:.2g}")
    return {"max_diff": largest, "greedy_flips": flips, "close": sorted(close), "faults": faults}


def to_table(rows: list[dict[str, Any]]) -> str:
    """Format the rows; pairs of tokens and of MB are stock's and ours."""
    from tabulate import tabulate

    def both(row: dict[str, Any], name: str) -> str:
        return f"{row['stock'][name]:.0f}, {row['ours'][name]:.0f}"

    lines = [
        {
            "work": row["work"],
            "n": row["questions"],
            "batch": row["batch_size"],
            "stock s": f"{row['stock']['wall_s']:.2f}",
            "ours s": f"{row['ours']['wall_s']:.2f}",
            "ratio": "{:.2f} ({:.2f} to {:.2f})".format(row["ratio"], *row["ratio_range"]),
            "CPU": f"{row['cpu_ratio']:.2f}",
            "ceiling": f"{row['ceiling']:.2f}",
            "target": f"{row['target']:.2f}",
            "tokens": both(row, "tokens_fed"),
            "least": f"{row['least_tokens']:.0f}",
            "ours/least": f"{row['tokens_ratio']:.3f}",
            "peak MB": both(row, "peak_rss_mb"),
            "MB ratio": f"{row['rss_ratio']:.3f}",
            "max |diff|": f"{row['max_diff']:.1e}",
            "close": len(row["close"]),
        }
        for row in rows
    ]
    return tabulate(lines, headers="keys", disable_numparse=True)
