"""What the user asks of `proteinlm eval`: tasks found, and requests that cannot work refused."""

import difflib
import logging
import math
from collections.abc import Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Any, cast

from proteinlm_ext.errors import UsageError
from proteinlm_ext.paths import tasks_dir

logger = logging.getLogger("proteinlm_ext")

LIKELIHOOD_TYPES = ("multiple_choice", "loglikelihood", "loglikelihood_rolling")


def resolve_tasks(
    requested: str | Sequence[str],
    include_path: str | Sequence[str] | None,
    metadata: Mapping[str, Any],
) -> tuple[Any, list[str]]:
    """Find the tasks, in our own folder first: indexing all of lm-eval takes ten seconds.

    Args:
        requested: Names, tags, groups, patterns or YAML files; each may hold commas.
        include_path: The user's own folder or folders, in which any task may be referred to.
        metadata: For the loaders of the tasks.

    Returns:
        A `TaskManager`, and the names (or YAML files) that it loads.

    Raises:
        UsageError: A task is unknown; the message suggests the nearest names.
    """
    from lm_eval.tasks import TaskManager

    requested = [requested] if isinstance(requested, str) else requested
    names = [name.strip() for item in requested for name in item.split(",") if name.strip()]
    if not names:
        raise UsageError("No task given. Try: --tasks proteinlmbench (all: proteinlm tasks)")
    given = [include_path] if isinstance(include_path, str) else include_path or []
    paths: list[str | Path] = [tasks_dir(), *given]
    ours_only = not given and all(_may_be_ours_alone(name) for name in names)
    missing, near = names, ""
    # Among our own few names only a close one is a suggestion; it may be a task of lm-eval's.
    for include_defaults, cutoff in ((False, 0.8), (True, 0.6)) if ours_only else ((True, 0.6),):
        manager = TaskManager(
            include_path=paths, include_defaults=include_defaults, metadata=dict(metadata)
        )
        matched, missing = _match(names, manager)
        # A suite of ours names lm-eval's tasks, which only the full index has.
        whole = include_defaults or not set(matched) & set(manager.all_groups)
        if whole and not missing:
            return manager, list(dict.fromkeys(matched))
        if near := _suggestions(missing, manager.all_tasks, cutoff=cutoff):
            break
    hint = f"Did you mean {near}?" if near else "List ours: proteinlm tasks"
    raise UsageError(f"Unknown task: {', '.join(missing)}. {hint}")


def _may_be_ours_alone(name: str) -> bool:
    """Tell whether our folder can settle a name: a pattern or a file may reach into lm-eval's."""
    is_pattern = any(mark in name for mark in "*?[")
    return not name.endswith(".yaml") and (not is_pattern or name.startswith("proteinlm"))


def _match(names: Sequence[str], manager: Any) -> tuple[list[str], list[str]]:
    """Return the task names or YAML files that match, and the requests that match nothing."""
    matched: list[str] = []
    missing: list[str] = []
    for name in names:
        files = sorted(glob(name)) if name.endswith(".yaml") else []  # noqa: PTH207 -- may be absolute
        found = [str(Path(file).resolve()) for file in files] or manager.match_tasks([name])
        matched.extend(found)
        if not found:
            missing.append(name)
    return matched, missing


def _suggestions(missing: Sequence[str], known: Sequence[str], *, cutoff: float) -> str:
    near = [difflib.get_close_matches(name, known, n=3, cutoff=cutoff) for name in missing]
    return " or ".join(dict.fromkeys(name for names in near for name in names))


def check_request(config: Any, tasks: Mapping[str, Any]) -> None:
    """Refuse what cannot work, and warn of what departs from a published protocol.

    Raises:
        UsageError: Too many few-shot examples, a log-likelihood task or raw prompts on a chat API,
            a selection that is empty or impossible, or one that cuts a question's rotations.
    """
    _check_selection(config, tasks)
    warnings: dict[str, None] = {}
    for name, task in tasks.items():
        metadata: dict[str, Any] = task.get_config("metadata") or {}
        if "provenance" in metadata and config.num_fewshot is not None:
            _check_num_fewshot(name, task, config.num_fewshot)
        if "chat" in config.model and task.get_config("output_type") in LIKELIHOOD_TYPES:
            instead = "proteinlmbench_gen (or proteinlmbench_cot)"
            if metadata.get("chat_template") == "trained":
                instead = "proteinlm_sft_answers"
            raise UsageError(
                f"{name} needs log-likelihoods, which the chat API of --model {config.model} does "
                f"not give. Run --tasks {instead} instead."
            )
        if "rotation" in getattr(task, "features", ()):  # tasks written in Python have none
            _check_whole_questions(name, task, config)
        if warning := _template_departure(name, metadata.get("chat_template"), config):
            warnings[warning] = None
    for warning in warnings:
        logger.warning(warning)
    if "chat" in config.model and not config.apply_chat_template:
        raise UsageError(f"--model {config.model} is a chat API: add --apply_chat_template.")


