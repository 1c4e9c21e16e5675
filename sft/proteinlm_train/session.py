"""What a session of training works with: prepared data, model and trainer, made once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import set_seed

from proteinlm_ext.errors import UsageError
from proteinlm_train.base_model import (
    Located,
    load_config,
    load_model,
    load_tokenizer,
    locate,
    weights_folder,
)
from proteinlm_train.parity import require_parity
from proteinlm_train.parts import TRAIN, VALIDATION
from proteinlm_train.prepare import prepare, prepared_folder, shards_of
from proteinlm_train.recipe import Recipe
from proteinlm_train.settings import choose_attention, choose_dtype, to_lora_config, to_sft_config
from proteinlm_train.shards import load_rows
from proteinlm_train.trainer import ProteinTrainer, counts_of


@dataclass(slots=True)
class Session:
    """What a session works with, made once."""

    recipe: Recipe
    located: Located
    tokenizer: Any
    prepared: dict[str, Any]
    shards: Path
    trainer: Any
    checkpoint: Path | None
    parity: float | None
    weights: Path | None
    """Folder of the base model's files, None where the Hub's cache has none."""


def open_session(
    recipe: Recipe,
    checkpoint: Path | None,
    workers: int,
    *,
    shards: Path | None = None,
    replace: bool = False,
) -> Session:
    """Prepare the data, load the model and make the trainer.

    Args:
        recipe: The recipe.
        checkpoint: Where to go on, or None for a new run.
        workers: Processes of the preparation.
        shards: Folder of the prepared data, if it is not the recipe's.
        replace: Data that a run was trained on may be replaced by others.
    """
    located = locate(recipe.model)
    tokenizer = load_tokenizer(recipe.model, located, chat=recipe.stage == "sft")
    layer_classes = _layer_classes(recipe, located)
    evaluates = recipe.data.validation.kind != "none"
    arguments = to_sft_config(
        recipe, layer_classes=layer_classes, evaluates=evaluates, first=checkpoint is None
    )
    shards = shards or prepared_folder(recipe)
    with arguments.main_process_first(local=False, desc="preparing the data"):
        prepared = prepare(recipe, shards, workers, replace=replace)
    set_seed(recipe.train.seed)
    model = load_model(
        recipe.model, located, dtype=choose_dtype(recipe), attention=choose_attention(recipe)
    )
    files = shards_of(shards, prepared, TRAIN)
    rows = load_rows(files)
    documents = _short_documents(rows)
    if recipe.data.streaming:
        rows = load_rows(files, streaming=True, seed=recipe.data.seed)
    held_out = shards_of(shards, prepared, VALIDATION)
    if evaluates and not held_out:
        raise UsageError(
            "data.validation: no row is left, all were too long. Raise train.max_length, set "
            "data.overlong to crop_sequence, or data.validation.from to none."
        )
    trainer = ProteinTrainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        eval_dataset=load_rows(held_out) if evaluates else None,
        processing_class=tokenizer,
        peft_config=to_lora_config(recipe),
        counted=counts_of(checkpoint),
    )
    parity = None
    alone = recipe.packing == "none" and recipe.train.micro_batch == 1
    # Under FSDP the model is not yet on its devices; a plan's dry run on one of them checks it.
    if not alone and recipe.packing != "wrapped" and recipe.distribution.strategy != "fsdp2":
        with trainer.compute_loss_context_manager():
            parity = require_parity(trainer.model, documents, recipe.train.precision)
    return Session(
        recipe=recipe, located=located, tokenizer=tokenizer, prepared=prepared, shards=shards,
        trainer=trainer, checkpoint=checkpoint, parity=parity, weights=weights_folder(located),
    )  # fmt: skip


def _layer_classes(recipe: Recipe, located: Located) -> list[str]:
    """Return the names of the decoder layers of an architecture, from an empty model."""
    import torch
    from transformers import AutoModelForCausalLM

    if recipe.distribution.strategy != "fsdp2":
        return []
    maker: Any = AutoModelForCausalLM
    with torch.device("meta"):
        empty = maker.from_config(
            load_config(recipe.model, located), trust_remote_code=recipe.model.trust_remote_code
        )
    return sorted(empty._no_split_modules or [])


def _short_documents(rows: Any, limit: int = 256) -> list[list[int]]:
    """Return the beginnings of the first three documents."""
    found: list[list[int]] = []
    for number in range(min(3, len(rows))):
        row = rows[number]
        start = 0
        for length in row["seq_lengths"]:
            piece = row["input_ids"][start : start + min(length, limit)]
            start += length
            if length > 1:
                found.append(piece.tolist())
            if len(found) == 3:
                return found
    return found
