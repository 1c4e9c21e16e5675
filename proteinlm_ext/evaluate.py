"""`proteinlm eval`: lm-eval's own run with its own flags, checked before the model loads.

Differences from `lm_eval run`: samples are logged by default, lm-eval's 14,000 tasks are indexed
only when one of them is asked for, requests that cannot work are refused with the right command,
and the summary has n, interval, chance and always-longest beside every score.
"""

import difflib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_ext.paths import tasks_dir
from proteinlm_ext.summary import TaskSummary, summarise

logger = logging.getLogger("proteinlm_ext")

LIKELIHOOD_TYPES = ("multiple_choice", "loglikelihood", "loglikelihood_rolling")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run: the summaries, and the files that lm-eval's tracker wrote."""

    summaries: tuple[TaskSummary, ...]
    results_file: Path
    sample_files: tuple[Path, ...]


def evaluate(
    config: Any, *, log_samples: bool = True, template_decided: bool = False
) -> Run | None:
    """Run lm-eval on `config` and write what lm-eval writes.

    Args:
        config: A validated `lm_eval.config.evaluate_config.EvaluatorConfig` with an `output_path`.
        log_samples: Write the samples files.
        template_decided: The user chose about the chat template; no warning is due.

    Returns:
        The run, or None on all but the first process of a distributed run.

    Raises:
        UsageError: The request cannot work; nothing was loaded.
        ProteinLMError: The results could not be written.
    """
    import lm_eval
    from lm_eval.api.registry import get_model
    from lm_eval.loggers import EvaluationTracker

    manager, names = resolve_tasks(config.tasks, config.include_path, config.metadata)
    loaded = manager.load(names)
    check_request(config, loaded["tasks"])
    tracker = EvaluationTracker(**config.hf_hub_log_args, output_path=config.output_path)
    sizes = {name: getattr(config, name) for name in ("batch_size", "max_batch_size", "device")}
    model = get_model(config.model).create_from_arg_obj(config.model_args, sizes)
    if not (template_decided or config.apply_chat_template):
        _warn_about_template(model)
    seeds = dict(
        zip(("random_seed", "numpy_random_seed", "torch_random_seed", "fewshot_random_seed"),
            config.seed or [None] * 4, strict=True)
    )  # fmt: skip
    results: dict[str, Any] | None = cast("Any", lm_eval).simple_evaluate(
        model=model,
        model_args=config.model_args,
        tasks=_top_level(loaded),
        task_manager=manager,
        evaluation_tracker=tracker,
        log_samples=True,
        cache_requests=config.cache_requests.get("cache_requests", False),
        rewrite_requests_cache=config.cache_requests.get("rewrite_requests_cache", False),
        delete_requests_cache=config.cache_requests.get("delete_requests_cache", False),
        **{name: getattr(config, name) for name in _PASSED_ON},
        **sizes,
        **seeds,
    )
    if results is None:
        return None
    if not any(key in config.model_args for key in _NAMED_BY):
        # Without a name lm-eval invents one, and each run would get a folder of its own.
        tracker.general_config_tracker.model_name = config.model
        tracker.general_config_tracker.model_name_sanitized = config.model
    # lm-eval was handed a model object; write what it writes when it is handed the name.
    results["config"]["model"] = config.model
    tracker.general_config_tracker.model_source = config.model
    results["configs"] = _without_addresses(results["configs"])
    samples: dict[str, Any] = results.pop("samples")
    described = results | {"chat_template": config.apply_chat_template}
    summaries = () if config.predict_only else tuple(summarise(described, samples))
    files = _save(tracker, results, samples if log_samples else {})
    return Run(summaries=summaries, results_file=files[0], sample_files=tuple(files[1:]))


# The model_args from which lm-eval takes a model's name.
_NAMED_BY = ("peft", "delta", "pretrained", "model", "path", "engine")

