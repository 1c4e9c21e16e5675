"""What `train_throughput.py` measures, in a process of its own: rows that are kept, and steps.

python benchmarks/train_works.py JOB
"""

import contextlib
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

# TRL's default length; of its batch of 8, whose activations fill more than 20 GB, a part.
TRL_LENGTH, TRL_BATCH = 1024, 2


def main() -> None:
    """Print what the job on the command line finds."""
    job = json.loads(sys.argv[1])
    with contextlib.redirect_stdout(sys.stderr):
        found = (measure_steps if "steps" in job else count_rows)(job)
    print(json.dumps(found))


def make_recipe(job: dict[str, Any]) -> Any:
    """Return our default: rows packed whole, long sequences cropped."""
    from proteinlm_train.recipe_file import check_recipe

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
    from trl.trainer.sft_config import SFTConfig

    from proteinlm_sft.templates import prompt_completion
    from proteinlm_train.base_model import load_model, load_tokenizer, locate
    from proteinlm_train.settings import to_lora_config, to_sft_config

    disable_caching()
    recipe = make_recipe(job)
    lines = Path(job["rows"]).read_text(encoding="utf-8").splitlines()
    located = locate(recipe.model)
    # What the recipe says, but for the rows.
    names = (
        "output_dir", "learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay",
        "max_grad_norm", "optim", "bf16", "use_cpu", "activation_checkpointing", "seed",
        "data_seed", "logging_steps", "logging_first_step",
    )  # fmt: skip
    ours = to_sft_config(recipe, layer_classes=[], evaluates=False, first=True)
    same = {name: getattr(ours, name) for name in names}
    steps = job.get("steps", 1)
    rows: dict[str, Any] = {
        "packing": True, "max_length": job["max_length"], "max_steps": steps,
        "per_device_train_batch_size": 1,
    }  # fmt: skip
    if job["arm"] == "trl default":
        rows = {"max_steps": steps, "per_device_train_batch_size": TRL_BATCH}
    set_seed(recipe.train.seed)
    return SFTTrainer(
        model=load_model(recipe.model, located, dtype="float32", attention="sdpa"),
        args=SFTConfig(**same, **rows, report_to="none", save_strategy="no"),
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
    """Return what became of the rows in `prepare`, which are short, and the labels of all."""
    from proteinlm_train.base_model import load_tokenizer, locate
    from proteinlm_train.encoding import decode
    from proteinlm_train.prepare import prepare
    from proteinlm_train.rows import to_conversation
    from proteinlm_train.tokens import Counts, Tokenizing

    recipe = make_recipe(job)
    train = prepare(recipe, Path(job["folder"]) / "counted")["splits"]["train"]
    tokenizing = Tokenizing(
        tokenizer=load_tokenizer(recipe.model, locate(recipe.model), chat=True),
        residues="spaced", overlong="drop", limit=None,
    )  # fmt: skip
    lines = Path(job["rows"]).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    chats = [(row["id"], *to_conversation(row, "instruction")) for row in rows]
    documents = tokenizing.conversations(chats, Counts())
    labels = [decode(document.tokens)["labels"] for document in documents]
    limit = min(job["max_length"], TRL_LENGTH)
    return {
        "kept": train["counts"]["kept"],
        "lost": train["counts"]["dropped"],
        "labels": train["labels"],
        "all_labels": sum(int((row != -100).sum()) for row in labels),
        "whole": [number for number, row in enumerate(labels) if len(row) <= limit],
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


if __name__ == "__main__":
    main()
