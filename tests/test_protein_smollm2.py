"""`runs/protein-smollm2.sh` at toy size: every hand-over file, the card's numbers, a second run."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import ROOT
from hub.server import Hub
from serve_hub import add_folders
from small_world import ENTRIES, QUESTIONS, save_world

SCRIPT = ROOT / "runs" / "protein-smollm2.sh"
STEPS = [
    "data", "check", "cpt", "sft", "export",
    "evaluate-base-letters", "evaluate-base-loss", "evaluate-base-written-2",
    "evaluate-tuned-letters", "evaluate-tuned-loss", "evaluate-tuned-written-2",
    "evaluate-longest-letters", "evaluate-lookup-written-2",
    "compare-md", "compare-written-md", "compare-html", "compare-written-html",
    "card", "push-data", "push-model", "evaluate-published-letters", "same",
]  # fmt: skip
FIELDS = (
    "disease", "enzyme_cot", "function", "induction", "ptm", "subunit", "tissue_specificity",
)  # fmt: skip

pytestmark = pytest.mark.slow


class Loop(NamedTuple):
    """A finished run of the script: its folder, the Hub, and what it printed."""

    work: Path
    hub: Hub
    environment: dict[str, str]
    said: str
    log: str


def run_script(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT], env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("loop")
    settings = save_world(folder)
    with add_folders(Hub(), folder / "hub") as hub:
        given = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        environment = given | hub.environment("alice") | settings
        environment["PATH"] = f"{Path(sys.executable).parent}:{given['PATH']}"
        done = run_script(environment)
        assert done.returncode == 0, done.stderr[-4000:]
        yield Loop(folder / "work", hub, environment, done.stdout, done.stderr)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def results_of(loop: Loop, run: str) -> dict[str, Any]:
    """Return the scores of a run, from all its results files."""
    found: dict[str, Any] = {}
    for path in (loop.work / "results" / run).glob("*/results_*.json"):
        found |= read_json(path)["results"]
    return found


def test_every_step_ran_once_and_its_seconds_are_written(loop: Loop) -> None:
    rows = list(csv.reader((loop.work / "seconds.tsv").read_text().splitlines(), delimiter="\t"))
    assert [name for name, _ in rows] == STEPS
    assert all(int(seconds) >= 0 for _, seconds in rows)
    assert [name for name in STEPS if f"\n== {name}: " not in loop.log] == []


def test_no_question_and_no_relative_is_in_the_training_rows(loop: Loop) -> None:
    manifest = read_json(loop.work / "data" / "manifest.json")
    assert set(FIELDS) | {"ssl_uniprot"} == set(manifest["configs"])
    read = sum(manifest["configs"]["function"]["kept"].values())
    assert 0 < read <= ENTRIES
    assert read_json(loop.work / "check.json")["dirty"] is False


def test_the_second_training_goes_on_from_the_first(loop: Loop) -> None:
    first = read_json(loop.work / "cpt" / "training_run.json")
    second = read_json(loop.work / "sft" / "training_run.json")
    assert (first["status"], first["steps"]["done"]) == ("finished", 4)
    assert (second["status"], second["steps"]["done"]) == ("finished", 4)
    assert second["base_model"]["name"] == "cpt"
    assert (loop.work / "tiny-protein" / "model.safetensors").is_file()


@pytest.mark.parametrize("run", ["base", "tuned"])
def test_both_models_answered_all_questions_and_a_few_in_writing(loop: Loop, run: str) -> None:
    asked = {
        task: sample["original"]
        for path in (loop.work / "results" / run).glob("*/results_*.json")
        for task, sample in read_json(path)["n-samples"].items()
    }
    assert asked["proteinlmbench"] == asked["mmlu_virology"] == QUESTIONS
    assert {f"proteinlm_sft_{field}_loss" for field in FIELDS} < set(asked)
    written = results_of(loop, f"{run}-written")
    assert set(written) == {f"proteinlm_sft_{field}" for field in FIELDS} | {"gsm8k"}


def test_the_tuned_model_is_another_one_and_the_loss_on_its_rows_fell(loop: Loop) -> None:
    loss = "nats_per_byte,none"
    base, tuned = results_of(loop, "base"), results_of(loop, "tuned")
    fell = [
        base[f"proteinlm_sft_{field}_loss"][loss] > tuned[f"proteinlm_sft_{field}_loss"][loss]
        for field in FIELDS
    ]
    assert all(fell)


def test_the_card_has_the_numbers_of_the_results(loop: Loop) -> None:
    card = (loop.work / "tiny-protein" / "README.md").read_text(encoding="utf-8")
    for task in ("proteinlmbench", "mmlu_virology"):
        rows = re.findall(
            rf"^\| {task} v[\d.]+ +\| acc +\| (\w+) +\| (\d+) \| +([\d.]+) \|", card, re.MULTILINE
        )
        runs = ("base", "tuned", "longest") if task == "proteinlmbench" else ("base", "tuned")
        expected = [
            (run, str(QUESTIONS), f"{100 * results_of(loop, run)[task]['acc,none']:.1f}")
            for run in runs
        ]
        assert rows == expected
    assert loop.hub.repo("model", "acme/tiny-protein").files()["README.md"].decode() == card


def test_the_script_ends_with_the_table_of_base_and_tuned(loop: Loop) -> None:
    assert loop.said == (loop.work / "comparison.md").read_text(encoding="utf-8")
    for task in ("proteinlmbench", "mmlu_virology", "proteinlm_sft_function_loss"):
        assert re.search(rf"^\| {task} v.*\| tuned ", loop.said, re.MULTILINE)
    few = (loop.work / "comparison-written.md").read_text(encoding="utf-8")
    assert "| gsm8k v" in few
    assert "| lookup" in few


def test_the_published_model_answers_as_the_one_at_hand(loop: Loop) -> None:
    assert read_json(loop.work / "pushed-model.json")["outcome"]["commits"]
    assert "acme/tiny-protein-data" in {name for _, name in loop.hub.repos}
    (same,) = read_json(loop.work / "same.json")["contrasts"]
    found = same["difference"]
    assert (same["run"], found["num_better"], found["num_worse"]) == ("published", 0, 0)
    theirs, ours = results_of(loop, "published"), results_of(loop, "tuned")
    assert theirs["proteinlmbench"] == ours["proteinlmbench"]


def test_a_second_run_does_nothing_again_and_a_lost_file_is_made_again(loop: Loop) -> None:
    before = (loop.work / "seconds.tsv").read_text()
    written = {path: path.stat().st_mtime_ns for path in loop.work.rglob("*") if path.is_file()}
    again = run_script(loop.environment)
    assert again.returncode == 0, again.stderr
    assert (again.stdout, (loop.work / "seconds.tsv").read_text()) == (loop.said, before)
    assert written == {path: path.stat().st_mtime_ns for path in written}
    (loop.work / "comparison.md").unlink()
    assert run_script(loop.environment).returncode == 0
    assert (loop.work / "comparison.md").read_text(encoding="utf-8") == loop.said
    assert (loop.work / "seconds.tsv").read_text().startswith(before)


@pytest.mark.parametrize("name", ["UNIPROT", "ENZYME"])
def test_what_it_needs_is_asked_for(name: str) -> None:
    given = {"PATH": os.environ["PATH"], "UNIPROT": "x", "ENZYME": "y"}
    del given[name]
    done = run_script(given)
    assert done.returncode != 0
    assert f"{name}: names" in done.stderr
