"""The card of a dataset: what its `manifest.json` and its Parquet files say of it."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pyarrow.parquet

from proteinlm_ext.errors import ProteinLMError
from proteinlm_hub.metadata_schema import SIZES
from proteinlm_hub.render import SCHEMA_VERSION, render
from proteinlm_hub.scan_rows import is_free

_SPLITS = ("train", "validation", "test")
_NEEDED = ("configs", "files", "name", "versions")
_BUILT = ("contamination", "entries", "inputs", "leaks", "nomenclature", "recipe")
_IMPORTED = ("not_understood", "revisions")
pq = cast("Any", pyarrow.parquet)


def collect(
    folder: Path, manifest: Mapping[str, Any] | None = None, repo: str | None = None
) -> dict[str, Any]:
    """Return the card.json of a dataset that `proteinlm data build` or `data import` made.

    Args:
        folder: Where its Parquet files are.
        manifest: What is to become its manifest.json, where that is not written yet.
        repo: Where it is published.

    Raises:
        ProteinLMError: A file is missing, broken or not as the manifest says, or a key is missing.
    """
    path = folder / "manifest.json"
    try:
        said = manifest or json.loads(path.read_text(encoding="utf-8"))
        needed = _IMPORTED if "revisions" in said else ("recipe",)
        if "recipe" in said and said["recipe"]["instructions"]:
            needed = (*needed, "inputs", "nomenclature")
        found = {key: said[key] for key in (*_NEEDED, *needed)}
        configs = [_describe(folder, name, said) for name in sorted(said["configs"])]
        if not (configs := [config for config in configs if config["splits"]]):
            raise ValueError("it holds no row")
        inputs = {(file["file"], file["sha256"]): file for file in reversed([*_inputs(said)])}
    except KeyError as error:
        raise ProteinLMError(
            f"{path} lacks {error.args[0]}. A card is made of a dataset that `proteinlm data "
            "build` or `data import` finished: run that command again."
        ) from error
    except (OSError, ValueError) as error:
        raise ProteinLMError(f"{folder} is no whole dataset: {error}") from error
    text = json.dumps(said, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    return {
        "kind": "dataset",
        "schema_version": SCHEMA_VERSION,
        "manifest_sha256": hashlib.sha256(text.encode()).hexdigest(),
        **{key: said.get(key) for key in (*_BUILT, *_IMPORTED)},
        **found,
        "lists": said.get("lists", {}),
        "repo": repo,
        "configs": configs,
        "inputs": sorted(inputs.values(), key=lambda file: (file["source"], file["file"])),
    }


def to_files(card: Mapping[str, Any]) -> dict[str, str]:
    """Return README.md of a card.json."""
    licences = Counter[str]()
    for config in card["configs"]:
        licences.update(config["licences"])
    rows = licences.total()
    context = {
        **card,
        "licences": licences,
        "free": all(map(is_free, licences)),
        "size": next(name for name, limit in SIZES.items() if rows < limit),
    }
    return {"README.md": render("dataset.md.j2", context)}


def _describe(folder: Path, name: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return columns, counts and licences of one configuration."""
    from datasets import Features

    licences, splits, features, size = Counter[str](), Counter[str](), list[Any](), 0
    for path, file in manifest["files"].items():
        if not path.startswith(f"{name}/"):
            continue
        schema = pq.read_schema(folder / path)
        column = pq.read_table(folder / path, columns=["license"])["license"].to_pylist()
        if len(column) != file["rows"]:
            raise ValueError(f"{path} has {len(column)} rows, the manifest says {file['rows']}")
        licences.update(map(str, column))
        splits[Path(path).name.split("-", 1)[0]] += len(column)
        features = cast("Any", Features.from_arrow_schema(schema))._to_yaml_list()
        size += file["bytes"]
    said = manifest["configs"][name]
    return {
        "name": name,
        "features": features,
        "splits": {split: splits[split] for split in _SPLITS if splits[split]},
        "download_size": size,
        "licences": dict(sorted(licences.items())),
        "read": said["read"],
        "left_out": said["left_out"],
        "mended": said.get("mended", {}),
    }


def _inputs(manifest: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield every file that was read: its name and sha256, the source it is of, the release."""

    def give(file: Mapping[str, Any], source: str, release: str) -> dict[str, str]:
        named = {"file": file["file"], "sha256": file["sha256"]}
        return named | {"source": source, "release": release}

    stated: str = manifest.get("recipe", {}).get("release") or "not stated"
    for file in manifest.get("inputs", []):
        newest = file.get("newest_entry")
        yield give(file, "uniprot", f"{stated}; newest entry {newest}" if newest else stated)
    for name, file in manifest.get("nomenclature", {}).items():
        yield give(file, name, file.get("release", "not stated"))
    for name, config in sorted(manifest["configs"].items()):
        if "file" in config:
            yield give(config, "released", "as below")
        for file in config.get("inputs", []):
            yield give(file, name, stated if name == "ssl_uniprot" else "by article")
