"""A run that is killed, stopped or refused: what it goes on to, and what it says."""

import json
import random
import re
import shutil
import signal
from pathlib import Path

import pytest
from trained import (
    read_run,
    run_child,
    save_conversations,
    save_recipe,
    save_texts,
    spoil_loss,
)

from proteinlm_ext.cli import main

KINDS = {
    "full": ("train.packing=none", "train.max_length=256"),
    "lora with dropout": (
        "stage=sft", "method=lora", "train.lr=1e-2", "lora={r: 4, dropout: 0.3}",
        "data.sources=[{path: FOLDER/rows.jsonl}]", "train.max_length=256",
    ),
    "packed": ("train.packing=bfd_split", "train.max_length=300"),
    "streaming": (
        "data.sources=[{path: FOLDER/texts.jsonl}, {path: FOLDER/more.jsonl}]",
        "data.streaming=true", "method=lora", "train.lr=1e-2",
    ),
}  # fmt: skip


def recipe_of(folder: Path, kind: str, *changes: str) -> Path:
    """Write the recipe of a kind of run, and its data."""
    folder.mkdir()
    save_conversations(folder / "rows.jsonl")
    save_texts(folder / "more.jsonl")
    return save_recipe(folder, *(c.replace("FOLDER", str(folder)) for c in KINDS[kind]), *changes)


def record_of(recipe: Path) -> dict:
    return json.loads((recipe.parent / "run" / "training_run.json").read_text())


def train(recipe: Path, *arguments: str) -> int:
    """Run the command in this process."""
    return main(["train", "run", str(recipe), "--workers", "1", *arguments])


@pytest.fixture(scope="module")
def whole_runs(tmp_path_factory):
    """Return a function that gives the uninterrupted run of a kind, trained once."""
    known: dict[str, dict] = {}

    def run(kind: str) -> dict:
        if kind not in known:
            recipe = recipe_of(tmp_path_factory.mktemp("whole") / "w", kind)
            status, output = run_child(recipe)
            assert status == 0, output
            known[kind] = read_run(recipe.parent / "run")
        return known[kind]

    return run


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory) -> Path:
    """Return the recipe of a run that was stopped half way."""
    recipe = recipe_of(tmp_path_factory.mktemp("stopped") / "s", "lora with dropout")
    status, output = run_child(recipe, dies_at=22, by=signal.SIGTERM)
    assert status == 130, output
    assert record_of(recipe)["steps"] == {"done": 5, "planned": 8}
    return recipe


@pytest.fixture
def stopped(interrupted, tmp_path) -> Path:
    """Return the same recipe, with everything as it was when the run was stopped."""
    folder, copy = interrupted.parent, tmp_path / "copy"
    shutil.copytree(folder, copy)
    yield interrupted
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_ends_with_the_bytes_of_one_that_was_not(kind, whole_runs, tmp_path):
    recipe = recipe_of(tmp_path / "killed", kind)
    draw = random.Random(kind)
    kills = 0
    for moment in (draw.randrange(16, 26), draw.randrange(3, 12), None):
        status, output = run_child(recipe, dies_at=moment)
        if status == 0:
            break
        assert status == -signal.SIGKILL, output
        kills += 1

    assert kills == 2
    assert status == 0
    found, expected = read_run(recipe.parent / "run"), whole_runs(kind)
    assert found["log"] == expected["log"]
    assert found["tokens"] == expected["tokens"]
    assert found["weights"] == expected["weights"]
    sessions = record_of(recipe)["sessions"]
    assert len(sessions) == kills + 1
    assert sessions[-1]["to_step"] == 8
    assert any(session["resumed_from"] for session in sessions)


def test_runs_of_other_seeds_end_with_other_bytes(whole_runs, tmp_path):
    recipe = recipe_of(tmp_path / "other", "lora with dropout", "train.seed=7")
    run_child(recipe)

    assert read_run(recipe.parent / "run")["weights"] != whole_runs("lora with dropout")["weights"]


@pytest.mark.parametrize("damage", ["unmarked", "cut short"])
def test_a_checkpoint_that_was_not_finished_is_not_used(damage, stopped, whole_runs):
    latest = stopped.parent / "run" / "checkpoint-5"
    (latest / "whole.json").unlink()
    if damage == "cut short":
        weights = latest / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:100])

    assert run_child(stopped)[0] == 0
    assert record_of(stopped)["sessions"][-1]["resumed_from"] == "checkpoint-4"
    assert read_run(stopped.parent / "run") == whole_runs("lora with dropout")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends_with_130_and_the_same_command_goes_on(
    number, whole_runs, tmp_path
):
    recipe = recipe_of(tmp_path / "signalled", "packed")
    status, output = run_child(recipe, dies_at=14, by=number)

    assert status == 130
    assert f"the same command goes on from {recipe.parent / 'run'}" in output
    record = record_of(recipe)
    done = record["steps"]["done"]
    assert 0 < done < 8
    assert (record["status"], record["stopped_early"]) == ("stopped", False)
    assert (recipe.parent / "run" / f"checkpoint-{done}" / "whole.json").is_file()
    assert not (recipe.parent / "run" / "final").exists()

    assert run_child(recipe)[0] == 0
    assert record_of(recipe)["sessions"][-1]["resumed_from"] == f"checkpoint-{done}"
    assert read_run(recipe.parent / "run") == whole_runs("packed")


def edit_rows(recipe: Path) -> None:
    rows = recipe.parent / "rows.jsonl"
    rows.write_text(rows.read_text().replace("binds", "holds", 1))


