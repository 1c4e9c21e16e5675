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
from proteinlm_train.recipe import Lora

pytestmark = pytest.mark.usefixtures("one_thread")


def llama(**changes: Any) -> Any:
    return AutoConfig.for_model("llama", **(ARCHITECTURES["llama"] | changes))


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
    said = describe_hardware()
    assert set(said) == {
        "device", "devices", "device_memory_bytes", "peak_bf16_flops", "cpu", "cpu_count",
        "memory_bytes",
    }  # fmt: skip
    assert said["memory_bytes"] > 2**30
    assert said["cpu_count"] >= 1
    assert said["cpu"]
    assert len(said["devices"]) == len(said["device_memory_bytes"]) == torch.cuda.device_count()
    assert (said["device"] == "cpu") == (not torch.cuda.is_available())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
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
    shape = model_shape(
        llama(
            vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
            num_attention_heads=32, num_key_value_heads=8, tie_word_embeddings=False,
        )
    )  # fmt: skip
    assert peak_memory_bytes() - before < 2**30
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
