"""What the startup hook adds to lm-eval: our task folder and our model names."""

import logging
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any

from proteinlm_ext.paths import tasks_dir

MODELS = {
    "heuristic": "proteinlm_ext.heuristic:HeuristicLM",
    "proteinlm-hf": "proteinlm_ext.prefix_lm:PrefixTreeLM",
    "retrieval": "proteinlm_ext.retrieval:RetrievalLM",
}


def extend(module: Any) -> None:
    """Extend `lm_eval.tasks` or `lm_eval.models`, right after its import."""
    if module.__name__ == "lm_eval.tasks":
        add_tasks(module)
    else:
        add_models()


def add_tasks(module: Any) -> None:
    """Make `TaskManager()` also scan our folder, before the user's: a user's task wins."""
    original = module.TaskManager.__init__
    parameters = signature(original)

    @wraps(original)
    def init(*args: Any, **kwargs: Any) -> None:
        try:
            call = parameters.bind(*args, **kwargs)
            call.apply_defaults()
            if call.arguments["include_defaults"]:
                call.arguments["include_path"] = _with_ours(call.arguments["include_path"])
            args, kwargs = call.args, call.kwargs
        except (TypeError, KeyError, OSError) as error:  # another lm-eval, another signature
            logging.getLogger("proteinlm_ext").warning("Our tasks were not added: %r", error)
        original(*args, **kwargs)

    module.TaskManager.__init__ = init


def _with_ours(include_path: Any) -> list[Any]:
    given: Any = include_path or []
    paths: list[Any] = [*given] if isinstance(given, list | tuple) else [given]
    ours = tasks_dir().resolve()
    known = any(ours.is_relative_to(Path(path).resolve()) for path in paths)
    return paths if known else [ours, *paths]


def add_models() -> None:
    """Register our model names, lazily. Earlier than this, lm-eval would not find its own."""
    from lm_eval.api.registry import model_registry

    for name, target in MODELS.items():
        if name not in model_registry:
            model_registry.register(name, target=target)
