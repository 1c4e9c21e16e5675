"""The startup hook: plain lm-eval sees our tasks and models, and nothing else changes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from proteinlm_ext.paths import tasks_dir

# lm-eval's own 14,000 files take ten seconds to index; here only the folders matter.
ROOTS = """
import json, sys
from lm_eval.tasks import _index
show = lambda paths, **_: print(json.dumps([*map(str, paths)])) or {}
_index.TaskIndex.build = staticmethod(show)
from lm_eval.tasks import TaskManager
"""


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
    )


def roots(call: str, **environment: str) -> list[str]:
    done = python(ROOTS + call, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


OURS = str(tasks_dir().resolve())


def test_our_folder_comes_after_lm_evals_own() -> None:
    first, second = roots("TaskManager()")
    assert first.endswith("lm_eval/tasks")
    assert second == OURS


@pytest.mark.parametrize("given", ["'/mine'", "['/mine']", "Path('/mine')"])
def test_a_users_include_path_comes_last_and_so_wins(given: str) -> None:
    call = f"from pathlib import Path; TaskManager(include_path={given})"
    assert roots(call)[1:] == [OURS, "/mine"]


@pytest.mark.parametrize("given", [OURS, str(Path(OURS).parent), f"{OURS}/proteinlmbench/.."])
def test_the_explicit_include_path_is_not_doubled(given: str) -> None:
    assert len(roots(f"TaskManager(include_path={given!r})")) == 2


def test_who_asks_for_no_defaults_gets_none_of_ours() -> None:
    assert roots("TaskManager(include_path='/mine', include_defaults=False)") == ["/mine"]


def test_another_signature_of_the_task_manager_is_left_working() -> None:
    code = """
import types
from proteinlm_ext.harness import add_tasks
class TaskManager:
    def __init__(self, include_path=None): print(include_path)
add_tasks(types.SimpleNamespace(TaskManager=TaskManager))
TaskManager("/mine")
"""
    done = python(code)
    assert done.stdout == "/mine\n"
    assert "Our tasks were not added: KeyError('include_defaults')" in done.stderr


def test_the_environment_variable_turns_the_hook_off() -> None:
    assert OURS not in roots("TaskManager()", PROTEINLM_NO_AUTOLOAD="1")
    models = "from lm_eval.api.registry import model_registry; import lm_eval.models;"
    done = python(models + "print('heuristic' in model_registry)", PROTEINLM_NO_AUTOLOAD="1")
    assert done.stdout == "False\n"


def test_hf_dummy_and_our_models_resolve() -> None:
    """Registered before lm_eval.models is imported, ours would hide all of lm-eval's."""
    names = "['hf', 'dummy', 'heuristic', 'local-chat-completions']"
    code = f"from lm_eval.api.registry import get_model as g; import lm_eval.models; \
print([g(name).__name__ for name in {names}])"
    done = python(code)
    assert done.stdout == "['HFLM', 'DummyLM', 'HeuristicLM', 'LocalChatCompletion']\n", done.stderr


def test_the_evaluator_alone_finds_lm_evals_models_and_ours() -> None:
    code = "import lm_eval.evaluator; from lm_eval.api.registry import get_model as g; \
print(g('dummy').__name__, g('heuristic').__name__)"
    done = python(code)
    assert done.stdout == "DummyLM HeuristicLM\n", done.stderr


def test_a_failing_hook_says_so_and_leaves_lm_eval_working() -> None:
    code = "import proteinlm_ext.harness as h; h.extend = lambda module: 1 / 0; \
import lm_eval.tasks; print(lm_eval.tasks.TaskManager.__name__)"
    done = python(code)
    assert done.stdout == "TaskManager\n"
    assert "proteinlm-ext: hook skipped: ZeroDivisionError" in done.stderr


def test_an_ordinary_process_imports_nothing_but_the_hook() -> None:
    done = python("import sys; print([m for m in sys.modules if 'proteinlm' in m])")
    assert done.stdout == "['_proteinlm_startup']\n"
    heavy = "[m for m in ('lm_eval', 'torch', 'numpy', 'pathlib', 'typing') if m in sys.modules]"
    bare = python(f"import sys; print({heavy})", PROTEINLM_NO_AUTOLOAD="1")
    assert python(f"import sys; print({heavy})").stdout == bare.stdout


@pytest.mark.slow
def test_lm_eval_runs_our_task_without_any_flag(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lm_eval", "--model", "heuristic", "--model_args", "rule=longest",
         "--tasks", "proteinlmbench_sample"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "|proteinlmbench_sample|" in done.stdout
    assert "0.1667" in done.stdout
