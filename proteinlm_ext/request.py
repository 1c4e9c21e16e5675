"""What the user asks of `proteinlm eval`: tasks found, and requests that cannot work refused."""

import difflib
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from proteinlm_ext.errors import UsageError
from proteinlm_ext.paths import tasks_dir

logger = logging.getLogger("proteinlm_ext")

LIKELIHOOD_TYPES = ("multiple_choice", "loglikelihood", "loglikelihood_rolling")


def resolve_tasks(
    requested: Sequence[str], include_path: str | None, metadata: Mapping[str, Any]
) -> tuple[Any, list[str]]:
    """Find the tasks, in our own folder first: indexing all of lm-eval takes ten seconds.

    Returns:
        A `TaskManager`, and the names (or YAML paths) that it loads.

    Raises:
        UsageError: A task is unknown; the message suggests the nearest names.
    """
    from lm_eval.tasks import TaskManager

    names = [name for item in requested for name in item.split(",") if name]
    if not names:
        raise UsageError("No task given. Try: --tasks proteinlmbench (all: proteinlm tasks)")
    paths: list[str | Path] = [tasks_dir(), *([include_path] if include_path else [])]
    missing, near = names, ""
    # Among our own few names only a close one is a suggestion; it may be a task of lm-eval's.
    for include_defaults, cutoff in ((False, 0.8), (True, 0.6)):
        manager = TaskManager(
            include_path=paths, include_defaults=include_defaults, metadata=dict(metadata)
        )
        matched, missing = _match(names, manager)
        if not missing:
            return manager, list(dict.fromkeys(matched))
        if near := _suggestions(missing, manager.all_tasks, cutoff=cutoff):
            break
    hint = f"Did you mean {near}?" if near else "List ours: proteinlm tasks"
    raise UsageError(f"Unknown task: {', '.join(missing)}. {hint}")


def _match(names: Sequence[str], manager: Any) -> tuple[list[str], list[str]]:
    """Return the task names or YAML files that match, and the requests that match nothing."""
    matched: list[str] = []
    missing: list[str] = []
    for name in names:
        is_file = name.endswith(".yaml") and Path(name).is_file()
        found = [str(Path(name).resolve())] if is_file else manager.match_tasks([name])
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
        UsageError: Too many few-shot examples, a log-likelihood task on a chat API, or a rotation
            task cut within a question.
    """
    for name, task in tasks.items():
        metadata: dict[str, Any] = task.get_config("metadata") or {}
        if "provenance" in metadata and config.num_fewshot is not None:
            _check_num_fewshot(name, task, config.num_fewshot)
        if "chat" in config.model and task.get_config("output_type") in LIKELIHOOD_TYPES:
            raise UsageError(
                f"{name} needs log-likelihoods, which the chat API of --model {config.model} does "
                "not give. Run --tasks proteinlmbench_gen (or proteinlmbench_cot) instead."
            )
        if "rotation" in task.features:
            _check_whole_questions(name, task, config)
        if warning := _template_departure(name, metadata.get("chat_template"), config):
            logger.warning(warning)


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
    if cut:
        begins = [row for row in range(len(ids)) if row == 0 or ids[row] != ids[row - 1]]
        ends = [*begins[1:], len(ids)]
        below = max((end for end in ends if end < len(chosen)), default=None)
        above = min((end for end in ends if end > len(chosen)), default=None)
        near = " or ".join(f"--limit {end}" for end in (below, above) if end)
        raise UsageError(
            f"{name}: the selection ends within a question, whose rotations count only together. "
            f"Nearest whole questions: {near}"
        )


def _template_departure(name: str, rule: str | None, config: Any) -> str | None:
    """Return a warning where a published protocol used another prompt format than this run."""
    applied = bool(config.apply_chat_template)
    if rule == "required" and not applied and "chat" not in config.model:
        return f"{name}: the published protocol is a chat; add --apply_chat_template to compare."
    if rule == "named":
        model = str(config.model_args.get("pretrained") or config.model_args.get("model") or "")
        named = ("chat" in model or "Chat" in model) and "Yi" not in model
        if named != applied:
            how = "with" if named else "without"
            return f"{name}: the paper ran models of this name {how} chat template."
    return None
