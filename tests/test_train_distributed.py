"""Two processes on one machine: the losses of one, exact resuming, and launches that are wrong."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from trained import read_run, run_child, run_pair, save_recipe

from proteinlm_ext.cli import main

# 16 rows are four steps: no row is left over at the end of an epoch. The odd number of rows held
# out makes one process repeat one.
ROWS = ("train.packing=none", "train.max_length=256", "data.validation.rows=3")
STRATEGIES = {
    "ddp": ("distribution={strategy: ddp, processes: 2}", "train.grad_accum=2"),
    "fsdp2": ("distribution={strategy: fsdp2, processes: 2}", "train.grad_accum=2"),
}
WRAPPERS = {"ddp": "DistributedDataParallel", "fsdp2": "FSDPLlamaForCausalLM"}


def recipe_of(folder: Path, *changes: str) -> Path:
    """Write a recipe on 19 texts."""
    recipe = save_recipe(folder, *ROWS, *changes)
    texts = folder / "texts.jsonl"
    texts.write_text("".join(texts.read_text().splitlines(keepends=True)[:19]))
    return recipe


def record_of(recipe: Path) -> dict:
    return json.loads((recipe.parent / "run" / "training_run.json").read_text())


def losses_of(run: dict, name: str) -> list[float]:
    return [line[name] for line in run["log"].values() if line[name] is not None]


def close(found, expected):
    return found == pytest.approx(expected, rel=1e-6, abs=1e-6)


def same_weights(found: dict, expected: dict) -> bool:
    import torch
    from safetensors.torch import load

    pairs = [
        (load(found["weights"][name]), load(data)) for name, data in expected["weights"].items()
    ]
    return found["weights"].keys() == expected["weights"].keys() and all(
        one.keys() == other.keys()
        and all(torch.allclose(one[name], other[name], rtol=0, atol=1e-6) for name in one)
        for one, other in pairs
    )


@pytest.fixture(scope="module")
def one_process(tmp_path_factory) -> dict:
    recipe = recipe_of(tmp_path_factory.mktemp("one") / "r", "train.grad_accum=4")
    status, output = run_child(recipe)
    assert status == 0, output
    return read_run(recipe.parent / "run")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Return a function that gives recipe and run of two processes, trained once."""
    known: dict[str, tuple[Path, dict]] = {}

    def run(strategy: str) -> tuple[Path, dict]:
        if strategy not in known:
            folder = tmp_path_factory.mktemp(strategy) / "r"
            recipe = recipe_of(folder, *STRATEGIES[strategy])
            status, output = run_pair(recipe, shards_on_cpu=strategy == "fsdp2")
            assert status == 0, output
            known[strategy] = recipe, read_run(folder / "run")
        return known[strategy]

    return run


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_processes_have_the_losses_and_weights_of_one(strategy, pairs, one_process):
    recipe, run = pairs(strategy)

    assert len(losses_of(run, "loss")) == 8
    assert close(losses_of(run, "loss"), losses_of(one_process, "loss"))
    assert close(losses_of(run, "eval_loss"), losses_of(one_process, "eval_loss"))
    assert same_weights(run, one_process)
    assert run["tokens"] == one_process["tokens"]
    session = record_of(recipe)["sessions"][0]
    assert (session["processes"], session["wrapper"]) == (2, WRAPPERS[strategy])


def test_an_adapter_is_trained_and_gathered_under_fsdp2(tmp_path):
    lora = ("method=lora", "train.lr=1e-2", "train.max_steps=3", "lora={r: 4, dropout: 0}")
    one = recipe_of(tmp_path / "one", *lora, "train.grad_accum=4")
    two = recipe_of(tmp_path / "two", *lora, *STRATEGIES["fsdp2"])
    status, output = run_pair(two, shards_on_cpu=True)
    assert status == 0, output
    assert run_child(one)[0] == 0

    runs = [read_run(recipe.parent / "run") for recipe in (one, two)]
    assert close(losses_of(runs[1], "loss"), losses_of(runs[0], "loss"))
    assert same_weights(runs[1], runs[0])
    assert record_of(two)["sessions"][0]["wrapper"] == "FSDPPeftModelForCausalLM"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_killed_processes_end_with_the_bytes_of_two_that_were_not(strategy, pairs, tmp_path):
    recipe = recipe_of(tmp_path / "r", *STRATEGIES[strategy])
    options = {"shards_on_cpu": strategy == "fsdp2"}
    status, output = run_pair(recipe, dies_at=22, **options)
    assert status == -signal.SIGKILL, output

    assert run_pair(recipe, **options)[0] == 0
    assert record_of(recipe)["sessions"][-1]["resumed_from"]
    assert read_run(tmp_path / "r" / "run") == pairs(strategy)[1]


