"""lm-eval's own tests of tasks, from its sdist, on the folder that `make upstream` writes.

Slow: the sdist comes from PyPI. The Hub is one on loopback with the bundled questions.
"""

import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hub.clients import run_client
from hub.server import Hub

from proteinlm_ext import upstream
from proteinlm_ext.benchmark import HUB_REPO, HUB_REVISION
from proteinlm_ext.paths import data_file

LM_EVAL = "lm_eval==0.4.13"
# Upstream's CI asks git which tasks are new; the names are passed in instead.
NAMES = f"""\
def new_tasks():
    return {list(upstream.TASKS)}
"""
CARD = """\
---
configs:
- config_name: evaluation
  data_files: ProteinLMBench.json
---
"""
PER_TASK = 13
"""The tests of `BaseTasks`."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the unpacked sdist, with our folder among its tasks."""
    folder = tmp_path_factory.mktemp("sdist")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*command, "-d", str(folder), LM_EVAL], check=True)
    (archive,) = folder.glob("lm_eval-*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(folder, filter="data")
    (root,) = (path for path in folder.iterdir() if path.is_dir())
    upstream.write(root / "lm_eval" / "tasks" / "proteinlmbench")
    (root / "tests" / "__init__.py").touch()  # the sdist lacks it, and utils.py beside it
    (root / "tests" / "utils.py").write_text(NAMES)
    return root


def test_our_folder_passes_lm_evals_tests_of_tasks(
    harness: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROTEINLM_NO_AUTOLOAD", "1")  # our own tasks have the same names
    questions = data_file("sample.json").read_bytes()
    code = f"""if True:
        import os, sys
        os.chdir({str(harness)!r})
        sys.path.insert(0, os.getcwd())  # the sdist's lm_eval
        import pytest
        sys.exit(pytest.main([
            "tests/test_tasks.py", "-k", "TestNewTasksElseDefault", "-v", "-p", "no:cacheprovider",
        ]))
    """
    with Hub() as hub:
        files = {"README.md": CARD.encode(), "ProteinLMBench.json": questions}
        hub.add("dataset", HUB_REPO, files, oid=HUB_REVISION)
        said = run_client(hub, "-c", code)
        asked = [request.path for request in hub.requests if HUB_REVISION in request.path]
    for task in upstream.TASKS:
        assert len(re.findall(rf"\[{task}\] PASSED", said)) == PER_TASK, said
    assert f"{len(upstream.TASKS) * PER_TASK} passed" in said
    assert asked


def test_the_checklist_has_no_box_that_is_left_blank_without_a_word(harness: Path) -> None:
    readme = (harness / "lm_eval/tasks/proteinlmbench/README.md").read_text(encoding="utf-8")
    boxes = re.findall(r"^ *\* \[(.)\] (.+(?:\n +[^ *].*)*)", readme, re.MULTILINE)
    assert len(boxes) == 6
    assert [text for ticked, text in boxes if ticked != "x" and "." not in text] == []
