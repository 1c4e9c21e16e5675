"""What a model's card is made of: the record of its run, its evaluations, its data and files.

Weights, loss curve and data must have the hashes that the record tells. The record has no folder,
host or user in it; of the evaluations aggregates and settings are taken, and names of folders.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, cast

from proteinlm_ext import __version__
from proteinlm_ext.benchmark import HUB_REPO, HUB_REVISION, HUB_SHA256
from proteinlm_ext.comparison import compare
from proteinlm_ext.comparison_tables import comparison_tables
from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_ext.runs import SavedRun, SavedTask, load_runs, read_settings
from proteinlm_ext.summary_text import describe_protocol
from proteinlm_ext.tables import span, to_data
from proteinlm_hub import dataset_card
from proteinlm_hub.render import SCHEMA_VERSION
from proteinlm_train.record import hash_files, list_artefacts, public_name, read_record

RECORD, LOG, CURVE = "training_run.json", "log.jsonl", "loss.svg"
_RUN = ("base_model", "code", "data", "decontamination", "epochs", "hardware", "losses", "name",
        "packing", "recipe", "sessions", "split", "steps", "tokens", "versions")  # fmt: skip
_WEIGHTS = ("**/*.safetensors", "**/*.bin", "**/*.gguf")
_GENERATED = {"README.md", "card.json", "manifest.json", CURVE}
# What `--metadata` may say to tasks of ours.
_METADATA = ("data", "truncated", "sft_data", "sft_split", "residues")
ALPHA = 0.05
_TABLES = ("Scores", "Differences", "Suites", "Published")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class Words(NamedTuple):
    """What a command line says and no file does."""

    repo: str | None = None
    base: str | None = None
    author: str | None = None
    languages: tuple[str, ...] = ("en",)
    baseline: str | None = None
    subject: str | None = None
    data_license: str | None = None


def collect(
    folder: Path, run: Path, results: Sequence[str], data: Sequence[Path], words: Words
) -> dict[str, Any]:
    """Return the card.json of a model.

    Args:
        folder: The model as it is to be published: an adapter, or a whole model.
        run: The folder of the run that trained it.
        results: Saved runs of lm-eval, `NAME=DIR`: the baseline, the model, then others.
        data: The datasets that it was trained on, as `proteinlm data` built them.
        words: Names that no file holds.

    Raises:
        UsageError: The command line lacks something, or an evaluation was limited.
        ProteinLMError: A source is missing, unfinished, or not of this model.
    """
    record = read_record(run) or {}
    if record.get("status") != "finished":
        raise ProteinLMError(f"{run / RECORD}: status {record.get('status')!r}, not 'finished'.")
    try:
        exported = record.get("exports", {}).values()
        made = [record["artefacts"], *(each["files"] for each in exported)]
        known = {file["sha256"] for files in made for file in files.values()}
        _require_known(folder, known, "Publish the run's final/, or what `train export` made of it")
        sources = record["data"]["sources"]
        for source in sources:
            del source["train"]["longest"]  # ids of rows
        return {
            "kind": "model",
            "schema_version": SCHEMA_VERSION,
            "generator": f"proteinlm-ext {__version__}",
            "name": words.repo.split("/")[-1] if words.repo else record["name"],
            "repo": words.repo or record["name"],
            "author": words.author,
            "languages": list(words.languages),
            "base": _base(words.base or record["base_model"]["name"], record),
            "relation": "adapter" if (folder / "adapter_config.json").is_file() else "finetune",
            "run": {key: record[key] for key in _RUN},
            "hub_datasets": sorted({s["path"] for s in sources if _HUB_ID.fullmatch(s["path"])}),
            **_data(sources, data, words.data_license),
            "evaluation": _evaluate(results, known, words),
            "files": list_artefacts(folder, _names(folder)),
            "inputs": _inputs(run, record["artefacts"]),
        }
    except KeyError as error:
        raise ProteinLMError(f"{run / RECORD} lacks {error}, or a results file.") from error


def _names(folder: Path) -> list[str]:
    found = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    return sorted(found - _GENERATED)


def _require_known(folder: Path, known: set[str], advice: str) -> None:
    """Refuse weights that the run did not make, and a folder without any."""
    found = hash_files(folder, _WEIGHTS)
    if not found:
        raise ProteinLMError(f"{folder} holds no weights. {advice}.")
    if strange := [name for name in found if found[name] not in known]:
        raise ProteinLMError(f"{folder / strange[0]} is not of this run. {advice}.")


def _base(name: str, record: Mapping[str, Any]) -> str:
    if not _HUB_ID.fullmatch(name):
        raise UsageError(f"The base model {name!r} is no id on the Hub: add --base OWNER/NAME.")
    if not record["base_model"]["license"]:
        raise ProteinLMError(f"{RECORD} lacks the licence of the base: set model.license.")
    return name


def _inputs(run: Path, artefacts: Mapping[str, Any]) -> dict[str, str]:
    found = hash_files(run, (RECORD, LOG, CURVE))
    for name in (LOG, CURVE):
        if found.get(name) != artefacts[name]["sha256"]:
            raise ProteinLMError(f"{run / name} is missing, or not the file of {RECORD}.")
    return found


def _data(sources: Sequence[Any], folders: Sequence[Path], own: str | None) -> dict[str, Any]:
    """Return what the datasets say of themselves, and the licences of each file trained on."""
    built = [dataset_card.collect(folder) for folder in folders]
    known = {
        file["sha256"]: sorted(config["licences"])
        for each in built
        for config in each["configs"]
        for name, file in each["files"].items()
        if name.startswith(f"{config['name']}/")
    }
    for source in sources:
        rest = {"smoke": ["Apache-2.0"]}.get(source["path"])  # invented rows of this package
        rest = ["see its card"] if _HUB_ID.fullmatch(source["path"]) else rest or [own]
        for file in source["files"]:
            if None in (licences := known.get(file["sha256"], rest)):
                raise ProteinLMError(
                    f"No dataset of --data has {file['name']} of {source['path']} "
                    f"(sha256 {file['sha256'][:12]}). Name its folder with --data, or the licence "
                    "of your own rows with --data_license."
                )
            known[file["sha256"]] = licences
    trained = [file for source in sources for file in source["files"]]
    unread = {c["name"] for each in built for c in each["configs"] if c["name"].startswith("ssl_")}
    unread -= {file["config"] for file in trained}
    return {
        "licences": {file["sha256"]: known[file["sha256"]] for file in trained},
        "datasets": [
            {key: each[key] for key in ("manifest_sha256", "name", "recipe")}
            | {"inputs": [file for file in each["inputs"] if file["source"] not in unread]}
            for each in built
        ],
    }


def _evaluate(results: Sequence[str], known: set[str], words: Words) -> dict[str, Any]:
    found = compare(load_runs(results), words.baseline)
    others = {run.name: run for run in found.runs if run.name != found.baseline}
    subject = others.get(words.subject or next(iter(others), ""))
    if subject is None:
        raise UsageError("--results needs a baseline and the model: base=DIR tuned=DIR.")
    given = _arguments(_read(next(iter(subject.tasks.values()))))
    place = Path(given.get("peft") or given.get("pretrained", ""))
    verified = "pretrained" in given and place.is_dir()  # lm-eval notes no hash of the weights
    if verified:
        _require_known(place, known, f"Name the run of the model itself; {subject.name!r} is not")
    tables = [t for t in comparison_tables(found) if t.title.startswith(_TABLES)]
    mine = [c for c in found.contrasts if c.run == subject.name]
    return {
        "baseline": found.baseline,
        "subject": subject.name,
        "verified": verified,
        "runs": {run.name: _evaluations(run) for run in found.runs},
        "tables": to_data(tables),
        "changes": to_data([c for c in mine if c.adjusted_p is not None and c.adjusted_p < ALPHA]),
        "on_hub": [*_on_hub(subject)],
    }


def _read(task: SavedTask) -> dict[str, Any]:
    return json.loads(task.results_file.read_text(encoding="utf-8"))


def _arguments(results: Mapping[str, Any]) -> dict[str, str]:
    given: Any = results["config"].get("model_args") or {}
    if isinstance(given, str):
        given = {key: value for key, _, value in (p.partition("=") for p in given.split(","))}
    return {key: str(value) for key, value in sorted(cast("dict[str, Any]", given).items())}


def _evaluations(run: SavedRun) -> list[dict[str, Any]]:
    """Return how a run was made, results file by results file; of folders the names."""
    by_file: dict[Path, dict[str, SavedTask]] = {}
    for name, task in run.tasks.items():
        by_file.setdefault(task.results_file, {})[name] = task
    return [_evaluation(tasks) for _, tasks in sorted(by_file.items())]


def _evaluation(tasks: Mapping[str, SavedTask]) -> dict[str, Any]:
    said = _read(next(iter(tasks.values())))
    given: list[dict[str, Any]] = [said["configs"][name].get("metadata") or {} for name in tasks]
    return read_settings(said) | {
        "arguments": {key: public_name(value) for key, value in _arguments(said).items()},
        "metadata": {
            key: public_name(str(metadata[key]))
            for metadata in given
            for key in _METADATA
            if key in metadata
        },
        "date": _date(said),
        "tasks": {
            name: {
                "version": task.summary.version,
                "protocol": task.summary.protocol,
                "hash": said.get("task_hashes", {}).get(name),
                "fewshot": task.num_fewshot,
                "system": task.prompting["system_instruction_sha"],
                "data": task.summary.provenance.get("sha256"),
                "invalid": task.summary.invalid_rates,
                "results": hash_files(task.results_file.parent, [task.results_file.name]),
            }
            for name, task in tasks.items()
        },
    }


def _date(results: Mapping[str, Any]) -> str:
    return datetime.fromtimestamp(results["date"], UTC).date().isoformat()


def _on_hub(run: SavedRun) -> Iterator[dict[str, Any]]:
    """Yield the accuracies on questions of which it is known where they are on the Hub."""
    for name, task in run.tasks.items():
        results = _read(task)
        data, config = task.summary.provenance, results["configs"][name]
        place = config.get("dataset_path"), config.get("dataset_name"), config.get("test_split")
        revision = cast("Any", config.get("dataset_kwargs") or {}).get("revision")
        if data.get("sha256") == HUB_SHA256 and data["complete"]:
            place, revision = (HUB_REPO, "evaluation", "train"), HUB_REVISION
        elif data or not _HUB_ID.fullmatch(str(place[0])):
            continue
        for score in task.summary.scores:
            if score.value is None or not score.metric.startswith("acc"):
                continue
            settings = (
                f"v{task.summary.version}", describe_protocol(task.summary, score),
                f"n {score.num_items}", f"95% interval {span(score.interval)}",
                f"lm-eval {results['lm_eval_version']}",
            )  # fmt: skip
            yield {
                "dataset": place[0], "config": place[1] or "default",
                "split": place[2], "revision": revision, "task": name, "date": _date(results),
                "metric": score.label, "percent": round(100 * score.value, 4),
                "settings": ", ".join(settings),
            }  # fmt: skip
