"""Costs are counted as the convention says, and agree with what the libraries do."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import ARCHITECTURES
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

from proteinlm_ext.errors import UsageError
from proteinlm_train.devices import (
    describe_hardware,
    energy_joules,
    peak_flops,
    peak_memory_bytes,
)
from proteinlm_train.flops import lora_parameters, model_shape, training_flops
from proteinlm_train.memory import MARGIN, Device, MemoryEstimate, estimate_memory
from proteinlm_train.recipe import Lora, Recipe, check_recipe

pytestmark = pytest.mark.usefixtures("one_thread")

GIB = 2**30
LLAMA_8B = {
    "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "tie_word_embeddings": False,
}  # fmt: skip


def llama(**changes: Any) -> Any:
    return AutoConfig.for_model("llama", **(ARCHITECTURES["llama"] | changes))


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


# Devices.


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.5e12),
        ("NVIDIA H100 PCIe", 756.5e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", None),
        ("NVIDIA H100", None),  # other memory and clock than the data sheet's
        ("", None),
    ],
)
def test_the_peak_is_known_for_whole_devices_of_the_table(name: str, peak: float | None) -> None:
    assert peak_flops(name) == peak


def test_the_hardware_is_described_without_a_name_of_the_machine() -> None:
    import platform

    said = describe_hardware()
    assert said["memory_bytes"] > GIB
    assert said["cpu_count"] >= 1
    assert said["cpu"]
    assert len(said["devices"]) == len(said["device_memory_bytes"]) == torch.cuda.device_count()
    assert (said["device"] == "cpu") == (not torch.cuda.is_available())
    assert platform.node() not in str(said)


def test_peak_memory_is_in_bytes_and_never_falls() -> None:
    before = peak_memory_bytes()
    assert before > 100 * 2**20
    grown = torch.ones(2**26)  # 256 MiB
    after = peak_memory_bytes()
    del grown
    assert peak_memory_bytes() >= after >= before


def test_energy_is_the_sum_of_the_devices_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    counters = {"GPU-a": 5_000, "GPU-b": 7_000}  # millijoules

    class NVMLError(Exception):
        pass

    def consumption(uuid: str) -> int:
        if uuid not in counters:
            raise NVMLError
        return counters[uuid]

    nvml = SimpleNamespace(
        nvmlInit=lambda: None, nvmlDeviceGetHandleByUUID=lambda uuid: uuid, NVMLError=NVMLError,
        nvmlDeviceGetTotalEnergyConsumption=consumption,
    )  # fmt: skip
    names = ["a", "b", "c"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=names[index])
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert energy_joules() == 5
    assert energy_joules(2) == 12
    assert energy_joules(3) is None  # a device without the counter
    assert energy_joules(4) is None  # devices of another machine
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert energy_joules() is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_energy_is_not_guessed_without_a_gpu() -> None:
    assert energy_joules() is None


# Parameters and FLOPs.


def test_a_large_model_is_measured_without_its_memory() -> None:
    before = peak_memory_bytes()
    shape = model_shape(AutoConfig.for_model("llama", **LLAMA_8B))
    assert peak_memory_bytes() - before < GIB
    assert shape.parameters == 8_030_261_248
    assert shape.embedding == shape.head == 128256 * 4096
    assert not shape.tied
    assert (shape.layers, shape.hidden, shape.heads, shape.kv_heads, shape.head_dim) == (
        32, 4096, 32, 8, 128,
    )  # fmt: skip


def test_a_tied_head_counts_once() -> None:
    tied, untied = (model_shape(llama(tie_word_embeddings=tie)) for tie in (True, False))
    assert tied.tied
    assert untied.parameters - tied.parameters == untied.head == tied.head
    assert tied.body == untied.body


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gpt2", "gpt_neox", "phi", "olmo2"])
@pytest.mark.parametrize("names", [0, 2])
def test_an_adapter_has_as_many_parameters_as_in_peft(architecture: str, names: int) -> None:
    config = AutoConfig.for_model(architecture, **ARCHITECTURES[architecture])
    shape = model_shape(config)
    target = tuple(shape.widths)[:names] or "all-linear"
    model: Any = AutoModelForCausalLM.from_config(config)
    adapted = get_peft_model(
        model, LoraConfig(r=3, target_modules=target if names == 0 else list(target),
                          task_type="CAUSAL_LM"),
    )  # fmt: skip
    theirs = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert lora_parameters(shape, Lora(r=3, target=target)) == theirs > 0


def test_a_layer_that_the_model_has_not_is_named() -> None:
    with pytest.raises(UsageError, match=r"no linear layer c_attn; it has down_proj, "):
        lora_parameters(model_shape(llama()), Lora(target=("q_proj", "c_attn")))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("lora", [None, Lora(r=4, dropout=0)])
def test_flops_agree_with_those_torch_counts(lora: Lora | None, tied: bool) -> None:
    """Within 3%.

    Torch counts eager attention over the whole square, twice the causal half, and not the
    gradients of the first layer's input where nothing below is trained; we count norms' weights.
    """
    config = llama(
        tie_word_embeddings=tied, hidden_size=128, intermediate_size=352, num_hidden_layers=4,
        attn_implementation="eager",
    )  # fmt: skip
    shape, length, rows = model_shape(config), 64, 2
    model: Any = AutoModelForCausalLM.from_config(config)
    if lora:
        model = get_peft_model(
            model, LoraConfig(r=lora.r, target_modules="all-linear", task_type="CAUSAL_LM")
        )
    tokens = torch.randint(0, config.vocab_size, (rows, length))
    with FlopCounterMode(display=False) as counter:
        model(input_ids=tokens, labels=tokens).loss.backward()
    squared = rows * length**2
    ours = training_flops(
        shape, tokens=tokens.numel(), label_tokens=tokens.numel(), squared_lengths=squared,
        trainable=lora_parameters(shape, lora) if lora else shape.parameters, on_cuda=False,
    )  # fmt: skip
    other_half = 6 * shape.layers * shape.heads * shape.head_dim * squared
    assert ours + other_half == pytest.approx(counter.get_total_flops(), rel=0.03)


def test_the_head_costs_label_tokens_on_cuda_and_all_elsewhere() -> None:
    shape = model_shape(llama())

    def flops(label_tokens: int, *, on_cuda: bool, trainable: int) -> float:
        return training_flops(
            shape, tokens=1000, label_tokens=label_tokens, squared_lengths=0,
            trainable=trainable, on_cuda=on_cuda,
        )  # fmt: skip

    for trainable, passes in [(shape.parameters, 6), (10, 4)]:
        cpu, few, all_of_them = (
            flops(count, on_cuda=cuda, trainable=trainable)
            for count, cuda in [(100, False), (100, True), (1000, True)]
        )
        assert cpu == all_of_them
        assert cpu - few == passes * 900 * shape.head


def test_packed_documents_do_not_pay_for_each_other() -> None:
    shape = model_shape(llama())
    one, four = (
        training_flops(
            shape, tokens=400, label_tokens=400, squared_lengths=squares,
            trainable=shape.parameters, on_cuda=False,
        )
        for squares in (400**2, 4 * 100**2)
    )  # fmt: skip
    assert one - four == 6 * shape.layers * shape.heads * shape.head_dim * (400**2 - 4 * 100**2)


def test_experts_that_are_not_chosen_do_no_work() -> None:
    def mixture(chosen: int) -> Any:
        changes = ARCHITECTURES["mixtral"] | {"num_experts_per_tok": chosen}
        return model_shape(AutoConfig.for_model("mixtral", **changes))

    assert mixture(4).idle == 0
    assert mixture(2).parameters == mixture(4).parameters
    expert = 3 * 32 * 64  # gate, up, down
    assert mixture(2).idle == 2 * 2 * expert  # two layers, two of four experts


# Memory.


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
    shape = model_shape(AutoConfig.for_model("llama", **LLAMA_8B))
    found = estimate_memory(shape, asked, processes=asked.distribution.processes)
    assert found.allocated / GIB == pytest.approx(gib, rel=0.15)
    assert found.total > found.allocated


LENGTH = 64
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
    return estimate_memory(
        model_shape(AutoConfig.for_model("llama", **LLAMA_8B)), asked, processes=processes,
        device=device,
    )  # fmt: skip


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
    assert lora.total - lora.runtime == round(
        MARGIN * (lora.parameters + lora.adapter + lora.gradients + lora.optimizer
                  + lora.activations + lora.work)
    )  # fmt: skip
