"""`proteinlm eval`: lm-eval's own run with its own flags, checked before the model loads.

Differences from `lm_eval run`: samples are logged by default, lm-eval's 14,000 tasks are indexed
only when one of them is asked for, requests that cannot work are refused with the right command,
and the summary has n, interval, chance and always-longest beside every score.
"""

import difflib
import logging
import os
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_ext.harness import MODELS, add_models
from proteinlm_ext.paths import DEFAULT_OUTPUT
from proteinlm_ext.request import check_request, resolve_tasks
from proteinlm_ext.summary import TaskSummary, summarise

logger = logging.getLogger("proteinlm_ext")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run: the summaries, and the files that lm-eval's tracker wrote."""

    summaries: tuple[TaskSummary, ...]
    results_file: Path
    sample_files: tuple[Path, ...]
    answers: Mapping[str, int]  # computed, resumed and reused, of a run with a cache

    def __str__(self) -> str:
        from proteinlm_ext.summary_text import to_table

        return to_table(self.summaries)


def read_config(options: Namespace) -> tuple[Any, dict[str, Any]]:
    """Return lm-eval's settings from flags, as its own command makes them, and what --config says.

    Raises:
        UsageError: lm-eval has no such flag, or a value makes no sense.
    """
    from lm_eval.config.evaluate_config import EvaluatorConfig

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    given = getattr(options, "config", None)
    try:
        file = EvaluatorConfig.load_yaml_config(given) if given else {}
        options.output_path = options.output_path or file.get("output_path") or DEFAULT_OUTPUT
        return EvaluatorConfig.from_cli(options), file
    except (ValueError, TypeError, FileNotFoundError) as error:
        raise UsageError(str(error)) from error


def evaluate(
    config: Any,
    *,
    log_samples: bool = True,
    template_decided: bool = False,
    cache: Path | None = None,
) -> Run | None:
    """Run lm-eval on `config` and write what lm-eval writes.

    Args:
        config: A validated `lm_eval.config.evaluate_config.EvaluatorConfig` with an `output_path`.
        log_samples: Write the samples files.
        template_decided: The user chose about the chat template; no warning is due.
        cache: Folder of answers to use and add to; only for `--model proteinlm-hf`.

    Returns:
        The run, or None on all but the first process of a distributed run.

    Raises:
        UsageError: The request cannot work; nothing was loaded.
        ProteinLMError: The results could not be written.
    """
    from lm_eval.loggers import EvaluationTracker

    _check_flags(config, cache)
    manager, loaded = _load_tasks(config)
    check_request(config, loaded["tasks"])
    if config.samples:  # lm-eval logs the doc_ids of an unsorted list wrongly (its issue 4084)
        config.samples = {task: sorted(rows) for task, rows in config.samples.items()}
    token = {"token": os.environ["HF_TOKEN"]} if os.environ.get("HF_TOKEN") else {}
    options = token | config.hf_hub_log_args | {"output_path": config.output_path}
    tracker = EvaluationTracker(**options)
    model = _load_model(config)
    if cache:
        model.use_store(cache)
    if not (template_decided or config.apply_chat_template):
        _warn_about_template(model, loaded["tasks"])
    results = _simple_evaluate(config, model, manager, _top_level(loaded), tracker)
    answers: dict[str, int] = model.count_answers() if cache else {}
    if results is None:
        return None
    if cache:
        results["config"]["answers_reused_from_other_batches"] = answers["reused"]
    _name_the_model(config, results, tracker)
    results["configs"] = _without_addresses(results["configs"])
    samples: dict[str, Any] = results.pop("samples")
    files = _save(tracker, results, samples if log_samples else {})
    described = results | {"chat_template": config.apply_chat_template}
    summaries = () if config.predict_only else tuple(summarise(described, samples))
    return Run(
        summaries=summaries,
        results_file=files[0],
        sample_files=tuple(files[1:]),
        answers=answers,
    )


def _load_tasks(config: Any) -> tuple[Any, dict[str, Any]]:
    """Return lm-eval's task manager, and the tasks that it made.

    Raises:
        UsageError: A task is unknown, or named twice.
    """
    manager, names = resolve_tasks(config.tasks, config.include_path, config.metadata)
    try:
        return manager, manager.load(names)
    except ValueError as error:
        if "Duplicate task" not in str(error):
            raise
        raise UsageError(f"--tasks {','.join(names)} names a task twice: {error}") from error


