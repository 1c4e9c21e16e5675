"""The startup hook: `lm_eval --tasks proteinlmbench` works after `pip install proteinlm-ext`.

Released lm-eval (0.4.13) has no plugin point for tasks. `zz_proteinlm.pth` in site-packages
imports this module in every Python process; it only waits. When `lm_eval.tasks` or
`lm_eval.models` has been imported, it adds our task folder to `TaskManager`, or our model names to
the registry. It writes nothing, never raises, and is off with `PROTEINLM_NO_AUTOLOAD=1`. It goes
when lm-eval has task plugins (EleutherAI/lm-evaluation-harness#4015).
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MODELS = {"heuristic": "proteinlm_ext.heuristic:HeuristicLM"}


def add_tasks(module: Any) -> None:
    """Make `TaskManager()` also scan our folder, before the user's: a user's task wins."""
    from functools import wraps
    from inspect import signature
    from pathlib import Path

    from proteinlm_ext.paths import tasks_dir

    original = module.TaskManager.__init__
    parameters = signature(original)

    @wraps(original)
    def init(*args: Any, **kwargs: Any) -> None:
        call = parameters.bind(*args, **kwargs)
        call.apply_defaults()
        given: Any = call.arguments["include_path"] or []
        paths: list[Any] = [*given] if isinstance(given, list | tuple) else [given]
        ours = tasks_dir().resolve()
        known = (Path(module.__file__).parent / "proteinlmbench").is_dir() or any(
            ours.is_relative_to(Path(path).resolve()) for path in paths
        )
        if call.arguments["include_defaults"] and not known:
            call.arguments["include_path"] = [ours, *paths]
        original(*call.args, **call.kwargs)

    module.TaskManager.__init__ = init


def add_models(_: Any) -> None:
    """Register our model names, lazily. Earlier than this, lm-eval would not find its own."""
    from lm_eval.api.registry import model_registry

    for name, target in MODELS.items():
        if name not in model_registry:
            model_registry.register(name, target=target)


PATCHES = {"lm_eval.tasks": add_tasks, "lm_eval.models": add_models}


class AfterImport:
    """A finder for `sys.meta_path` that calls one function after a module has been executed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Find the module as everybody else does, and wrap its execution."""
        if name not in PATCHES:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next(filter(None, specs), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_then_patch(module: Any) -> None:
                execute(module)
                try:
                    PATCHES[name](module)
                except Exception as error:  # noqa: BLE001 -- a hook must not break lm-eval
                    print(f"proteinlm-ext: hook skipped: {error!r}", file=sys.stderr)  # noqa: T201

            spec.loader.exec_module = execute_then_patch  # pyright: ignore
        return spec


if os.environ.get("PROTEINLM_NO_AUTOLOAD") != "1":
    sys.meta_path.insert(0, AfterImport())