def _check_selection(config: Any, tasks: Mapping[str, Any]) -> None:
    if config.limit is not None and config.limit <= 0:
        raise UsageError(f"--limit {config.limit:g} selects nothing; give a count or a fraction.")
    if not config.samples:
        return
    example = "--samples '{\"proteinlmbench\": [0, 1, 2]}'"
    if not isinstance(config.samples, dict):
        raise UsageError(f"--samples {config.samples!r} is not a mapping. Example: {example}")
    for name, rows in cast("dict[str, Any]", config.samples).items():
        if name not in tasks:
            raise UsageError(f"--samples names {name}, but the tasks are {', '.join(tasks)}.")
        size = len(tasks[name].eval_docs)
        numbers = cast("list[Any]", rows) if isinstance(rows, list) else []
        if not numbers or not all(type(row) is int and 0 <= row < size for row in numbers):
            raise UsageError(
                f"--samples: {name} takes a list of numbers from 0 to {size - 1}, got {rows!r}. "
                f"Example: {example}"
            )


def _check_num_fewshot(name: str, task: Any, num_fewshot: int) -> None:
    from proteinlm_ext.fewshot import MAX_FEWSHOT

    if not 0 <= num_fewshot <= MAX_FEWSHOT:
        raise UsageError(
            f"--num_fewshot {num_fewshot}: {name} has {MAX_FEWSHOT} fixed examples. "
            f"Ask for 0 to {MAX_FEWSHOT}."
        )
    if num_fewshot and task.get_config("num_fewshot") == 0:
        logger.warning("%s is zero-shot by definition; --num_fewshot has no effect on it.", name)


def _check_whole_questions(name: str, task: Any, config: Any) -> None:
    """Refuse a --limit or --samples that holds some rotations of a question but not all."""
    docs = task.eval_docs
    ids: list[str] = docs["id"]
    if config.samples:
        chosen = set(config.samples.get(name, range(len(ids))))
    elif config.limit is not None:
        limit = config.limit
        chosen = set(range(math.ceil(len(ids) * limit) if limit < 1 else int(limit)))
    else:
        return
    inside = {ids[row] for row in chosen if row < len(ids)}
    cut = [row for row, question in enumerate(ids) if question in inside and row not in chosen]
    if not cut:
        return
    problem = f"{name}: the selection ends within a question, whose rotations count only together."
    if config.samples:
        raise UsageError(f"{problem} Missing from --samples: {cut}")
    starts = [row for row in range(len(ids)) if row == 0 or ids[row] != ids[row - 1]]
    below = max((row for row in starts if 0 < row < len(chosen)), default=None)
    above = min((row for row in [*starts, len(ids)] if row > len(chosen)), default=None)
    near = " or ".join(f"--limit {row}" for row in (below, above) if row)
    raise UsageError(f"{problem} Nearest whole questions: {near}")


def _template_departure(name: str, rule: str | None, config: Any) -> str | None:
    """Return a warning where training or a published protocol used another prompt format."""
    from proteinlm_ext.published import names_chat_model

    applied = bool(config.apply_chat_template)
    if rule == "required" and not applied and "chat" not in config.model:
        return f"{name}: the published protocol is a chat; add --apply_chat_template to compare."
    if rule == "trained" and not applied and config.model != "retrieval":
        return (
            "proteinlm_sft: models are trained on these rows as chats; add --apply_chat_template, "
            "or the prompt is not the one of training."
        )
    if rule == "named":
        path = config.model_args.get("pretrained") or config.model_args.get("model") or ""
        model = Path(str(path)).name
        named = names_chat_model(model)
        if named != applied:
            how = "with" if named else "without"
            return f"{name}: the paper ran models of this name {how} chat template."
    return None