# Parameters of simple_evaluate that carry the name of the flag.
_PASSED_ON = (
    "num_fewshot", "use_cache", "limit", "samples", "check_integrity", "write_out",
    "system_instruction", "apply_chat_template", "fewshot_as_multiturn", "gen_kwargs",
    "predict_only", "confirm_run_unsafe_code", "metadata",
)  # fmt: skip


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
    manager = TaskManager(include_path=tasks_dir(), include_defaults=False, metadata=dict(metadata))
    ours = manager.all_tasks
    matched, missing = _match(names, manager)
    if missing and not include_path and (near := _suggestions(missing, ours, cutoff=0.8)):
        raise UsageError(f"Unknown task: {', '.join(missing)}. Did you mean {near}?")
    if missing or include_path:
        paths = [tasks_dir(), *([include_path] if include_path else [])]
        manager = TaskManager(include_path=cast("Any", paths), metadata=dict(metadata))
        matched, missing = _match(names, manager)
    if missing:
        near = _suggestions(missing, manager.all_tasks, cutoff=0.6)
        hint = f"Did you mean {near}?" if near else "List ours: proteinlm tasks"
        raise UsageError(f"Unknown task: {', '.join(missing)}. {hint}")
    return manager, list(dict.fromkeys(matched))


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
        if "provenance" in metadata:
            _check_num_fewshot(name, config.num_fewshot)
        if "chat" in config.model and task.get_config("output_type") in LIKELIHOOD_TYPES:
            raise UsageError(
                f"{name} needs log-likelihoods, which the chat API of --model {config.model} does "
                "not give. Run --tasks proteinlmbench_gen (or proteinlmbench_cot) instead."
            )
        if "rotation" in task.features:
            _check_whole_questions(name, task, config)
        if warning := _template_departure(name, metadata.get("chat_template"), config):
            logger.warning(warning)


def _check_num_fewshot(name: str, num_fewshot: int | None) -> None:
    from proteinlm_ext.fewshot import MAX_FEWSHOT

    if num_fewshot is not None and not 0 <= num_fewshot <= MAX_FEWSHOT:
        raise UsageError(
            f"--num_fewshot {num_fewshot}: {name} has {MAX_FEWSHOT} fixed examples. "
            f"Ask for 0 to {MAX_FEWSHOT}."
        )


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


def _warn_about_template(model: Any) -> None:
    tokenizer = getattr(model, "tokenizer", None)
    if getattr(tokenizer, "chat_template", None):
        logger.warning(
            "This model's tokenizer has a chat template and the run does not use it. "
            "Decide: --apply_chat_template, or --no_chat_template to keep raw prompts."
        )


def _top_level(loaded: Mapping[str, Any]) -> list[Any]:
    """Return the loaded groups, and the tasks that are in none of them."""
    groups = list(loaded.get("groups", {}).values())
    nested = {id(group) for parent in groups for group in parent.get_all_groups()}
    grouped = {task.task_name for group in groups for task in group.get_all_tasks()}
    top = [group for group in groups if id(group) not in nested]
    return top + [task for name, task in loaded["tasks"].items() if name not in grouped]


def _without_addresses(value: Any) -> Any:
    """Name functions by module, where `str` would write an address that differs in every run."""
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {key: _without_addresses(item) for key, item in items}
    if isinstance(value, list):
        return [_without_addresses(item) for item in cast("list[Any]", value)]
    if callable(value):
        function = cast("Callable[..., Any]", value)
        return f"{function.__module__}.{function.__qualname__}"
    return value


def _save(tracker: Any, results: dict[str, Any], samples: dict[str, Any]) -> list[Path]:
    """Let lm-eval write its files; it only logs a failure, so look for them afterwards."""
    tracker.save_results_aggregated(results=results, samples=samples)
    for task, logged in samples.items():
        tracker.save_results_samples(task_name=task, samples=logged)
    output = Path(tracker.output_path)
    stamp = getattr(tracker, "date_id", "")
    if output.suffix == ".json":
        folder, main = output.parent, f"{output.stem}_{stamp}.json"
    else:
        folder = output / str(tracker.general_config_tracker.model_name_sanitized)
        main = f"results_{stamp}.json"
    files = [folder / main, *(folder / f"samples_{task}_{stamp}.jsonl" for task in samples)]
    lost = [str(file) for file in files if not file.is_file()]
    if lost:
        raise ProteinLMError(f"Could not write {', '.join(lost)}. Is there room, and permission?")
    return files