def test_a_signal_to_one_of_two_stops_both_at_the_same_step(pairs, tmp_path):
    recipe = recipe_of(tmp_path / "r", *STRATEGIES["ddp"])
    status, output = run_pair(recipe, dies_at=20, by=signal.SIGTERM)

    assert status == 130, output
    assert record_of(recipe)["status"] == "stopped"
    assert 0 < record_of(recipe)["steps"]["done"] < 8
    assert run_pair(recipe)[0] == 0
    assert read_run(tmp_path / "r" / "run") == pairs("ddp")[1]


def test_torchrun_starts_the_command(pairs, tmp_path):
    recipe = recipe_of(tmp_path / "r", *STRATEGIES["ddp"])
    command = ["-m", "proteinlm_ext", "train", "run", str(recipe), "--workers", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", *command],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("record: ") == 1
    assert read_run(tmp_path / "r" / "run") == pairs("ddp")[1]


def test_streamed_rows_are_shared_by_two_processes_as_stored_ones_are(tmp_path):
    options = ("train.packing=bfd_split", "train.max_length=512", "data.streaming=true",
               "train.max_steps=2", "data.validation={from: none}")  # fmt: skip
    one = save_recipe(tmp_path / "one", *options, "train.grad_accum=4")
    two = save_recipe(tmp_path / "two", *options, *STRATEGIES["ddp"])
    status, output = run_pair(two)
    assert status == 0, output
    assert run_child(one)[0] == 0

    runs = [read_run(recipe.parent / "run") for recipe in (one, two)]
    assert runs[0]["tokens"] == runs[1]["tokens"]
    assert close(losses_of(runs[1], "loss"), losses_of(runs[0], "loss"))


def test_a_bad_loss_on_one_of_two_processes_ends_both_with_a_message(tmp_path):
    recipe = recipe_of(tmp_path / "r", *STRATEGIES["ddp"])
    status, output = run_pair(recipe, bad_rows="isolated from a culture at 31")

    assert status == 1
    assert "proteinlm: The loss is nan in step " in output
    assert "with the rows texts.jsonl:11. " in output
    assert record_of(recipe)["status"] == "failed"


def test_a_recipe_for_fsdp2_does_not_train_as_ddp(tmp_path):
    recipe = recipe_of(tmp_path / "r", *STRATEGIES["fsdp2"])
    status, output = run_pair(recipe)

    assert status == 1
    assert "distribution.strategy is fsdp2 (FSDPModule), but the trainer runs ddp" in output
    assert not (tmp_path / "r" / "run" / "final").exists()


@pytest.mark.parametrize(("processes", "live"), [(1, 2), (2, 1), (2, 8)])
def test_another_number_of_processes_is_refused_before_anything_is_loaded(
    processes, live, tmp_path, monkeypatch, capsys
):
    strategy = "none" if processes == 1 else "ddp"
    recipe = save_recipe(
        tmp_path / "r", f"distribution={{strategy: {strategy}, processes: {processes}}}"
    )
    (tmp_path / "r" / "model" / "model.safetensors").unlink()
    monkeypatch.setenv("WORLD_SIZE", str(live))

    assert main(["train", "run", str(recipe)]) == 2
    message = capsys.readouterr().err
    assert f"distribution.processes is {processes}, and {live} process" in message
    assert f"torchrun --nproc_per_node {processes}" in message
    assert not (tmp_path / "r" / "run").exists()
