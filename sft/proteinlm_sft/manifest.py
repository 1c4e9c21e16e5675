"""What a dataset says of itself: `manifest.json`, written last, after its card.

Only names, hashes and counts: no local folder, host or time, so the same build gives the same
bytes anywhere.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proteinlm_ext import __version__
from proteinlm_ext.paths import describe_file, hash_json, write_text
from proteinlm_hub.dataset_card import collect
from proteinlm_hub.render import write_card
from proteinlm_sft.inputs import InputFile
from proteinlm_sft.recipe import Recipe

if TYPE_CHECKING:
    from proteinlm_sft.released import ImportReport

FORMAT = 1
SPLITS = ("train", "validation", "test")
LISTS = ("contamination.jsonl", "held_out.tsv.gz", "left_out.jsonl.gz")
_LIBRARIES = (
    "biopython", "datatrove", "duckdb", "isal", "lxml", "numpy", "pyarrow", "scipy", "xxhash",
)  # fmt: skip
_PATHS = ("uniprot", "enzyme", "sifts", "benchmark_data")
_TEXT_PATHS = (
    "pubmed", "pmc", "pmc_selection", "annotations", "gene_ids", "pairs", "holdout", "tokenizer",
)  # fmt: skip


def plan_digest(recipe: Recipe, inputs: Iterable[InputFile], others: Iterable[str]) -> str:
    """Return the sha256 of what decides the bytes, as far as names and sizes of inputs tell.

    Args:
        recipe: The recipe.
        inputs: All files that are read, in their order.
        others: Hashes of what else decides.
    """
    files = [(file.name, file.size) for file in inputs]
    said = [FORMAT, __version__, recipe_record(recipe), files, list(others)]
    return hash_json(said)


def recipe_record(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as JSON, with the inputs as names without folders."""
    record = recipe.model_dump(mode="json")
    for place, names in ((record, _PATHS), (record["texts"] or {}, _TEXT_PATHS)):
        for name in names:
            if value := place.get(name):
                place[name] = _name(value) if isinstance(value, str) else [*map(_name, value)]
    return record


def _name(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1]


def library_versions() -> dict[str, str]:
    """Return the versions of what the bytes depend on."""
    found = {"proteinlm-ext": __version__}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def file_record(path: Path, rows: int) -> dict[str, Any]:
    """Return rows, size in bytes and sha256 of a shard."""
    return {"rows": rows, **describe_file(path)}


def split_counts(counts: Iterable[tuple[str, str, str, int]]) -> dict[str, Any]:
    """Return, by config, the rows kept in each split and those left out by reason."""
    found: dict[str, Any] = {}
    for config, split, reason, rows in counts:
        entry = found.setdefault(config, {"read": 0, "kept": {}, "left_out": {}})
        entry["read"] += rows
        place = entry["left_out"].setdefault(reason, {}) if reason else entry["kept"]
        place[split] = place.get(split, 0) + rows
    return found


def sum_counts(reports: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Add the reading counts of all input files."""
    total: Counter[str] = Counter()
    for report in reports:
        total.update(report["counts"])
    return dict(sorted(total.items()))


def write_manifest(out: Path, manifest: dict[str, Any]) -> None:
    """Write the card, then the manifest: its presence means that the dataset is whole.

    A dataset without a row has no card. The lists beside the shards are of ids and reasons.
    """
    lists = {name: out / name for name in LISTS if (out / name).is_file()}
    manifest["lists"] = {name: describe_file(path) for name, path in lists.items()}
    if manifest["files"]:
        write_card(out, collect(out, manifest))
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False)
    write_text(out / "manifest.json", text + "\n")


def summary(manifest: Mapping[str, Any]) -> str:
    """Return what a build made and left out, for the terminal."""
    from tabulate import tabulate

    rows = [
        [config, said["read"], *(said["kept"].get(split, 0) for split in SPLITS)]
        for config, said in manifest["configs"].items()
    ]
    lines = [tabulate(rows, ["config", "rows read", *SPLITS], tablefmt="simple")]
    lines += [manifest["leaks"]] if "leaks" in manifest else []
    lines += [f"{count} {name}" for name, count in manifest.get("entries", {}).items()]
    lines += [
        f"{config}: {sum(splits.values())} left out as {reason}"
        for config, said in manifest["configs"].items()
        for reason, splits in said["left_out"].items()
    ]
    return "\n".join(lines)


def describe_import(report: "ImportReport", out: Path) -> dict[str, Any]:
    """Write card and manifest of an import, and return the manifest."""
    configs = {
        each.config: {
            "read": each.read,
            "kept": {"train": each.kept},
            "left_out": {reason: {"train": rows} for reason, rows in sorted(each.left_out.items())},
            "mended": dict(sorted(each.faults.items())),
            "file": each.file,
            "sha256": each.sha256,
        }
        for each in report.configs
    }
    shards = {
        each.config: {out / name: n for name, n in each.shards.items()} for each in report.configs
    }
    manifest = {
        "format": FORMAT,
        "name": "ProteinLMDataset (the released files, mended)",
        "revisions": dict(report.revisions),
        "not_understood": dict(report.not_understood),
        "versions": library_versions(),
        "configs": configs,
        "files": {
            str(path.relative_to(out)): file_record(path, rows)
            for named in shards.values()
            for path, rows in named.items()
        },
    }
    write_manifest(out, manifest)
    return manifest
