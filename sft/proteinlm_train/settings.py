"""A recipe in TRL's and PEFT's words: SFTConfig, LoraConfig, dtype and attention."""

import importlib.util
import logging
from typing import Any

import torch
from peft import LoraConfig
from trl.trainer.sft_config import SFTConfig

from proteinlm_ext.errors import UsageError
from proteinlm_train.recipe import Recipe

logger = logging.getLogger("proteinlm_train")


def to_sft_config(recipe: Recipe, *, layer_classes: list[str], evaluates: bool, first: bool) -> Any:
    """Return TRL's configuration of a run on prepared rows.

    Args:
        recipe: The recipe; its trainer_overrides come last.
        layer_classes: Names of the model's decoder layers, which FSDP2 wraps one by one.
        evaluates: Whether there are validation rows.
        first: Whether the run begins, so that the loss before training is measured.

    Raises:
        UsageError: trainer_overrides name what the recipe decides, or TRL refuses them.
    """
    train, run = recipe.train, recipe.run
    evaluates = evaluates and run.eval_steps is not None
    settings: dict[str, Any] = {
        "output_dir": run.output_dir,
        "num_train_epochs": train.epochs or 1.0,
        "max_steps": train.max_steps or -1,
        "per_device_train_batch_size": train.micro_batch,
        "per_device_eval_batch_size": 1,
        "gradient_accumulation_steps": train.grad_accum,
        "learning_rate": train.lr,
        "lr_scheduler_type": train.schedule,
        "warmup_steps": train.warmup,
        "weight_decay": train.weight_decay,
        "max_grad_norm": train.grad_clip,
        "optim": train.optimizer,
        "bf16": train.precision == "bf16",
        "tf32": torch.cuda.is_available() or None,
        "activation_checkpointing": train.gradient_checkpointing,
        "torch_compile": train.compile,
        "seed": train.seed,
        "data_seed": train.seed,
        # Rows come tokenised and packed; TRL's collator keeps the documents of a row apart.
        "max_length": train.max_length,
        "packing": True,
        "packing_strategy": "bfd",
        "pad_to_multiple_of": None,
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "remove_unused_columns": False,
        "eval_strategy": "steps" if evaluates else "no",
        "eval_steps": run.eval_steps if evaluates else None,
        "eval_on_start": evaluates and first,
        "save_steps": run.save_steps,
        "save_total_limit": run.keep,
        "load_best_model_at_end": evaluates and run.early_stopping_patience is not None,
        "restore_callback_states_from_checkpoint": run.early_stopping_patience is not None,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
        "logging_steps": run.log_steps,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "report_to": list(run.report_to) or "none",
        "use_cpu": not torch.cuda.is_available(),
        "ddp_find_unused_parameters": False,
        # One process prepares while the others wait.
        "ddp_timeout": 24 * 3600,
        "hub_model_id": recipe.hub.repo_id if recipe.hub else None,
    }
    if recipe.distribution.strategy == "fsdp2":
        settings |= _fsdp(recipe, layer_classes)
    if known := sorted(set(settings) & set(recipe.trainer_overrides)):
        raise UsageError(
            f"trainer_overrides: {', '.join(known)} follows from the recipe's own keys."
        )
    try:
        return SFTConfig(**(settings | recipe.trainer_overrides))
    except (TypeError, ValueError) as error:
        raise UsageError(f"TRL does not take these settings: {error}") from error


def to_lora_config(recipe: Recipe) -> Any:
    """Return PEFT's configuration, or None in full training."""
    lora = recipe.adapter
    if lora is None:
        return None
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target if isinstance(lora.target, str) else list(lora.target),
        use_rslora=lora.rslora,
        task_type="CAUSAL_LM",
    )


def choose_dtype(recipe: Recipe) -> Any:
    """Return the dtype of loaded weights: `auto` is bfloat16 for LoRA on a GPU, else float32."""
    if recipe.model.dtype != "auto":
        return getattr(torch, recipe.model.dtype)
    half = recipe.method == "lora" and recipe.train.precision == "bf16"
    return torch.bfloat16 if half and torch.cuda.is_available() else torch.float32


def choose_attention(recipe: Recipe) -> str:
    """Return the attention: `auto` is FlashAttention on a GPU that has it installed, else sdpa."""
    if recipe.model.attention != "auto":
        return recipe.model.attention
    if torch.cuda.is_available() and importlib.util.find_spec("flash_attn"):
        return "flash_attention_2"
    if torch.cuda.is_available() and recipe.train.max_length > 8192:
        logger.warning(
            "flash_attn is not installed: sdpa builds a mask of max_length squared for packed rows."
        )
    return "sdpa"


def _fsdp(recipe: Recipe, layer_classes: list[str]) -> dict[str, Any]:
    return {
        "fsdp": True,
        "fsdp_config": {
            "version": 2,
            "transformer_layer_cls_to_wrap": layer_classes,
            "activation_checkpointing": recipe.train.gradient_checkpointing,
            "state_dict_type": "FULL_STATE_DICT",
        },
        "activation_checkpointing": False,  # FSDP does it; both would recompute twice
    }
