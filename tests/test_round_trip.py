"""A model that was trained and published is loaded by others from the Hub, and scores the same."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hub.clients import run_client
from hub.server import Hub
from serve_hub import read_files
from tiny_models import save_model, save_tokenizer
from trained import TEMPLATE, save_conversations, save_recipe

from proteinlm_ext.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

TASK = "proteinlmbench_sample"
REPOS = {"adapter": "acme/tiny-protein-adapter", "merged": "acme/tiny-protein"}


class Published(NamedTuple):
    """A Hub with base, adapter and merged model, and the folders that they came from."""

    hub: Hub
    folder: Path


def call(*arguments: Any) -> None:
    assert main([str(argument) for argument in arguments]) == 0


def evaluate(folder: Path, name: str, **model: Any) -> list[str]:
    """Return a command that evaluates a model; it saves the answers in `folder/name`."""
    given = ",".join(f"{key}={value}" for key, value in {**model, "dtype": "float32"}.items())
    return [
        "eval", "--model", "hf", "--model_args", given, "--tasks", TASK, "--device", "cpu",
        "--output_path", str(folder / name),
    ]  # fmt: skip


def answers(folder: Path, name: str) -> list[Any]:
    """Return the log-likelihoods of a saved evaluation, question by question."""
    (path,) = (folder / name).rglob("samples_*.jsonl")
    samples = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [sample["resps"] for sample in sorted(samples, key=lambda it: it["doc_id"])]


def scores(folder: Path, name: str) -> dict[str, Any]:
    (path,) = (folder / name).rglob("results_*.json")
    return json.loads(path.read_text(encoding="utf-8"))["results"][TASK]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Train an adapter, export, evaluate, write the cards and push, each by its command."""
    folder = tmp_path_factory.mktemp("loop")
    save_model(folder / "model", "llama", max_position_embeddings=4096)
    save_tokenizer(folder / "model", chat_template=TEMPLATE)
    rows = save_conversations(folder / "rows.jsonl")
    recipe = save_recipe(
        folder, "stage=sft", "method=lora", "lora={r: 4, alpha: 64}", "model.license=apache-2.0",
        f"data.sources=[{{path: {rows}}}]", "train.lr=0.03",
    )  # fmt: skip
    call("train", "run", recipe)
    call("train", "export", recipe, "--out", folder / "adapter", "--base", "acme/base")
    merged = folder / "merged"
    call("train", "export", recipe, "--out", merged, "--merge", "--dtype", "float32")
    call(*evaluate(folder, "base", pretrained=folder / "model"))
    call(*evaluate(folder, "tuned", pretrained=merged))
    with Hub() as hub:
        hub.add("model", "acme/base", read_files(folder / "model"))
        for name, repo in REPOS.items():
            call(
                "card", "model", folder / name, "--run", folder / "run", "--base", "acme/base",
                "--repo", repo, "--data_license", "CC0-1.0",
                "--results", f"base={folder / 'base'}", f"tuned={folder / 'tuned'}",
            )  # fmt: skip
            command = ["-m", "proteinlm_ext", "push", "model", str(folder / name), repo]
            run_client(hub, *command, "--yes", "--public", user="alice")
        yield Published(hub, folder)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("merged", {"pretrained": REPOS["merged"]}),
        ("adapter", {"pretrained": "acme/base", "peft": REPOS["adapter"]}),
    ],
)
def test_the_published_model_scores_as_the_one_at_hand(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, model: Any
) -> None:
    here = {"pretrained": published.folder / name}
    if name == "adapter":
        here = {"pretrained": published.folder / "model", "peft": published.folder / "adapter"}
    call(*evaluate(tmp_path, "here", **here))
    run_client(published.hub, "-m", "proteinlm_ext", *evaluate(tmp_path, "there", **model))
    assert answers(tmp_path, "here") == answers(tmp_path, "there")
    assert len(answers(tmp_path, "there")) == 60
    assert scores(tmp_path, "here") == scores(tmp_path, "there")
    assert answers(tmp_path, "there") != answers(published.folder, "base")


@pytest.mark.parametrize("name", ["adapter", "merged"])
def test_the_snippet_of_the_card_runs(published: Published, name: str) -> None:
    readme = published.hub.repo("model", REPOS[name]).files()["README.md"].decode()
    (snippet,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert REPOS[name] in snippet
    assert run_client(published.hub, "-c", snippet)


@pytest.mark.parametrize("name", ["adapter", "merged"])
def test_the_card_has_the_numbers_of_the_results(published: Published, name: str) -> None:
    readme = published.hub.repo("model", REPOS[name]).files()["README.md"].decode()
    table = re.findall(
        rf"^\| {TASK} v1\.0 +\| acc +\| (\w+) +\| 60 \| +([\d.]+) \|", readme, re.MULTILINE
    )
    found = {
        run: f"{100 * scores(published.folder, run)['acc,none']:.1f}" for run in ("base", "tuned")
    }
    assert dict(table) == found


def test_what_was_published_is_pulled_and_pushed_again_without_a_change(
    published: Published, tmp_path: Path
) -> None:
    out, repo = tmp_path / "pulled", REPOS["adapter"]
    ours = ["-m", "proteinlm_ext"]
    run_client(published.hub, *ours, "pull", "model", repo, "--out", str(out), user="alice")
    assert main(["card", "check", str(out)]) == 0
    before = len(published.hub.repo("model", repo).commits())
    said = run_client(published.hub, *ours, "push", "model", str(out), repo, "--yes", user="alice")
    assert "no commit: it was there already" in said
    assert len(published.hub.repo("model", repo).commits()) == before
