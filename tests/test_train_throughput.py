"""Speeds are measured over whole stretches of training, pauses and first steps left out."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_models import ARCHITECTURES, VOCABULARY, save_model, save_tokenizer
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainingArguments,
)

from proteinlm_train.devices import peak_flops
from proteinlm_train.flops import CONVENTION, TokenCounts, model_shape, training_flops
from proteinlm_train.memory import estimate_memory
from proteinlm_train.recipe import Recipe
from proteinlm_train.recipe_file import check_recipe
from proteinlm_train.throughput import SKIPPED_STEPS, ThroughputCallback

SHAPE = model_shape(AutoConfig.for_model("llama", **ARCHITECTURES["llama"]))
SPEEDS = ("tokens_per_second", "tokens_per_second_per_device", "label_tokens_per_second",
          "tflops_per_device", "mfu")  # fmt: skip


class Training:
    """Plays a trainer whose steps train on 100 tokens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, processes: int = 1) -> None:
        self.now, self.steps = 0.0, 0
        monkeypatch.setattr("proteinlm_train.throughput.time.perf_counter", lambda: self.now)
        self.callback = ThroughputCallback(shape=SHAPE, trainable=None, counts=self.counts)
        self.args = SimpleNamespace(world_size=processes)
        self.callback.on_train_begin(self.args, None, TrainerControl())

    def counts(self) -> TokenCounts:
        """Count as a trainer would."""
        return TokenCounts(100 * self.steps, 20 * self.steps, 1000 * self.steps)

    def step(self, seconds: float = 1.0, **pauses: bool) -> None:
        """Take a step, and ten seconds after it if there is a pause."""
        control = TrainerControl(**pauses)
        self.callback.on_step_begin(self.args, None, control)
        self.now += seconds
        self.steps += 1
        self.callback.on_step_end(self.args, None, control)
        if pauses:
            self.now += 10

    def log(self, **said: float) -> dict[str, Any]:
        """Return what is logged besides."""
        logs: dict[str, Any] = dict(said)
        self.callback.on_log(self.args, None, TrainerControl(), logs)
        return logs


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Training:
    return Training(monkeypatch)


def test_without_a_measured_step_every_speed_is_unknown(training: Training) -> None:
    for _ in range(SKIPPED_STEPS):
        training.step(should_log=True)
    said = training.callback.summary()
    assert [said[name] for name in SPEEDS] == [None] * len(SPEEDS)
    assert said["seconds"] == said["tokens"] == 0
    assert said["peak_memory_bytes"] > 0
    assert not set(SPEEDS) & set(training.log(loss=1.0))


def test_first_steps_and_pauses_are_left_out(training: Training) -> None:
    for _ in range(SKIPPED_STEPS):
        training.step(60.0, should_log=True)
    training.step()
    training.step(should_evaluate=True)
    training.step(should_save=True)
    training.step()
    training.step(should_training_stop=True)
    said = training.callback.summary()
    assert said["seconds"] == 5
    assert said["tokens"] == 500
    assert said["tokens_per_second"] == 100
    assert said["label_tokens_per_second"] == 20
    assert said["convention"] == CONVENTION


def test_flops_are_those_of_the_convention(training: Training) -> None:
    for _ in range(SKIPPED_STEPS):
        training.step()
    training.step(should_log=True)
    flops = training_flops(
        SHAPE, tokens=100, label_tokens=20, squared_lengths=1000, trainable=SHAPE.parameters,
        on_cuda=torch.cuda.is_available(),
    )  # fmt: skip
    said = training.callback.summary()
    assert said["tflops_per_device"] == pytest.approx(flops / 1e12)
    assert said["mfu"] is None or torch.cuda.is_available()


def test_a_log_tells_the_speed_since_the_last_one(training: Training) -> None:
    for _ in range(SKIPPED_STEPS):
        training.step()
    training.step(should_log=True)
    assert training.log(loss=1.0)["tokens_per_second"] == 100
    training.step(4.0, should_log=True)
    assert "tokens_per_second" not in training.log(eval_loss=1.0)
    assert training.log(loss=1.0)["tokens_per_second"] == 25
    assert training.callback.summary()["tokens_per_second"] == 40


def test_a_device_gets_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(monkeypatch, processes=4)
    for _ in range(SKIPPED_STEPS + 1):
        training.step(should_log=True)
    said = training.callback.summary()
    assert said["tokens_per_second"] == 4 * said["tokens_per_second_per_device"] == 100
    assert said["devices"] == 4


