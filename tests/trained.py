"""Training runs in seconds: a random model of a few thousand weights in a recipe's place.

Runs that are killed or that train in two processes are children of a server which has imported
what training needs: a child begins at once.
"""

import gc
import importlib
import itertools
import json
import multiprocessing
import multiprocessing.connection
import os
import random
import signal
import socket
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from tiny_models import save_model, save_tokenizer

from proteinlm_ext.paths import recipes_dir
from proteinlm_train.recipe import Recipe
from proteinlm_train.recipe_file import load_recipe

TEMPLATE = (
    "{% for m in messages %}{{ '<s>' + m['role'] + '\n' + m['content'] + '</s>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant\n' }}{% endif %}"
)
TEXTS = [
    f"Protein {number} was isolated from a culture at {20 + number} degrees. "
    f"<seq> {' '.join('MKTAYIAKQR'[number % 10 :] * 4)} </seq> It binds {number % 7} ions of zinc."
    for number in range(48)
]


def save_chat_model(folder: Path) -> Path:
    """Save a random Llama with tied embeddings, and a tokenizer with a chat template."""
    save_model(folder, "llama", tie_word_embeddings=True, max_position_embeddings=1024)
    save_tokenizer(folder, chat_template=TEMPLATE)
    return folder


def save_texts(path: Path) -> Path:
    """Save a few dozen texts as JSON Lines."""
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return path


def shipped_recipe(name: str, folder: Path, *changes: str) -> Recipe:
    """Return a shipped recipe with a tiny model and a few rows in place of its own.

    Args:
        name: Of a recipe in `sft/recipes/train`.
        folder: Where model, texts and the run are kept.
        changes: Further settings.
    """
    path = recipes_dir("train") / f"{name}.yaml"
    rows = "smoke" if load_recipe(path).stage == "sft" else save_texts(folder / "texts.jsonl")
    model = folder / "model"
    return load_recipe(
        path,
        (
            f"model.path={model if model.is_dir() else save_chat_model(model)}",
            "model.revision=null",
            f"data.sources=[{{path: {rows}}}]",
            "data.validation.rows=4",
            "data.decontamination=waived",
            "train.epochs=null",
            "train.max_steps=2",
            "train.grad_accum=2",
            "train.max_length=1024",
            "train.precision=fp32",
            "distribution={strategy: none}",
            f"run.output_dir={folder / 'run'}",
            *changes,
        ),
    )


def save_conversations(path: Path, rows: int = 24) -> Path:
    """Save questions on random sequences as JSON Lines."""
    draw = random.Random(0)
    lines = [
        {
            "prompt": f"Which ion? <seq> {' '.join(draw.choices('ACDEFGHIKL', k=12))} </seq>",
            "completion": f"It binds {draw.choice(['zinc', 'iron'])}.",
        }
        for _ in range(rows)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def save_recipe(folder: Path, *changes: str) -> Path:
    """Write a recipe of eight steps on texts, saved every other step, and what it needs.

    Args:
        folder: Where recipe, model, data and the run are kept.
        changes: Settings, as `--set` takes them.
    """
    folder.mkdir(exist_ok=True)
    model = folder / "model"
    given = {
        "name": "tiny", "stage": "cpt", "method": "full",
        "model": {"path": str(model if model.is_dir() else save_chat_model(model))},
        "data": {
            "sources": [{"path": str(save_texts(folder / "texts.jsonl"))}],
            "validation": {"from": "train", "rows": 4},
            "decontamination": "waived",
        },
        "train": {
            "lr": 1e-4, "max_steps": 8, "grad_accum": 2, "max_length": 512, "precision": "fp32",
            "gradient_checkpointing": False,
        },
        "run": {
            "output_dir": str(folder / "run"), "save_steps": 2, "eval_steps": 4, "log_steps": 1,
        },
    }  # fmt: skip
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(given))
    recipe = load_recipe(path, changes)
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json", by_alias=True)))
    return path


def read_run(folder: Path) -> dict[str, Any]:
    """Return what two equal runs must share: the weights' bytes, losses by step, token counts."""
    record = json.loads((folder / "training_run.json").read_text())
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    names = ("loss", "grad_norm", "learning_rate", "num_tokens", "eval_loss")
    return {
        "weights": {
            file.name: file.read_bytes()
            for file in sorted((folder / "final").glob("*.safetensors"))
        },
        "log": {line["step"]: {name: line.get(name) for name in names} for line in log},
        "tokens": record["tokens"],
        "status": record["status"],
    }


# Where a run can be killed: in a step, between steps, and in every part of writing.
MOMENTS = (
    ("proteinlm_train.trainer", "ProteinTrainer.compute_loss"),
    ("proteinlm_train.trainer", "ProteinTrainer._save_checkpoint"),
    ("proteinlm_train.trainer", "ProteinTrainer._save_optimizer_and_scheduler"),
    ("proteinlm_train.trainer", "ProteinTrainer._save_rng_state"),
    ("proteinlm_train.trainer", "write_text"),
    ("proteinlm_train.step_log", "StepLog.on_log"),
    ("proteinlm_train.run", "copy_model"),
    ("proteinlm_train.run", "draw_loss"),
)


