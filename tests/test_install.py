"""`lm_eval --tasks ...` finds our tasks after installation, each case in an environment of its own.

Slow: packages come from PyPI. The wheel case runs in `make test`, all of them in
`make test-install`.
"""

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import ROOT

LM_EVAL = "lm_eval==0.4.13"


class Environment(NamedTuple):
    """A virtual environment and a working folder outside the checkout."""

    python: Path
    folder: Path

    def run(self, *command: str, **variables: str) -> str:
        """Run a command of the environment outside the checkout; return what it prints."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        script = self.python.parent / command[0]
        done = subprocess.run(
            [str(script if script.exists() else command[0]), *command[1:]],
            cwd=self.folder, env=inherited | variables, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


CASES = [
    pytest.param(("wheel", "wheel"), marks=pytest.mark.wheel),
    ("editable", "wheel"),
    ("wheel", "editable"),
    ("editable", "editable"),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "ours {}, lm_eval {}".format(*case))
def environment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    ours, theirs = request.param
    folder = tmp_path_factory.mktemp("install")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    (folder / "elsewhere").mkdir()
    made = Environment(folder / "env" / "bin" / "python", folder / "elsewhere")
    constrained = ["-m", "pip", "install", "-q", "--constraint", str(ROOT / "constraints.txt")]
    if theirs == "editable":
        download = ["-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
        made.run("python", *download, "-d", str(folder), LM_EVAL)
        (archive,) = folder.glob("lm_eval-*.tar.gz")
        with tarfile.open(archive) as source:
            source.extractall(folder / "source", filter="data")
        (checkout,) = (folder / "source").iterdir()
        made.run("python", *constrained, "-e", str(checkout))
    else:
        made.run("python", *constrained, LM_EVAL)
    if ours == "editable":
        made.run("python", *constrained, "-e", str(ROOT))
    else:
        # `build` makes the sdist first and the wheel from it, so both must hold all files.
        build = [sys.executable, "-m", "build", "--outdir", str(folder / "dist"), str(ROOT)]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        (wheel,) = (folder / "dist").glob("*.whl")
        made.run("python", *constrained, str(wheel))
    return made


pytestmark = pytest.mark.install
TASK = ("--tasks", "proteinlmbench_sample", "--model", "heuristic", "--model_args", "rule=longest")


def test_lm_eval_runs_our_task_from_the_console_script(environment: Environment) -> None:
    printed = environment.run("lm_eval", *TASK)
    assert "|proteinlmbench_sample|" in printed
    assert "0.1667" in printed


def test_lm_eval_runs_our_task_as_a_module(environment: Environment) -> None:
    assert "0.1667" in environment.run("python", "-m", "lm_eval", "run", *TASK)


def test_lm_eval_lists_our_tasks_among_its_own(environment: Environment) -> None:
    listed = environment.run("lm_eval", "ls", "tasks")
    assert all(f"|{name}" in listed.replace(" ", "") for name in ("proteinlmbench_gen", "sciq"))


def test_the_task_manager_and_the_registry_know_us(environment: Environment) -> None:
    code = (
        "from lm_eval.tasks import TaskManager; names = TaskManager().all_tasks;"
        "print({'proteinlmbench', 'proteinlm', 'mmlu'} <= set(names));"
        "import lm_eval.models; from lm_eval.api.registry import get_model, model_registry;"
        "print(get_model('dummy').__name__, get_model('heuristic').__name__,"
        "'hf' in model_registry)"
    )
    printed = environment.run("python", "-c", code).splitlines()
    assert printed == ["True", "DummyLM HeuristicLM True"]


def test_the_hook_can_be_turned_off(environment: Environment) -> None:
    code = (
        "from lm_eval.tasks import TaskManager; print('proteinlmbench' in TaskManager().all_tasks)"
    )
    assert environment.run("python", "-c", code, PROTEINLM_NO_AUTOLOAD="1") == "False\n"


def test_the_command_finds_its_files(environment: Environment) -> None:
    path = Path(environment.run("proteinlm", "tasks", "--path").strip())
    assert (path / "proteinlmbench" / "proteinlmbench.yaml").is_file()
    assert "proteinlmbench_sample" in environment.run("proteinlm", "eval", *TASK, "--limit", "2")
    assert "FAIL" not in environment.run("proteinlm", "doctor")


def test_nothing_is_written_into_lm_evals_folder_or_the_top_level(
    environment: Environment,
) -> None:
    code = (
        "import lm_eval.tasks, pathlib, importlib.util as u;"
        "print([*pathlib.Path(lm_eval.tasks.__file__).parent.glob('**/*proteinlm*')],"
        "[name for name in ('sft', 'cards') if u.find_spec(name)])"
    )
    folder = environment.python.parent.parent
    installed = next(folder.glob("lib/python*/site-packages"))
    assert not (installed / "tasks").exists()
    assert environment.run("python", "-c", code).startswith("[]")


def test_the_data_commands_know_their_recipes_and_name_their_extra(
    environment: Environment,
) -> None:
    assert "full, paper, swissprot" in environment.run("proteinlm", "data", "build", "--help")
    command = [str(environment.python.parent / "proteinlm"), "data", "sft", "--uniprot", "x"]
    done = subprocess.run(
        [*command, "--out", "y"], cwd=environment.folder, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "pip install 'proteinlm-ext[data]'" in done.stderr
