"""The pull-request folder renders the prompts that our own tasks render."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from proteinlm_ext import upstream
from proteinlm_ext.benchmark import HUB_REPO, HUB_REVISION
from proteinlm_ext.errors import UsageError
from proteinlm_ext.paths import data_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "pull_request"
    upstream.write(target)
    return target


@pytest.fixture
def upstream_tasks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Load the folder as lm-eval would, with the sample in place of the Hub dataset."""
    from lm_eval.tasks import TaskManager

    rows = json.loads(data_file("sample.json").read_text(encoding="utf-8"))

    def load_dataset(path: str, name: str, revision: str) -> Any:
        assert (path, name, revision) == (HUB_REPO, "evaluation", HUB_REVISION)
        return {"train": datasets.Dataset.from_list(rows)}

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    manager = TaskManager(include_path=folder, include_defaults=False)
    return manager.load(list(upstream.TASKS))["tasks"]


@pytest.mark.parametrize("name", upstream.TASKS)
@pytest.mark.parametrize("shots", [0, 5])
def test_prompts_targets_and_requests_are_equal(
    name: str,
    shots: int,
    upstream_tasks: dict[str, Any],
    load_tasks: Callable[..., dict[str, Any]],
) -> None:
    ours, theirs = load_tasks(name)[name], upstream_tasks[name]
    pairs = list(zip(ours.eval_docs, theirs.eval_docs, strict=True))
    assert len(pairs) == 60
    for our_doc, their_doc in pairs:
        prompt = ours.fewshot_context(our_doc, num_fewshot=shots)
        assert theirs.fewshot_context(their_doc, num_fewshot=shots) == prompt
        assert theirs.doc_to_target(their_doc) == ours.doc_to_target(our_doc)
        requests = [task.construct_requests(doc, prompt) for task, doc in
                    ((ours, our_doc), (theirs, their_doc))]  # fmt: skip
        asked = [
            [r.args for r in item] if isinstance(item, list) else item.args for item in requests
        ]
        assert asked[0] == asked[1]


def test_generated_answers_are_read_and_scored_alike(
    upstream_tasks: dict[str, Any], load_tasks: Callable[..., dict[str, Any]]
) -> None:
    name = "proteinlmbench_gen"
    scores = []
    for task in (load_tasks(name)[name], upstream_tasks[name]):
        task.build_all_requests(rank=0, world_size=1)
        texts = ["Answer: A", "the answer is **B**", r"\boxed{C}", "no idea", "<think>Answer: D"]
        for place, instance in enumerate(task.instances):
            instance.resps.append(texts[place % len(texts)])
        task.apply_filters()
        scores.append([
            task.process_results(instance.doc, [instance.filtered_resps[name]])
            for instance in task.instances
            for name in ("strict", "flexible")
        ])  # fmt: skip
    assert scores[0] == scores[1]
    assert len({str(score) for score in scores[0]}) > 1


def test_the_folder_stands_alone(folder: Path) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in folder.iterdir())
    assert "import proteinlm_ext" not in text
    assert "from proteinlm_ext" not in text
    assert "!function proteinlm_ext" not in text
    names = sorted(path.name for path in folder.glob("*.yaml"))
    assert names == sorted(f"{task}.yaml" for task in upstream.TASKS)


def test_the_readme_speaks_of_the_offered_tasks_only(folder: Path) -> None:
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"proteinlmbench\w*", readme)) == set(upstream.TASKS)


def test_an_existing_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(UsageError, match="exists"):
        upstream.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_module_runs_as_the_make_target_runs_it(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder"
    command = [sys.executable, "-m", "proteinlm_ext.upstream", str(target)]
    subprocess.run(command, check=True)
    assert (target / "utils.py").is_file()