def test_the_share_of_the_peak_is_told_on_a_known_device(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "NVIDIA H100 80GB HBM3"
    for function, result in [("is_available", True), ("get_device_name", name),
                             ("synchronize", None), ("max_memory_reserved", 7)]:  # fmt: skip
        monkeypatch.setattr(torch.cuda, function, lambda result=result: result)
    training = Training(monkeypatch)
    for _ in range(SKIPPED_STEPS + 1):
        training.step(should_log=True)
    said = training.callback.summary()
    assert said["mfu"] == pytest.approx(said["tflops_per_device"] * 1e12 / 989.5e12)
    assert said["peak_memory_bytes"] == 7


@pytest.mark.usefixtures("one_thread")
def test_it_measures_what_a_real_trainer_trains_on(tmp_path: Path) -> None:
    class Logged(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            logged.append(dict(logs))

    logged: list[dict[str, Any]] = []
    model: Any = AutoModelForCausalLM.from_config(
        AutoConfig.for_model("llama", **ARCHITECTURES["llama"])
    )
    row = torch.arange(32) % VOCABULARY
    rows: Any = [{"input_ids": row, "labels": row}] * 40
    trainer = Trainer(
        model=model, train_dataset=rows, eval_dataset=rows,
        args=TrainingArguments(
            str(tmp_path), max_steps=8, per_device_train_batch_size=2, logging_steps=2,
            gradient_accumulation_steps=2, eval_strategy="steps", eval_steps=4, use_cpu=True,
            save_strategy="no", report_to="none", disable_tqdm=True,
        ),
    )  # fmt: skip
    speed = ThroughputCallback(
        shape=SHAPE, trainable=None,
        counts=lambda: TokenCounts(128 * trainer.state.global_step, 0, 0),
    )  # fmt: skip
    trainer.add_callback(speed)
    trainer.add_callback(Logged())
    trainer.train()
    said = speed.summary()
    assert said["tokens"] == 128 * (8 - SKIPPED_STEPS)
    assert 0 < said["seconds"] < trainer.state.log_history[-1]["train_runtime"]
    losses = [entry for entry in logged if "loss" in entry]
    assert ["tokens_per_second" in entry for entry in losses] == [False, True, True, True]
    assert all(entry["peak_memory_bytes"] > 0 for entry in losses)


# On a GPU. None of these has run where this project is tested: it has no GPU.


def wide_recipe(folder: Path, method: str, strategy: str) -> Recipe:
    """Return a run of eight steps of a random model of 0.4 billion parameters."""
    from trained import TEMPLATE

    model = save_model(
        folder / "model", "llama", hidden_size=2048, intermediate_size=5632, num_hidden_layers=8,
        num_attention_heads=16, num_key_value_heads=16, max_position_embeddings=2048,
        initializer_range=0.02,
    )  # fmt: skip
    save_tokenizer(model, chat_template=TEMPLATE)
    settings: dict[str, Any] = {
        "name": "wide", "stage": "sft", "method": method, "model": {"path": str(model)},
        "data": {"sources": [{"path": "smoke"}], "validation": {"from": "none"},
                 "decontamination": "waived"},
        "train": {"lr": 1e-5, "max_steps": 8, "max_length": 2048, "grad_accum": 2},
        "distribution": {"strategy": strategy},
        "run": {"output_dir": str(folder / "run"), "log_steps": 1},
    }  # fmt: skip
    return check_recipe(settings, "wide")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    ("method", "strategy"),
    [("lora", "none"), ("full", "none"), ("full", "fsdp2")],
)
def test_on_a_gpu_memory_is_as_estimated_and_the_speed_is_possible(
    tmp_path: Path, method: str, strategy: str
) -> None:
    from proteinlm_train.run import train

    recipe = wide_recipe(tmp_path, method, strategy)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    record = json.loads((train(recipe) / "training_run.json").read_text())
    config = AutoConfig.from_pretrained(recipe.model.path)
    estimate = estimate_memory(model_shape(config), recipe, processes=1)
    session = record["sessions"][-1]
    assert session["peak_memory_bytes"] == pytest.approx(estimate.allocated, rel=0.15)
    said = session["throughput"]
    assert said["tokens_per_second"] > 0
    if peak_flops(torch.cuda.get_device_name()):
        assert 0 < said["mfu"] < 1
    else:
        assert said["mfu"] is None