def start_child(
    recipe: Path, *arguments: str, dies_at: int | None = None, by: int = signal.SIGKILL,
    environment: dict[str, str] | None = None, shards_on_cpu: bool = False,
    bad_rows: str | None = None,
) -> Any:  # fmt: skip
    """Start `proteinlm train run RECIPE`; its output goes to `output-RANK.txt` beside the recipe.

    Args:
        recipe: The recipe's file.
        arguments: Further ones of the command.
        dies_at: At which of its MOMENTS, counted from 1, it is sent a signal.
        by: The signal.
        environment: Added to the child's.
        shards_on_cpu: Whether FSDP2 is let run without a GPU.
        bad_rows: Text of rows whose loss is no number.
    """
    options = {
        "arguments": ["train", "run", str(recipe), "--workers", "1", *arguments],
        "output": str(recipe.parent / f"output-{(environment or {}).get('RANK', '0')}.txt"),
        "dies_at": dies_at, "by": by, "environment": environment or {},
        "shards_on_cpu": shards_on_cpu, "bad_rows": bad_rows,
    }  # fmt: skip
    child = _server().Process(target=_train, kwargs=options)
    child.start()
    return child


def run_child(recipe: Path, *arguments: str, **options: Any) -> tuple[int, str]:
    """Run it to its end; return the exit status, negative for a signal, and the output."""
    child = start_child(recipe, *arguments, **options)
    child.join(300)
    return child.exitcode, (recipe.parent / "output-0.txt").read_text()


def run_pair(recipe: Path, *, dies_at: int | None = None, **options: Any) -> tuple[int, str]:
    """Run two processes as torchrun does: when one fails, the other is killed.

    Returns:
        The status of the first to fail, or 0, and the output of both.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pair = [
        start_child(
            recipe, **options, dies_at=dies_at if rank == 1 else None,
            environment={
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
                "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            },
        )
        for rank in range(2)
    ]  # fmt: skip
    running = {child.sentinel: child for child in pair}
    status = 0
    while running:
        ended = multiprocessing.connection.wait(list(running), timeout=300)
        codes = [running.pop(sentinel).exitcode for sentinel in ended]
        if not ended or any(codes):
            status = status or next(filter(None, codes), -signal.SIGALRM)
            for child in running.values():
                child.kill()
    outputs = [(recipe.parent / f"output-{rank}.txt").read_text() for rank in range(2)]
    return status, "".join(outputs)


@cache
def _server() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([
        "proteinlm_train.run", "proteinlm_ext.cli", "matplotlib.figure",
        "matplotlib.backends.backend_svg", "transformers.models.llama.modeling_llama",
        "torch.distributed.fsdp",
    ])  # fmt: skip
    return context


def _train(
    arguments: list[str], output: str, dies_at: int | None, by: int, environment: dict[str, str],
    shards_on_cpu: bool, bad_rows: str | None,
) -> None:  # fmt: skip
    import torch

    from proteinlm_ext.cli import main

    with open(output, "w") as file:  # noqa: PTH123 - a descriptor is wanted
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    gc.freeze()  # what was imported need not be looked through again and again
    os.environ.update({"HF_HUB_OFFLINE": "1"} | environment)
    torch.set_num_threads(1)
    if dies_at is not None:
        _signal_at(dies_at, by)
    if shards_on_cpu:
        let_fsdp_run_on_cpu()
    if bad_rows is not None:
        spoil_loss(bad_rows, float("nan"))
    sys.exit(main(arguments))


def _signal_at(moment: int, by: int) -> None:
    calls = itertools.count(1)

    def tap(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def tapped(*arguments: Any, **options: Any) -> Any:
            if next(calls) == moment:
                os.kill(os.getpid(), by)
            return original(*arguments, **options)

        setattr(owner, name, tapped)

    for module, path in MOMENTS:
        *parents, name = path.split(".")
        owner: Any = importlib.import_module(module)
        for parent in parents:
            owner = getattr(owner, parent)
        tap(owner, name)


def let_fsdp_run_on_cpu() -> None:
    """Let accelerate take a gloo group for FSDP, as it takes those of GPUs."""
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    original = PartialState.__init__

    def patched(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        if self._shared_state.get("distributed_type") == DistributedType.MULTI_CPU:
            self._shared_state["distributed_type"] = DistributedType.MULTI_GPU

    PartialState.__init__ = patched


def spoil_loss(text: str, loss: float) -> None:
    """Give rows that hold a text a loss of our own while training."""
    from trl import SFTTrainer

    original = SFTTrainer.compute_loss

    def compute_loss(self: Any, model: Any, inputs: Any, *arguments: Any, **options: Any) -> Any:
        found = text in self.processing_class.decode(inputs["input_ids"][0])
        value = original(self, model, inputs, *arguments, **options)
        return value * 0 + loss if found and model.training else value

    SFTTrainer.compute_loss = compute_loss