def _check_flags(config: Any, cache: Path | None) -> None:
    if config.wandb_args or config.trackio_args:
        raise UsageError("--wandb_args and --trackio_args work in `lm_eval run`, not here.")
    if cache and config.model != "proteinlm-hf":
        raise UsageError(
            f"--cache works with --model proteinlm-hf, which knows its weights; got {config.model}."
        )
    if cache and config.use_cache:
        raise UsageError("--use_cache serves the answers of other models; drop it beside --cache.")


# Parameters of simple_evaluate that carry the name of the flag.
_PASSED_ON = (
    "num_fewshot", "use_cache", "limit", "samples", "check_integrity", "write_out",
    "system_instruction", "apply_chat_template", "fewshot_as_multiturn", "gen_kwargs",
    "predict_only", "confirm_run_unsafe_code", "metadata",
)  # fmt: skip
_SEEDS = ("random_seed", "numpy_random_seed", "torch_random_seed", "fewshot_random_seed")


def _sizes(config: Any) -> dict[str, Any]:
    return {name: getattr(config, name) for name in ("batch_size", "max_batch_size", "device")}


def _load_model(config: Any) -> Any:
    """Make the model.

    Raises:
        UsageError: lm-eval has no such model type.
        ProteinLMError: It has, but the model cannot be loaded.
    """
    from lm_eval.api.registry import model_registry
    from lm_eval.models import MODEL_MAPPING  # this import fills the registry

    add_models()  # also where the startup hook is off
    known: list[str] = sorted({*MODEL_MAPPING, *MODELS})
    if config.model not in model_registry:
        near = difflib.get_close_matches(str(config.model), known, n=3) or known
        raise UsageError(f"Unknown --model {config.model}. Did you mean {' or '.join(near)}?")
    try:
        return model_registry.get(config.model).create_from_arg_obj(
            config.model_args, _sizes(config)
        )
    except ImportError as error:
        hint = 'pip install "proteinlm-ext[hf]" brings transformers and torch.'
        raise ProteinLMError(
            f"--model {config.model} needs {error.name}: {error}. {hint}"
        ) from error
    except (OSError, ValueError, TypeError) as error:
        what = f"--model {config.model} --model_args {config.model_args}"
        raise ProteinLMError(f"{what} could not be loaded: {error}") from error


def _simple_evaluate(
    config: Any, model: Any, manager: Any, tasks: list[Any], tracker: Any
) -> dict[str, Any] | None:
    """Call lm-eval as its own command does."""
    import lm_eval

    caching = config.cache_requests
    return cast("Any", lm_eval).simple_evaluate(
        model=model,
        model_args=config.model_args,
        tasks=tasks,
        task_manager=manager,
        evaluation_tracker=tracker,
        log_samples=True,
        cache_requests=caching.get("cache_requests", False),
        rewrite_requests_cache=caching.get("rewrite_requests_cache", False),
        delete_requests_cache=caching.get("delete_requests_cache", False),
        **{name: getattr(config, name) for name in _PASSED_ON},
        **_sizes(config),
        **dict(zip(_SEEDS, config.seed or [None] * len(_SEEDS), strict=True)),
    )


# The model_args from which lm-eval takes a model's name.
_NAMED_BY = ("peft", "delta", "pretrained", "model", "path", "engine")


def _name_the_model(config: Any, results: dict[str, Any], tracker: Any) -> None:
    """Write what lm-eval writes when it is handed the model's name, not the model itself."""
    results["config"]["model"] = config.model
    tracker.general_config_tracker.model_source = config.model
    if not any(key in config.model_args for key in _NAMED_BY):
        # Without a name lm-eval invents one, and each run would get a folder of its own.
        tracker.general_config_tracker.model_name = config.model
        tracker.general_config_tracker.model_name_sanitized = config.model


def _warn_about_template(model: Any, tasks: Mapping[str, Any]) -> None:
    """Warn of a template that is not used, unless every task prescribes that by itself."""
    tokenizer = getattr(model, "tokenizer", None)
    metadata: list[dict[str, Any]] = [task.get_config("metadata") or {} for task in tasks.values()]
    open_to_choice = any(item.get("chat_template") is None for item in metadata)
    if open_to_choice and getattr(tokenizer, "chat_template", None):
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
    if isinstance(value, partial):
        bound = cast("partial[Any]", value)
        return [_without_addresses(part) for part in (bound.func, [*bound.args], bound.keywords)]
    if callable(value):
        named: Any = value if hasattr(value, "__qualname__") else type(value)
        return f"{named.__module__}.{named.__qualname__}"
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
    if tracker.push_results_to_hub or tracker.push_samples_to_hub:
        tracker.recreate_metadata_card()
    lost = [str(file) for file in files if not file.is_file()]
    if lost:
        raise ProteinLMError(f"Could not write {', '.join(lost)}. Is there room, and permission?")
    return files
