"""The record says what was done, in names and hashes, and nothing of the machine."""

import getpass
import hashlib
import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from trained import save_chat_model, shipped_recipe

from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_ext.paths import recipes_dir
from proteinlm_train.keeper import WEIGHTS
from proteinlm_train.record import (
    NAME,
    describe_code,
    describe_recipe,
    hash_files,
    public_name,
    read_record,
    summarise_losses,
    write_record,
)
from proteinlm_train.run import export_run, train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a short run whose every input lies under a folder of the test."""
    folder = tmp_path_factory.mktemp("private-folder")
    save_chat_model(folder / "base")
    shutil.copy(recipes_dir("train") / "smoke_rows.jsonl", folder)
    rows = f"data.sources=[{{path: {folder}/smoke_rows.jsonl}}]"
    recipe = shipped_recipe("smollm2-135m-smoke", folder, rows)
    (folder / "run").mkdir(exist_ok=True)
    Path(recipe.run.output_dir).mkdir(parents=True, exist_ok=True)
    (Path(recipe.run.output_dir) / "README.md").write_text("Our card.\n")
    return train(recipe, changes=[f"model.path={folder}/base", rows])


@pytest.fixture(scope="module")
def record(run: Path) -> dict[str, Any]:
    found = read_record(run)
    assert found is not None
    return found


def test_a_finished_run_has_everything_that_a_card_needs(record: dict[str, Any]) -> None:
    assert record["status"] == "finished"
    assert record["steps"] == {"done": 2, "planned": 2}
    assert record["tokens"]["non_padding"] > record["tokens"]["label"] > 0
    assert record["base_model"]["parameters"] > record["base_model"]["trainable"] > 0
    assert set(record["base_model"]["files"]) == {"config.json", "model.safetensors"}
    assert record["data"]["sources"][0]["path"] == "smoke_rows.jsonl"
    assert record["data"]["sources"][0]["files"][0]["name"] == "smoke_rows.jsonl"
    assert record["decontamination"]["policy"] == "waived"
    assert record["losses"]["train"]["last"]["step"] == 2
    assert [session["to_step"] for session in record["sessions"]] == [2]
    assert record["sessions"][0]["throughput"]["convention"]
    assert record["sessions"][0]["energy_joules"] is None or record["hardware"]["devices"]


def test_no_folder_host_or_user_is_in_what_a_run_publishes(run: Path) -> None:
    private = {"private-folder", str(run.parent), socket.gethostname(), "training_args"}
    files = [run / NAME, *(path for path in (run / "final").rglob("*") if path.is_file())]
    assert len(files) > 3
    for file in files:
        content = file.read_bytes().decode("utf-8", errors="ignore")
        assert [word for word in private if word in content] == [], file.name
    said = json.dumps(read_record(run))
    assert f"/{getpass.getuser()}/" not in said


def test_every_artefact_is_there_with_its_hash(run: Path, record: dict[str, Any]) -> None:
    names = {path.relative_to(run).as_posix() for path in (run / "final").rglob("*")}
    assert names <= set(record["artefacts"])
    assert {"log.jsonl", "loss.svg", "recipe.yaml", "README.md"} <= set(record["artefacts"])
    for name, said in record["artefacts"].items():
        assert (run / name).stat().st_size == said["bytes"]


def test_an_export_is_noted_in_the_record_of_its_run(run: Path, tmp_path: Path) -> None:
    rows = f"data.sources=[{{path: {run.parent}/smoke_rows.jsonl}}]"
    recipe = shipped_recipe("smollm2-135m-smoke", run.parent, rows)

    files = export_run(recipe, tmp_path / "merged", merge=True, dtype="bfloat16")

    found = read_record(run)
    assert found is not None
    said = found["exports"]["merged"]
    assert (said["merge"], said["dtype"]) == (True, "bfloat16")
    assert {tmp_path / "merged" / name for name in said["files"]} == set(files)
    weights = (tmp_path / "merged" / "model.safetensors").read_bytes()
    assert said["files"]["model.safetensors"]["sha256"] == hashlib.sha256(weights).hexdigest()


def test_an_adapter_names_its_base_as_it_is_published(run: Path, tmp_path: Path) -> None:
    rows = f"data.sources=[{{path: {run.parent}/smoke_rows.jsonl}}]"
    recipe = shipped_recipe("smollm2-135m-smoke", run.parent, rows)
    for name in ("base", "a/b/c", "/a/b"):
        with pytest.raises(UsageError, match=rf"--base is '{name}', which is no OWNER/NAME"):
            export_run(recipe, tmp_path / "none", merge=False, dtype="float32", base_name=name)
    out = tmp_path / "adapter"
    export_run(recipe, out, merge=False, dtype="float32", base_name="acme/base")
    said = json.loads((out / "adapter_config.json").read_text())
    assert said["base_model_name_or_path"] == "acme/base"
    assert not (tmp_path / "none").exists()


def test_a_readme_of_ours_survives_the_training(run: Path) -> None:
    assert (run / "README.md").read_text() == "Our card.\n"


def test_the_recipe_in_the_record_names_no_folder(tmp_path: Path) -> None:
    overrides = (
        f"trainer_overrides={{fsdp_config: {{file: {tmp_path}/fsdp.json}}, adam_beta2: 0.95}}"
    )
    recipe = shipped_recipe("smollm2-135m-smoke", tmp_path, overrides)
    said = describe_recipe(recipe, [overrides])
    assert str(tmp_path) not in json.dumps(said)
    assert said["settings"]["model"]["path"] == "model"
    assert said["settings"]["trainer_overrides"] == {
        "fsdp_config": {"file": "fsdp.json"},
        "adam_beta2": 0.95,
    }
    assert said["sha256"] == recipe.sha256


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("train.lr=1e-4", "train.lr=1e-4"),
        ("data.residues=joined", "data.residues=joined"),
        ("hub.repo_id=somebody/model", "hub.repo_id=somebody/model"),
        ("model.path=/home/me/base", 'model.path="base"'),
        (
            "data.sources=[{path: /home/me/a, configs: [function]}, {path: ~/b}]",
            'data.sources=[{"path": "a", "configs": ["function"]}, {"path": "b"}]',
        ),
    ],
)
def test_a_change_is_told_whole_and_without_folders(tmp_path: Path, change: str, said: str) -> None:
    recipe = shipped_recipe("smollm2-135m-smoke", tmp_path)
    assert describe_recipe(recipe, [change])["changes"] == [said]


def test_the_commit_is_that_of_a_checkout_and_not_of_a_repository_around(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        named = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
        return subprocess.run(
            ["git", "-C", tmp_path, *named, *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    (tmp_path / "__init__.py").write_text("")
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "something else")
    untracked = describe_code(tmp_path)
    assert (untracked["commit"], untracked["dirty"]) == (None, None)
    git("add", "__init__.py")
    git("commit", "--quiet", "--message", "ours")
    tracked = describe_code(tmp_path)
    assert (tracked["commit"], tracked["dirty"]) == (git("rev-parse", "HEAD"), False)
    (tmp_path / "__init__.py").write_text("# changed\n")
    changed = describe_code(tmp_path)
    assert changed["dirty"] is True
    assert changed["sha256"] != tracked["sha256"] == untracked["sha256"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("smollm2", "smollm2"),
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("/home/me/models/mine", "mine"),
        ("./data/proteinlm", "proteinlm"),
    ],
)
def test_models_and_datasets_go_by_their_names(path: str, name: str) -> None:
    assert public_name(path) == name


def test_losses_are_summed_up_with_their_steps() -> None:
    log = [
        {"step": 0, "eval_loss": 3.0},
        {"step": 1, "loss": 2.5},
        {"step": 2, "loss": 2.0, "eval_loss": 1.5},
        {"step": 3, "loss": 1.0, "eval_loss": 1.75},
    ]
    said = summarise_losses(log)
    assert said["train"]["first"] == {"step": 1, "loss": 2.5}
    assert said["train"]["mean_of_last_10_logged"] == pytest.approx(5.5 / 3)
    assert said["validation"] == {
        "before": {"step": 0, "loss": 3.0},
        "best": {"step": 2, "loss": 1.5},
        "last": {"step": 3, "loss": 1.75},
    }
    assert summarise_losses([])["validation"]["best"] is None


def test_a_record_of_another_version_is_refused(tmp_path: Path) -> None:
    write_record(tmp_path, {"schema_version": 99})
    with pytest.raises(ProteinLMError, match="schema_version"):
        read_record(tmp_path)
    (tmp_path / NAME).write_text("{")
    with pytest.raises(ProteinLMError, match="cannot be read"):
        read_record(tmp_path)
    assert read_record(tmp_path / "elsewhere") is None


def test_a_base_is_known_by_its_weights_of_either_format(tmp_path: Path) -> None:
    names = ("config.json", "model.safetensors", "pytorch_model-00001-of-00002.bin")
    for name in (*names, "training_args.bin", "tokenizer.json"):
        (tmp_path / name).write_bytes(name.encode())
    assert set(hash_files(tmp_path, WEIGHTS)) == set(names)