def edit_template(recipe: Path) -> None:
    template = recipe.parent / "model" / "chat_template.jinja"
    template.write_text(template.read_text().replace("</s>", "</s> "))


def edit_weights(recipe: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = recipe.parent / "model" / "model.safetensors"
    save_file({name: 2 * w for name, w in load_file(file).items()}, file, {"format": "pt"})


CHANGES = {
    "recipe": (["--set", "train.grad_clip=0.5"], None, "the recipe (settings, not comments)"),
    "data": ([], edit_rows, "something else: the files of data.sources. Give"),
    "tokenizer": ([], edit_template, "something else: the tokenizer or chat template. Give"),
    "base": ([], edit_weights, "the base model's files: "),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_run_does_not_go_on_with_something_else(what, stopped, capsys, one_thread):
    arguments, edit, said = CHANGES[what]
    before = record_of(stopped)
    if edit:
        edit(stopped)

    assert train(stopped, *arguments) == 2
    message = capsys.readouterr().err
    assert said in message
    assert "--force-resume" in message
    assert record_of(stopped) == before

    assert train(stopped, *arguments, "--force-resume") == 0
    record = record_of(stopped)
    assert what in record["sessions"][-1]["forced"]
    assert (record["status"], record["sessions"][-1]["from_step"]) == ("finished", 5)


def test_a_run_does_not_go_on_with_other_code(stopped, monkeypatch, capsys, one_thread):
    code = record_of(stopped)["code"]
    monkeypatch.setattr("proteinlm_train.keeper.describe_code", lambda: code | {"sha256": "0" * 64})

    assert train(stopped) == 2
    found = capsys.readouterr().err
    assert re.search(r"the code of proteinlm_train: [0-9a-f]{12}, now 000000000000", found)


def test_a_rate_that_the_checkpoint_decides_cannot_be_forced(stopped, capsys, one_thread):
    assert train(stopped, "--set", "train.lr=2e-2", "--force-resume") == 2
    assert "train.lr cannot change in the middle of a run" in capsys.readouterr().err


def test_comments_and_order_in_the_recipe_do_not_count(stopped, one_thread):
    lines = stopped.read_text()
    stopped.write_text("# goes on\n" + lines)

    assert train(stopped) == 0
    assert record_of(stopped)["sessions"][-1]["forced"] == []


def test_a_finished_run_is_left_as_it_is(tmp_path, caplog, one_thread):
    recipe = recipe_of(tmp_path / "finished", "full", "train.max_steps=2")
    assert train(recipe) == 0
    files = [file for file in (tmp_path / "finished" / "run").rglob("*") if file.is_file()]
    before = {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in files}

    assert train(recipe) == 0
    assert "is finished; nothing is left to do" in caplog.text
    assert {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in files} == before


@pytest.mark.parametrize(
    ("validation", "place"),
    [("none", r"step 1, with the rows texts\.jsonl:\d+"), ("train", "the validation after step 0")],
)
def test_weights_that_are_no_numbers_are_told_at_once(
    validation, place, tmp_path, capsys, one_thread
):
    from safetensors.torch import load_file, save_file

    recipe = recipe_of(tmp_path / "nan", "full", f"data.validation={{from: {validation}, rows: 4}}")
    file = tmp_path / "nan" / "model" / "model.safetensors"
    weights = load_file(file)
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, file, {"format": "pt"})

    assert train(recipe) == 1
    assert re.search(rf"The loss is nan in {place}\. ", capsys.readouterr().err)
    assert record_of(recipe)["status"] == "failed"


@pytest.mark.parametrize("loss", [0.0, float("inf")])
def test_a_bad_loss_names_the_step_and_the_row(loss, tmp_path, monkeypatch, capsys, one_thread):
    from trl import SFTTrainer

    recipe = recipe_of(tmp_path / "bad", "full", "train.max_steps=24")
    monkeypatch.setattr(SFTTrainer, "compute_loss", SFTTrainer.compute_loss)  # put back afterwards
    spoil_loss("isolated from a culture at 31", loss)

    assert train(recipe) == 1
    found = re.search(
        rf"The loss is {loss} in step (\d+), with the rows (.*?)\. Look", capsys.readouterr().err
    )
    assert found[2] == "texts.jsonl:11"
    log = (recipe.parent / "run" / "log.jsonl").read_text().splitlines()
    assert int(found[1]) == json.loads(log[-1])["step"] + 1
    assert record_of(recipe)["status"] == "failed"


def test_a_run_that_gets_worse_stops_early_and_keeps_the_best_model(tmp_path, one_thread):
    recipe = recipe_of(
        tmp_path / "early", "lora with dropout", "train.lr=0.2", "run.eval_steps=2",
        "train.max_steps=24", "run.early_stopping_patience=1", "train.schedule=constant",
    )  # fmt: skip

    assert train(recipe) == 0
    run = recipe.parent / "run"
    record = record_of(recipe)
    best = record["losses"]["validation"]["best"]
    evaluated = {step: line["eval_loss"] for step, line in read_run(run)["log"].items()}
    trained = {step: loss for step, loss in evaluated.items() if loss is not None and step > 0}
    assert record["stopped_early"]
    assert record["status"] == "finished"
    assert record["steps"]["done"] < 24
    kept = min(trained, key=trained.get)
    assert kept < max(trained)
    final, checkpoint = run / "final", run / f"checkpoint-{kept}"
    name = "adapter_model.safetensors"
    assert (final / name).read_bytes() == (checkpoint / name).read_bytes()
    assert best["loss"] <= trained[kept]
