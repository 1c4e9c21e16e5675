"""Saved runs: what `lm_eval` or `proteinlm eval` wrote into a folder, read back and checked.

A run is a model's folder with `results_<time>.json` and `samples_<task>_<time>.jsonl`, the folder
above it, or one results file. Where a folder holds a task twice, the newest counts.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_ext.outcomes import (
    METRICS,
    Outcome,
    document_id,
    has_options,
    is_ours,
    is_rotation,
    primary_metric,
    read_outcomes,
)
from proteinlm_ext.published_scores import protocol_departures
from proteinlm_ext.samples import read_samples
from proteinlm_ext.summary import TaskSummary, summarise

_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?$")


class Key(NamedTuple):
    """What identifies a document across runs."""

    document: str
    """The question's id (with its rotation) for ours, else lm-eval's doc_hash."""
    target_hash: str
    occurrence: int
    """0 but for a document that the task holds several times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedTask:
    """One task of a saved run."""

    summary: TaskSummary
    num_fewshot: int
    prompting: dict[str, Any]
    """What else shapes the answers: chat template, system instruction, generation settings, .."""
    limited: bool
    """Whether --limit or --samples left questions out."""
    departures: tuple[str, ...]
    """Where the run departs from what the task's published protocol prescribes."""
    samples: tuple[Mapping[str, Any], ...]
    """Logged samples without the prompts' text, all filters."""
    results_file: Path

    @property
    def filter(self) -> str:
        """The first filter, which is the one to read where one must do."""
        return str(self.samples[0]["filter"])

    def outcomes(self) -> list[Outcome]:
        """Return picks and scores on the primary metric, first filter.

        Empty without options, and where acc_norm may be of other texts than the document's.
        """
        metric, doc = primary_metric(self.samples[0]["metrics"]), self.samples[0]["doc"]
        if metric is None or not has_options(doc) or (metric == "acc_norm" and not is_ours(doc)):
            return []
        scored = [s for s in self.samples if s["filter"] == self.filter and metric in s["metrics"]]
        return read_outcomes(scored, metric)

    def keyed(self, filter_name: str) -> dict[Key, Mapping[str, Any]]:
        """Return the samples of one filter by document."""
        seen: Counter[tuple[str, str]] = Counter()
        keyed: dict[Key, Mapping[str, Any]] = {}
        for sample in self.samples:
            if sample["filter"] == filter_name:
                identity = (_document(sample), str(sample["target_hash"]))
                keyed[Key(*identity, seen[identity])] = sample
                seen[identity] += 1
        return keyed


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRun:
    """A model's saved results."""

    name: str
    """How the tables call it."""
    model: str
    """lm-eval's name of the model, without the folders above it."""
    settings: dict[str, Any]
    """Versions, dtype, seeds and the like, as the newest results file states them."""
    tasks: dict[str, SavedTask]
    remarks: tuple[str, ...]


def load_runs(arguments: Sequence[str]) -> list[SavedRun]:
    """Load the runs of a command line.

    Args:
        arguments: Folders or results files; `NAME=PATH` gives a run its name in the tables.

    Raises:
        UsageError: A path is no run, or holds several, or two runs are called the same.
        ProteinLMError: A file is damaged.
    """
    runs = [load_run(path, name) for name, path in map(split_argument, arguments)]
    twice = [name for name, count in Counter(run.name for run in runs).items() if count > 1]
    if twice:
        raise UsageError(f"Two runs are called {twice[0]}. Name them: first=PATH second=PATH")
    return runs


def split_argument(argument: str) -> tuple[str | None, Path]:
    """Return name and path of `NAME=PATH`, or None and the path of one without a name."""
    name, named, path = argument.partition("=")
    if named and not Path(argument).exists():
        return name, Path(path)
    return None, Path(argument)


def load_run(path: Path, name: str | None = None, *, responses: bool = False) -> SavedRun:
    """Load one run.

    Args:
        path: As in `load_runs`.
        name: How to call it; default the model's name.
        responses: Keep what the model said (`resps`), which is long in a reasoning run.

    Raises:
        UsageError: As in `load_runs`.
        ProteinLMError: As in `load_runs`.
    """
    path = path.expanduser()
    tasks: dict[str, SavedTask] = {}
    remarks: list[str] = []
    results: dict[str, Any] = {}
    settings: list[dict[str, Any]] = []
    for file in sorted(_results_files(path), key=_stamp):
        results = _read_results(file)
        settings.append(read_settings(results))
        for task in results["configs"]:
            samples_file = file.with_name(f"samples_{task}_{_stamp(file)}.jsonl")
            if not samples_file.is_file():
                remarks.append(f"{task} of {file.name} has no samples file; run with --log_samples")
                continue
            if task in tasks:
                remarks.append(f"{task} stands in several results files; the newest counts")
            tasks[task] = _read_task(task, results, samples_file, file, responses=responses)
    if not tasks:
        raise UsageError(f"{path} holds no logged samples. Run lm_eval with --log_samples.")
    model = str(results.get("model_name") or results["config"].get("model") or path.name)
    model = Path(model).name
    last = settings[-1]
    differing = {key for other in settings for key in other if other[key] != last[key]}
    if mixed := sorted(differing - {"batch_size"}):
        remarks.append(f"its results files differ in {', '.join(mixed)}; the newest is shown")
    return SavedRun(
        name=name or model,
        model=model,
        settings=last,
        tasks=tasks,
        remarks=tuple(dict.fromkeys(remarks)),
    )


