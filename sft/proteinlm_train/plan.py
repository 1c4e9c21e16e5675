"""`plan`: what a run will learn from and cost, before it costs anything."""

import json
import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import ProgressCallback, TrainerCallback

from proteinlm_train.base_model import load_config, load_tokenizer, locate, weights_folder
from proteinlm_train.devices import describe_hardware, peak_flops, peak_memory_bytes
from proteinlm_train.encoding import BYTES
from proteinlm_train.flops import CONVENTION, lora_parameters, model_shape, training_flops
from proteinlm_train.memory import estimate_memory
from proteinlm_train.parts import TRAIN, VALIDATION
from proteinlm_train.prepare import prepare, prepared_folder, shards_of
from proteinlm_train.provenance import describe_decontamination, describe_split, read_ancestor
from proteinlm_train.recipe import Recipe
from proteinlm_train.run import check_world
from proteinlm_train.samples import find_stop_tokens, show_documents
from proteinlm_train.session import open_session
from proteinlm_train.shards import load_rows

ASSUMED_MFU = 0.4
"""Share of the peak that the estimate of hours assumes on a known GPU: an assumption."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Exact counts of the prepared data, estimates of the cost, and what was measured."""

    recipe: str
    recipe_sha256: str
    packing: str
    max_length: int
    data: Mapping[str, Any]
    decontamination: Mapping[str, Any]
    split: Mapping[str, Any]
    stop_tokens: tuple[str, ...]
    """Special tokens that end what is learned; empty: the model will not learn to stop."""
    steps: int
    epochs: float
    tokens_per_step: float
    parameters: int
    trainable: int
    flops: float
    flops_convention: str
    hardware: Mapping[str, Any]
    memory_estimate: Mapping[str, int]
    hours_estimate: float | None
    disk_bytes: Mapping[str, int]
    measured: Mapping[str, float] | None
    examples: tuple[Mapping[str, str], ...]


def make_plan(recipe: Recipe, *, workers: int = 1, dry_run: bool = False) -> Plan:
    """Prepare the data and count; estimate memory, time and disk.

    Args:
        recipe: The recipe.
        workers: Processes of the preparation.
        dry_run: Train two steps, in a folder that is removed, and measure.

    Raises:
        UsageError: The recipe cannot be run, or a source has no record of decontamination.
        ProteinLMError: A row has no token to learn from.
    """
    if dry_run:
        check_world(recipe)
    prepared = prepare(recipe, prepared_folder(recipe), workers)
    located = locate(recipe.model)
    shape = model_shape(
        load_config(recipe.model, located), trust_remote_code=recipe.model.trust_remote_code
    )
    lora = recipe.adapter
    trainable = lora_parameters(shape, lora) if lora else shape.parameters
    train = prepared["splits"][TRAIN]
    per_step = recipe.train.micro_batch * recipe.train.grad_accum * recipe.distribution.processes
    an_epoch = math.ceil(train["rows"] / per_step)
    steps = recipe.train.max_steps or math.ceil(an_epoch * (recipe.train.epochs or 1))
    share = recipe.train.epochs or steps * per_step / train["rows"]
    on_cuda = torch.cuda.is_available()
    flops = training_flops(
        shape,
        tokens=round(train["tokens"] * share),
        label_tokens=round(train["labels"] * share),
        squared_lengths=round(train["squared_lengths"] * share),
        trainable=trainable,
        on_cuda=on_cuda,
    )
    estimate = estimate_memory(
        shape, recipe, processes=recipe.distribution.processes, device="cuda" if on_cuda else "cpu"
    )
    peak = peak_flops(torch.cuda.get_device_name(0)) if on_cuda else None
    tokenizer = load_tokenizer(recipe.model, located, chat=recipe.stage == "sft")
    rows = load_rows(shards_of(prepared_folder(recipe), prepared, TRAIN))
    # Before the steps: a recipe that is refused shall not cost any.
    base = read_ancestor(weights_folder(located))
    decontamination = describe_decontamination(recipe, prepared, base)
    measured = _dry_run(recipe, workers, steps) if dry_run else None
    return Plan(
        recipe=recipe.name,
        recipe_sha256=recipe.sha256,
        packing=recipe.packing,
        max_length=recipe.train.max_length,
        data={split: _without_shards(said) for split, said in prepared["splits"].items()},
        decontamination=decontamination,
        split=describe_split(recipe, prepared),
        stop_tokens=find_stop_tokens(recipe, tokenizer, rows),
        steps=steps,
        epochs=share,
        tokens_per_step=train["tokens"] / train["rows"] * per_step,
        parameters=shape.parameters,
        trainable=trainable,
        flops=flops,
        flops_convention=CONVENTION,
        hardware=describe_hardware(),
        memory_estimate={
            name: getattr(estimate, name)
            for name in ("parameters", "adapter", "gradients", "optimizer", "activations", "work",
                         "runtime", "total")
        },
        hours_estimate=flops / (peak * ASSUMED_MFU * recipe.distribution.processes) / 3600
        if peak
        else None,
        disk_bytes=_disk(recipe, prepared, trainable),
        measured=measured,
        examples=tuple(show_documents(prepared_folder(recipe), tokenizer, rows)),
    )  # fmt: skip


