"""`training_run.json`: what was trained, on what, with what, and what came of it.

Written whole at the start, at every save and at the end, so that a killed run has one too. No
folder, host or user of the machine is in it; models and datasets go by their names.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import yaml

from proteinlm_ext import __version__
from proteinlm_ext.errors import ProteinLMError
from proteinlm_ext.paths import describe_file, hash_file, write_text
from proteinlm_train.recipe import Recipe, is_hub_id

NAME = "training_run.json"
SCHEMA_VERSION = 1
_LIBRARIES = (
    "torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers", "numpy",
)  # fmt: skip


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the record of a run's folder, or None where there is none.

    Raises:
        ProteinLMError: It cannot be read, or another version wrote it.
    """
    file = folder / NAME
    if not file.is_file():
        return None
    try:
        found: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProteinLMError(f"{file} cannot be read: {error}") from error
    if not isinstance(found, dict) or cast("Any", found).get("schema_version") != SCHEMA_VERSION:
        raise ProteinLMError(
            f"{file} has no schema_version {SCHEMA_VERSION}; it is no record of ours."
        )
    return cast("dict[str, Any]", found)


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record, whole or not at all."""
    text = json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_text(folder / NAME, text + "\n")


def describe_recipe(recipe: Recipe, changes: Sequence[str]) -> dict[str, Any]:
    """Return the settings with folders reduced to their names, the hash, and what --set changed."""
    settings = recipe.model_dump(mode="json", by_alias=True)
    settings["model"]["path"] = public_name(settings["model"]["path"])
    settings["model"]["chat_template"] = _last(settings["model"]["chat_template"])
    for source in settings["data"]["sources"]:
        source["path"] = public_name(source["path"])
    settings["run"]["output_dir"] = _last(settings["run"]["output_dir"])
    settings["trainer_overrides"] = _without_folders(settings["trainer_overrides"])
    return {
        "name": recipe.name,
        "sha256": recipe.sha256,
        "settings": settings,
        "changes": [_describe_change(change) for change in changes],
    }


def public_name(path: str) -> str:
    """Return a Hub id or one of our names as it is, and of a folder or file its last part."""
    return path if is_hub_id(path) or "/" not in path else Path(path).name


def describe_code(package: Path = Path(__file__).parent) -> dict[str, Any]:
    """Return the version, a hash of the package's source, and the commit in a checkout of it."""
    digest = hashlib.sha256()
    for file in sorted(package.glob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    # An installed copy may lie in the repository of something else.
    ours = _git(package, "ls-files", "--error-unmatch", "__init__.py")
    commit = _git(package, "rev-parse", "HEAD") if ours else None
    return {
        "version": __version__,
        "sha256": digest.hexdigest(),
        "commit": commit,
        "dirty": bool(_git(package, "status", "--porcelain", "--untracked-files=no"))
        if commit
        else None,
    }


def library_versions() -> dict[str, str]:
    """Return the versions of what trains."""
    found = {"python": sys.version.split()[0]}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def hash_files(folder: Path, patterns: Sequence[str]) -> dict[str, str]:
    """Return the sha256 of the files of a folder that match, by name."""
    found = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in sorted(found)}


def list_artefacts(folder: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return size and sha256 of files, and of all files in folders, of a run."""
    files = [
        file
        for name in names
        for file in ([folder / name] if (folder / name).is_file() else (folder / name).rglob("*"))
        if file.is_file()
    ]
    return {file.relative_to(folder).as_posix(): describe_file(file) for file in sorted(files)}


def summarise_losses(log: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return first, last and recent training loss, and validation before, best and last.

    Args:
        log: Entries of `step_log.read_log`, by step.
    """
    train = [(entry["step"], entry["loss"]) for entry in log if "loss" in entry]
    held_out = [(entry["step"], entry["eval_loss"]) for entry in log if "eval_loss" in entry]
    recent = [loss for _, loss in train[-10:]]
    return {
        "train": {
            "first": _point(train[:1]),
            "last": _point(train[-1:]),
            "mean_of_last_10_logged": sum(recent) / len(recent) if recent else None,
        },
        "validation": {
            "before": _point([point for point in held_out[:1] if point[0] == 0]),
            "best": _point(sorted(held_out, key=lambda point: (point[1], point[0]))[:1]),
            "last": _point(held_out[-1:]),
        },
    }


def now() -> str:
    """Return the time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _point(points: Sequence[tuple[int, float]]) -> dict[str, Any] | None:
    return {"step": points[0][0], "loss": points[0][1]} if points else None


def _last(path: str | None) -> str | None:
    return Path(path).name if path else None


def _describe_change(change: str) -> str:
    """Return a change with its folders reduced to names, as it was spelled if there are none."""
    key, _, text = change.partition("=")
    value = yaml.safe_load(text)
    public = _without_folders(value)
    if public == value:
        return change
    return f"{key}={json.dumps(public, ensure_ascii=False, default=str)}"


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        named = cast("dict[str, Any]", value)
        return {name: _without_folders(each) for name, each in named.items()}
    if isinstance(value, list):
        return [_without_folders(each) for each in cast("list[Any]", value)]
    return public_name(value) if isinstance(value, str) else value


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:  # no git here
        return None
    return done.stdout.strip() if done.returncode == 0 else None
