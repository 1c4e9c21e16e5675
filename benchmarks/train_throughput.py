"""Label tokens/s of `proteinlm train` against TRL's SFTTrainer on the same rows, and rows lost.

SmolLM2-135M-Instruct with a LoRA adapter in float32; every measurement is a process of its own.

    python benchmarks/train_throughput.py [--quick] [--data FOLDER] [--json]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import train_works
from eval_speed import describe_machine, say
from train_rows import draw_rows, sample_rows, save_rows
from train_works import TRL_LENGTH

ARMS = ("ours", "trl bfd", "trl default")
LEAST_RATIO, MOST_LOSS = 1.0, 0.02


def main() -> None:
    """Measure, print, and fail where a bound is missed."""
    options = read_options()
    os.environ |= {
        "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        report = compare(options, Path(folder))
    faults = [] if options.quick else missed_bounds(report)
    print(json.dumps(report | {"faults": faults}, indent=1) if options.json else to_text(report))
    print(describe_machine(), file=sys.stderr if options.json else sys.stdout, flush=True)
    for fault in faults:
        say(fault)
    sys.exit(1 if faults else 0)


def read_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Measure proteinlm train against TRL.")
    parser.add_argument("--quick", action="store_true", help="3 steps, once, no bounds")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--rows", type=int, default=600, help="at most 1,000 (600)")
    parser.add_argument("--steps", type=int, help="of packed rows; the first is not timed (9)")
    parser.add_argument("--repeats", type=int, help="alternations (3)")
    parser.add_argument("--max_length", type=int, default=2048, help="of packed rows (2048)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="a built dataset")
    parser.add_argument("--model", default="smollm2", help="a folder with another model")
    options = parser.parse_args()
    options.steps = options.steps or (3 if options.quick else 9)
    options.repeats = options.repeats or (1 if options.quick else 3)
    return options


def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Count what becomes of all rows; time the rows that every arm keeps whole."""
    rows = sample_rows(options.data, options.rows) if options.data else draw_rows(options.rows)
    job: dict[str, Any] = {
        "model": options.model, "max_length": options.max_length, "folder": str(folder),
        "rows": str(save_rows(folder / "all.jsonl", rows)),
    }  # fmt: skip
    counted = {arm: run_worker(job | {"arm": arm}) for arm in ARMS}
    common = [rows[number] for number in counted["ours"].pop("whole")]
    all_labels = counted["ours"].pop("all_labels")
    job |= {"rows": str(save_rows(folder / "common.jsonl", common)), "steps": options.steps}
    runs: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    for _ in range(options.repeats):
        for arm in ARMS:
            runs[arm].append(run_worker(job | {"arm": arm}))
            say(f"{arm}: {speed(runs[arm][-1]):.1f} label tokens/s")
    labels = min(sum(runs[arm][0]["labels"]) for arm in ARMS)
    pairs = [speed(a) / speed(b) for a, b in zip(runs["ours"], runs["trl bfd"], strict=True)]
    return {
        "rows": len(rows),
        "common": len(common),
        "all_labels": all_labels,
        "labels": labels,
        "arms": {
            arm: counted[arm]
            | {
                "label_tokens_per_s": statistics.median(map(speed, runs[arm])),
                "s_per_step": statistics.median(s for run in runs[arm] for s in run["seconds"]),
                "loss": loss_until(runs[arm][0], labels),
            }
            for arm in ARMS
        },
        "ratio": statistics.median(pairs),
        "ratios": sorted(pairs),
    }


def run_worker(job: dict[str, Any]) -> dict[str, Any]:
    """Run a job in a process of its own."""
    command = [sys.executable, train_works.__file__, json.dumps(job)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{job} failed:\n{done.stderr.decode()}")
    return json.loads(done.stdout)


def speed(run: dict[str, Any]) -> float:
    """Return label tokens/s; the first step warms up."""
    return sum(run["labels"][1:]) / sum(run["seconds"])


def loss_until(run: dict[str, Any], labels: int) -> float:
    """Return the mean loss of the first so many label tokens."""
    left, total = labels, 0.0
    for count, loss in zip(run["labels"], run["losses"], strict=True):
        taken = min(count, left)
        left -= taken
        total += taken * loss
    return total / (labels - left)


def missed_bounds(report: dict[str, Any]) -> list[str]:
    """Say which bounds are missed."""
    ours, best = report["arms"]["ours"], report["arms"]["trl bfd"]
    gap = abs(ours["loss"] / best["loss"] - 1)
    return [
        *([f"{report['ratio']:.3f} of TRL's speed"] if report["ratio"] < LEAST_RATIO else []),
        *([f"the loss differs by {gap:.1%}"] if gap > MOST_LOSS else []),
        *([f"{ours['lost']} rows are lost"] if ours["lost"] else []),
    ]


def to_text(report: dict[str, Any]) -> str:
    """Return the table."""
    from tabulate import tabulate

    table = [
        {
            "": name,
            "rows kept": arm["kept"],
            "rows lost": arm["lost"],
            "labels kept": f"{arm['labels'] / report['all_labels']:.1%}",
            "s/step": f"{arm['s_per_step']:.2f}",
            "label tokens/s": f"{arm['label_tokens_per_s']:.1f}",
            "loss": f"{arm['loss']:.4f}",
        }
        for name, arm in report["arms"].items()
    ]
    low, high = report["ratios"][0], report["ratios"][-1]
    return (
        f"{report['rows']} rows; speed and loss on the {report['common']} of at most "
        f"{TRL_LENGTH} tokens; loss over the first {report['labels']} label tokens\n"
        f"{tabulate(table, headers='keys', disable_numparse=True)}\n"
        f"ours over trl bfd: {report['ratio']:.3f} ({low:.3f} to {high:.3f})"
    )


if __name__ == "__main__":
    main()