def to_json(plan: Plan) -> str:
    """Return the plan as JSON."""
    import dataclasses

    return json.dumps(dataclasses.asdict(plan), indent=1, sort_keys=True)


def to_text(plan: Plan) -> str:
    """Return the plan for the terminal."""
    train = plan.data[TRAIN]
    counts = train["counts"]
    fill = train["tokens"] / train["rows"] / plan.max_length
    respelled = f"; {counts['respelled']:,} texts respelled" * bool(counts["respelled"])
    disk = ", ".join(f"{name} {_size(size)}" for name, size in plan.disk_bytes.items())
    lines = [
        f"recipe      {plan.recipe}, sha256 {plan.recipe_sha256[:12]}",
        f"model       {plan.parameters / 1e6:.1f} M parameters, "
        f"{plan.trainable / 1e6:.2f} M trained",
        f"rows        {counts['kept']:,} of {counts['read']:,}; {counts['overlong']:,} longer than "
        f"{plan.max_length:,} tokens: {counts['dropped']:,} dropped, {counts['cropped']:,} cropped "
        f"by {counts['residues_cut']:,} residues{respelled}",
        f"packing     {plan.packing}: {train['rows']:,} rows, {fill:.1%} full",
        f"tokens      {train['tokens']:,} an epoch, {train['labels']:,} with loss "
        f"({train['labels'] / train['tokens']:.1%})",
        f"stop token  {_stop(plan)}",
        f"validation  {_validation(plan)}",
        f"benchmark   {_questions(plan)}",
        f"steps       {plan.steps:,} of {plan.tokens_per_step:,.0f} tokens, "
        f"{plan.epochs:.2f} epochs",
        f"compute     {plan.flops:.2e} FLOPs",
        f"memory      {_size(plan.memory_estimate['total'])} a device, an estimate: "
        + ", ".join(
            f"{name} {_size(size)}"
            for name, size in plan.memory_estimate.items()
            if name != "total" and size
        ),
        f"disk        {disk}",
        f"time        {_time(plan)}",
    ]
    if plan.measured:
        lines.append(
            f"measured    {plan.measured['seconds_per_step']:.2f} s a step, peak memory "
            f"{_size(plan.measured['peak_bytes'])} (two steps)"
        )
    for example in plan.examples:
        lines += ["", f"row {example['id']}"]
        lines += [f"  {name}  {example[name]}" for name in ("context", "learned") if example[name]]
    return "\n".join(lines)


def _stop(plan: Plan) -> str:
    if plan.stop_tokens:
        return f"{', '.join(plan.stop_tokens)} is learned at the end"
    return (
        "NONE is learned: the model will not know when an answer ends. Name a chat template in "
        "model.chat_template whose end of turn is a special token of the tokenizer."
    )


def _validation(plan: Plan) -> str:
    rows = f"{plan.data[VALIDATION]['counts']['kept']:,} rows"
    return {
        "split": f"{rows}, held out by {plan.split['by']}",
        "train": f"{rows} set aside from the training rows: no test of new proteins",
        "none": "none",
    }[plan.split["from"]]


def _questions(plan: Plan) -> str:
    if all(source["decontaminated"] for source in plan.decontamination["sources"]):
        return "its questions were removed from every source"
    return "NOT checked for its questions: decontamination is waived"


def _time(plan: Plan) -> str:
    if plan.measured:
        return f"{plan.measured['hours']:.2f} hours at the measured speed, without evaluation"
    if plan.hours_estimate:
        return f"{plan.hours_estimate:.1f} hours (estimate: {ASSUMED_MFU:.0%} of the peak)"
    return "unknown on this device; --dry-run measures two steps"


def _size(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def _without_shards(split: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in split.items() if name != "shards"}


def _disk(recipe: Recipe, prepared: Mapping[str, Any], trainable: int) -> dict[str, int]:
    """Return bytes of shards, checkpoints (float32 weights, two moments) and the model."""
    tokens = sum(split["tokens"] for split in prepared["splits"].values())
    kept = recipe.run.keep + (1 if recipe.run.early_stopping_patience else 0)
    return {"shards": BYTES * tokens, "checkpoints": 12 * trainable * kept, "model": 4 * trainable}


def _dry_run(recipe: Recipe, workers: int, steps: int) -> dict[str, float]:
    """Train two steps in a folder of their own; the second one's time counts."""
    with tempfile.TemporaryDirectory(prefix="proteinlm-dry-run-") as folder:
        short = recipe.model_copy(
            update={
                "train": recipe.train.model_copy(update={"max_steps": 2, "epochs": None}),
                "run": recipe.run.model_copy(
                    update={"output_dir": folder, "eval_steps": None, "save_steps": 10,
                            "early_stopping_patience": None, "report_to": (), "log_steps": 1}
                ),
            }
        )  # fmt: skip
        session = open_session(short, None, workers, shards=prepared_folder(recipe))
        clock = _Clock()
        session.trainer.remove_callback(ProgressCallback)  # prints on stdout, where --json is
        session.trainer.add_callback(clock)
        session.trainer.train()
    seconds = clock.ends[1] - clock.ends[0]
    return {
        "seconds_per_step": seconds,
        "hours": seconds * steps / 3600,
        "peak_bytes": float(peak_memory_bytes()),
    }


class _Clock(TrainerCallback):
    """When each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())