def _results_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UsageError(f"There is no run at {path}; give a folder that lm_eval wrote.")
    if here := list(path.glob("results_*.json")):
        return here
    folders = sorted({file.parent for file in path.glob("*/results_*.json")})
    if len(folders) > 1:
        raise UsageError(f"{path} holds several models; name them: {' '.join(map(str, folders))}")
    if not folders:
        raise UsageError(f"{path} holds no results_*.json; give a folder that lm_eval wrote.")
    return list(folders[0].glob("results_*.json"))


def _stamp(file: Path) -> str:
    """Return the time in a file's name, by which lm-eval joins results and samples."""
    stamp = _STAMP.search(file.stem)
    if not stamp:
        raise UsageError(f"{file} has no time in its name; is it a results file of lm-eval?")
    return stamp[0]


def _read_results(file: Path) -> dict[str, Any]:
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ProteinLMError(f"{file} is not JSON: {error}") from error
    results = cast("dict[str, Any]", content if isinstance(content, dict) else {})
    expected = ("results", "configs", "versions", "n-shot", "n-samples", "config")
    if missing := [key for key in expected if key not in results]:
        raise ProteinLMError(f"{file} is not a results file of lm-eval: it lacks {missing}.")
    return results


def _read_task(
    task: str,
    results: Mapping[str, Any],
    samples_file: Path,
    results_file: Path,
    *,
    responses: bool,
) -> SavedTask:
    with samples_file.open("rb") as lines:
        samples = tuple(read_samples(lines, samples_file, responses=responses))
    if not samples or set(samples[0]["metrics"]) <= {"bypass"}:
        raise ProteinLMError(f"{samples_file} holds no scores; was it a --predict_only run?")
    if missing := [name for name in ("results", "n-samples") if task not in results[name]]:
        raise ProteinLMError(f"{results_file} lacks {task} in {missing}.")
    counts = results["n-samples"][task]
    logged = min(Counter(sample["filter"] for sample in samples).values())
    if logged < counts["effective"]:
        raise ProteinLMError(f"{samples_file} holds {logged} of {counts['effective']} documents.")
    (summary,) = summarise(results, {task: samples})
    _check_means(summary, samples, results_file)
    return SavedTask(
        summary=summary,
        num_fewshot=int(results["n-shot"].get(task) or 0),
        prompting={
            name: results.get(name) for name in ("chat_template_sha", "system_instruction_sha")
        }
        | {"generation_kwargs": results["configs"][task].get("generation_kwargs")},
        limited=logged < counts["original"],
        departures=tuple(protocol_departures(task, results)),
        samples=samples,
        results_file=results_file,
    )


def _check_means(summary: TaskSummary, samples: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Refuse a results file whose accuracy is not the mean of its samples."""
    for score in summary.scores:
        scored = [s for s in samples if s["filter"] == score.filter and score.metric in s]
        values = [s[score.metric] for s in scored]
        if score.metric not in METRICS or not set(map(str, values)) <= {"0.0", "1.0"}:
            continue
        mean = sum(values) / len(values)
        if score.value is None or not math.isclose(score.value, mean, abs_tol=1e-6):
            raise ProteinLMError(
                f"{file}: {summary.task} has {score.metric} {score.value}, but the mean of its "
                f"samples is {mean:.6f}. The two files are not of one run."
            )


def _document(sample: Mapping[str, Any]) -> str:
    name, doc = document_id(sample), sample["doc"]
    return f"{name}-{doc['rotation']}" if is_rotation(doc) else name


def read_settings(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return versions, dtype, seeds and the like, as a results file states them."""
    config = results["config"]
    named = ("lm_eval_version", "transformers_version", "chat_template_sha")
    chosen = ("model", "model_dtype", "model_revision", "model_sha", "model_num_parameters",
              "batch_size", "gen_kwargs", "random_seed", "numpy_seed", "torch_seed",
              "fewshot_seed")  # fmt: skip
    return {key: results.get(key) for key in named} | {key: config.get(key) for key in chosen}
