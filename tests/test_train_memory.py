"""The memory estimate is what the parts need: counted, or worked out by hand."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import ARCHITECTURES
from transformers import AutoConfig, AutoModelForCausalLM

from proteinlm_train.flops import model_shape
from proteinlm_train.memory import MARGIN, Device, MemoryEstimate, estimate_memory
from proteinlm_train.recipe import Recipe
from proteinlm_train.recipe_file import check_recipe

pytestmark = pytest.mark.usefixtures("one_thread")

GIB = 2**30
LENGTH = 64


def llama(**changes: Any) -> Any:
    return AutoConfig.for_model("llama", **(ARCHITECTURES["llama"] | changes))


# Llama 3 8B
LARGE = model_shape(
    llama(
        vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
        num_attention_heads=32, num_key_value_heads=8, tie_word_embeddings=False,
    )
)  # fmt: skip


def recipe(
    method: str = "lora", strategy: str = "none", processes: int = 1, **others: Any
) -> Recipe:
    train = {"lr": 1e-5, "max_steps": 2, "max_length": 8192} | others.pop("train", {})
    adapter = {"r": 16, "alpha": 32} | others.pop("lora", {})
    lora = {"lora": adapter} if method == "lora" else {}
    settings = {
        "name": "costs", "stage": "sft", "method": method, "model": {"path": "model", **others},
        "data": {"sources": [{"path": "rows"}]}, "run": {"output_dir": "run"}, "train": train,
        "distribution": {"strategy": strategy, "processes": processes},
    }  # fmt: skip
    return check_recipe(settings | lora, "costs")


@pytest.mark.parametrize(
    ("asked", "gib"),
    [
        (recipe(), 21),
        (recipe("full"), 136),
        (recipe("full", "fsdp2", 8), 22),
    ],
    ids=["lora", "full", "fsdp2"],
)
def test_the_estimate_agrees_with_figures_worked_out_by_hand(asked: Recipe, gib: float) -> None:
    """Llama 3 8B, 8,192 tokens: weights, gradients, moments, activations, times the margin."""
    found = estimate_memory(LARGE, asked, processes=asked.distribution.processes)
    assert found.allocated / GIB == pytest.approx(gib, rel=0.15)
    assert found.total > found.allocated


# With equal numbers of heads: the estimate counts keys repeated for the heads of packed rows.
WIDE = {"hidden_size": 256, "intermediate_size": 512, "num_key_value_heads": 4}


def saved_bytes(layers: int, method: str, precision: str, dropout: float) -> int:
    """Return what autograd keeps of a forward pass through the layers, but for the weights."""
    config = llama(num_hidden_layers=layers, **WIDE)
    half = precision == "bf16"
    model: Any = AutoModelForCausalLM.from_config(config)
    if method == "lora":
        model = get_peft_model(
            model.to(torch.bfloat16) if half else model,
            LoraConfig(
                r=2, target_modules="all-linear", lora_dropout=dropout, task_type="CAUSAL_LM"
            ),
        )
    model.train()
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    body = model.get_base_model().model if method == "lora" else model.model
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=half),
    ):
        result = body(input_ids=torch.zeros(1, LENGTH, dtype=torch.long), use_cache=False)
    assert result.last_hidden_state.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("method", "dropout"), [("full", 0.0), ("lora", 0.0), ("lora", 0.05)])
def test_activations_are_those_that_autograd_keeps(
    method: str, dropout: float, precision: str
) -> None:
    measured = saved_bytes(3, method, precision, dropout) - saved_bytes(
        1, method, precision, dropout
    )
    asked = recipe(
        method, train={"max_length": LENGTH, "precision": precision,
                       "gradient_checkpointing": False},
        lora={"r": 2, "dropout": dropout},
        **({"dtype": "bfloat16"} if method == "lora" and precision == "bf16" else {}),
    )  # fmt: skip
    three, one = (
        estimate_memory(
            model_shape(llama(num_hidden_layers=n, **WIDE)), asked, processes=1, device="cpu"
        ).activations
        for n in (3, 1)
    )  # fmt: skip
    assert three - one == pytest.approx(measured, rel=0.03)


def estimated(asked: Recipe, processes: int = 1, device: Device = "cuda") -> MemoryEstimate:
    return estimate_memory(LARGE, asked, processes=processes, device=device)


def test_each_setting_moves_the_part_it_should() -> None:
    lora, full = estimated(recipe()), estimated(recipe("full"))
    assert full.parameters == 2 * lora.parameters  # float32 for bfloat16
    assert estimated(recipe(), device="cpu").parameters == full.parameters
    assert estimated(recipe(train={"precision": "fp32"})).parameters == full.parameters
    assert full.adapter == 0 < lora.adapter == lora.gradients == lora.optimizer // 2
    assert full.gradients == full.parameters == full.optimizer // 2
    eight_bits = estimated(recipe("full", train={"optimizer": "adamw_8bit"}))
    assert eight_bits.optimizer == full.optimizer // 4
    kept = estimated(recipe(train={"gradient_checkpointing": False}))
    assert kept.activations > 10 * lora.activations
    assert kept.work < lora.work
    longer = estimated(recipe(train={"max_length": 16384}))
    assert longer.activations > 1.9 * lora.activations
    assert estimated(recipe("lora", "ddp", 2), 2).gradients == 2 * lora.gradients
    sharded = estimated(recipe("full", "fsdp2", 8), 8)
    assert sharded.optimizer == full.optimizer // 8
    assert sharded.parameters > full.parameters // 8  # the gathered head


def test_gradients_add_to_activations_only_when_they_are_accumulated() -> None:
    for accumulated in (1, 2):
        found = estimated(recipe("full", train={"grad_accum": accumulated, "max_length": 512}))
        both = found.gradients + (found.activations if accumulated > 1 else 0)
        assert found.gradients > found.activations > 0
        rest = found.parameters + found.adapter + found.optimizer + found.work
        assert found.total - found.runtime == round(MARGIN * (rest + both))
