"""Label tokens/s of `proteinlm train` against TRL's SFTTrainer on the same rows, and rows lost.

SmolLM2-135M-Instruct with a LoRA adapter in float32; every measurement is a process of its own.

    python benchmarks/train_throughput.py [--quick] [--data FOLDER] [--json]
"""

import argparse
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from eval_speed import describe_machine, say
from train_rows import draw_rows, sample_rows, save_rows

ARMS = ("ours", "trl bfd", "trl default")
LEAST_RATIO, MOST_LOSS = 1.0, 0.02
# TRL's defaults; the packed arms take one row a step, which holds about as many documents.
TRL_LENGTH, TRL_BATCH = 1024, 8


def main() -> None:
    """Measure, print, and fail where a bound is missed."""
    options = read_options()
    os.environ |= {
        "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }  # fmt: skip
    if options.worker:
        job = json.loads(options.worker)
        with contextlib.redirect_stdout(sys.stderr):
            found = (count_rows if "steps" not in job else measure_steps)(job)
        print(json.dumps(found))
        return
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
    parser.add_argument("--worker", help=argparse.SUPPRESS)
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
    command = [sys.executable, __file__, "--worker", json.dumps(job)]
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


def make_recipe(job: dict[str, Any]) -> Any:
    """Return our default: rows packed whole, long sequences cropped."""
    from proteinlm_train.recipe import check_recipe

    return check_recipe(
        {
            "name": "speed", "stage": "sft", "method": "lora", "model": {"path": job["model"]},
            "data": {"sources": [{"path": job["rows"]}], "validation": {"from": "none"},
                     "overlong": "crop_sequence", "decontamination": "waived"},
            "lora": {"r": 16, "alpha": 32},
            "train": {"lr": 2e-4, "max_steps": job.get("steps", 1), "grad_accum": 1,
                      "max_length": job["max_length"], "schedule": "constant", "warmup": 0,
                      "precision": "fp32", "gradient_checkpointing": False},
            "run": {"output_dir": f"{job['folder']}/run", "eval_steps": None, "log_steps": 1},
        },
        "benchmark",
    )  # fmt: skip


def make_trl(job: dict[str, Any]) -> Any:
    """Return TRL's trainer on the same rows, with the recipe's model and optimisation."""
    from datasets import Dataset, disable_caching
    from transformers import set_seed
    from trl import SFTTrainer

    from proteinlm_sft.templates import prompt_completion
    from proteinlm_train.base_model import load_model, load_tokenizer, locate
    from proteinlm_train.settings import to_lora_config, to_sft_config

    disable_caching()
    packed = job["arm"] == "trl bfd"
    recipe = make_recipe(job)
    overrides: dict[str, Any] = {"dataset_kwargs": None, "remove_unused_columns": True}
    if not packed:
        overrides |= {"packing": False, "per_device_train_batch_size": TRL_BATCH}
        overrides |= {"max_length": TRL_LENGTH}
        overrides |= {"max_steps": max(2, job.get("steps", 1) // 2)}  # rows are padded: slower
    recipe = recipe.model_copy(update={"trainer_overrides": overrides})
    lines = Path(job["rows"]).read_text(encoding="utf-8").splitlines()
    located = locate(recipe.model)
    set_seed(recipe.train.seed)
    return SFTTrainer(
        model=load_model(recipe.model, located, dtype="float32", attention="sdpa"),
        args=to_sft_config(recipe, layer_classes=[], evaluates=False, first=True),
        train_dataset=Dataset.from_list([prompt_completion(json.loads(line)) for line in lines]),
        processing_class=load_tokenizer(recipe.model, located, chat=True),
        peft_config=to_lora_config(recipe),
    )


def count_rows(job: dict[str, Any]) -> dict[str, Any]:
    """Return rows with and without a label, and labels; for ours which rows all arms keep whole."""
    import numpy as np

    if job["arm"] == "ours":
        return count_ours(job)
    rows = make_trl(job).train_dataset
    read = len(Path(job["rows"]).read_text(encoding="utf-8").splitlines())
    labels = [np.array(row["labels"]) for row in rows]
    if "seq_lengths" in rows.column_names:
        ends = [np.cumsum(row["seq_lengths"])[:-1] for row in rows]
        labels = [
            piece
            for row, end in zip(labels, ends, strict=True)
            for piece in np.split(row, end)
        ]  # fmt: skip
    held = [int((row != -100).sum()) for row in labels]
    kept = sum(count > 0 for count in held)
    return {"kept": kept, "lost": read - kept, "labels": sum(held)}


def count_ours(job: dict[str, Any]) -> dict[str, Any]:
    """Return what became of the rows in `prepare`, and the numbers of those that are short."""
    from proteinlm_train.base_model import load_tokenizer, locate
    from proteinlm_train.prepare import prepare
    from proteinlm_train.rows import to_conversation
    from proteinlm_train.tokens import Counts, Tokenizing

    recipe = make_recipe(job)
    train = prepare(recipe, Path(job["folder"]) / "counted")["splits"]["train"]
    tokenizing = Tokenizing(
        tokenizer=load_tokenizer(recipe.model, locate(recipe.model), chat=True),
        residues="spaced", overlong="drop", limit=min(job["max_length"], TRL_LENGTH),
    )  # fmt: skip
    lines = Path(job["rows"]).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    chats = [(row["id"], *to_conversation(row, "instruction")) for row in rows]
    whole = tokenizing.conversations(chats, Counts())
    return {
        "kept": train["counts"]["kept"],
        "lost": train["counts"]["dropped"],
        "labels": train["labels"],
        "whole": [number for number, document in enumerate(whole) if document is not None],
    }


def measure_steps(job: dict[str, Any]) -> dict[str, Any]:
    """Train and return, for each step, labels, loss, and from the second on seconds."""
    from transformers import TrainerCallback

    if job["arm"] == "ours":
        from proteinlm_train.session import open_session

        trainer = open_session(make_recipe(job), None, 1).trainer
    else:
        trainer = make_trl(job)
    ends: list[float] = []
    labels: list[int] = []

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            del args, state, control
            ends.append(time.perf_counter())

    collate = trainer.data_collator

    def counted(examples: list[Any]) -> Any:
        batch = collate(examples)
        labels.append(int((batch["labels"][..., 1:] != -100).sum()))
        return batch

    trainer.data_collator = counted
    trainer.add_callback(Clock())
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {
        "labels": labels[: len(ends)],
        "losses": losses,
        "seconds": [end - start for start, end in itertools.pairwise(ends)],
    }


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

    most = max(arm["labels"] for arm in report["arms"].values())
    table = [
        {
            "": name,
            "rows kept": arm["kept"],
            "rows lost": arm["lost"],
            "labels kept": f"{arm['labels'] / most:.1%}",
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
