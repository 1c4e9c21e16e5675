"""What a card says about the files beside it: configurations, counts, adapter, evaluation."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import pyarrow
import pyarrow.parquet

from proteinlm_hub.eval_schema import EvalYaml
from proteinlm_hub.metadata_schema import SIZES, DatasetCard, Info, ModelCard

pa, pq = cast("Any", pyarrow), cast("Any", pyarrow.parquet)


class Split(NamedTuple):
    """The files of one split, and what they hold."""

    config: str
    name: str
    files: tuple[Path, ...]
    rows: int
    schema: Any  # pyarrow.Schema; pyarrow ships no types


def check_adapter(card: ModelCard, folder: Path) -> list[str]:
    """Return what is wrong between a model's card and its folder."""
    config = folder / "adapter_config.json"
    if config.is_file() != (card.base_model_relation == "adapter"):
        there = "is there" if config.is_file() else "is missing"
        return [
            f"README.md: base_model_relation is {card.base_model_relation!r}, "
            f"but adapter_config.json {there}"
        ]
    if not config.is_file():
        return []
    try:
        settings: Any = json.loads(config.read_text("utf-8"))
    except (OSError, ValueError) as error:
        return [f"adapter_config.json cannot be read: {error}"]
    name = "base_model_name_or_path"
    base = cast("Any", settings).get(name) if isinstance(settings, dict) else None
    if base in card.base_model:
        return []
    return [
        f"adapter_config.json: its base model is {base!r}, README.md's {card.base_model}; "
        "`proteinlm train export --base OWNER/NAME` writes it"
    ]


def list_splits(card: DatasetCard, folder: Path) -> tuple[list[Split], list[str]]:
    """Return the splits that the card's configurations find in a folder, and what is wrong."""
    splits: list[Split] = []
    faults: list[str] = []
    for config in card.configs:
        owners: dict[Path, str] = {}
        for split in config.data_files:
            where = f"README.md: configuration {config.config_name}, split {split.split}"
            found = {pattern: list(folder.glob(pattern)) for pattern in split.path}
            files = sorted({file for matches in found.values() for file in matches})
            faults += [
                f"{where}: {pattern!r} matches no file"
                for pattern, matches in found.items()
                if not matches
            ]
            faults += [
                f"{where}: {file.name} is in split {owners[file]} too"
                for file in files
                if file in owners
            ]
            owners |= dict.fromkeys(files, split.split)
            try:
                rows = sum(pq.read_metadata(file).num_rows for file in files)
                schema = pq.read_schema(files[0]) if files else pa.schema([])
            except (pa.ArrowInvalid, OSError) as error:
                faults.append(f"{where}: no Parquet: {error}")
                continue
            splits.append(Split(config.config_name, split.split, tuple(files), rows, schema))
    return splits, faults


def check_counts(card: DatasetCard, splits: list[Split]) -> list[str]:
    """Return where dataset_info and size_categories differ from the Parquet files."""
    faults: list[str] = []
    names = {config.config_name for config in card.configs}
    for info in card.dataset_info:
        where = f"README.md: dataset_info of {info.config_name}"
        if info.config_name not in names:
            faults.append(f"{where}: there is no such configuration")
            continue
        of_config = [split for split in splits if split.config == info.config_name]
        faults += [f"{where}: {fault}" for fault in _check_info(info, of_config)]
    rows = sum({file: split.rows for split in splits for file in split.files[:1]}.values())
    size = next((name for name, limit in SIZES.items() if rows < limit), None)
    if splits and card.size_categories and card.size_categories != [size]:
        faults.append(
            f"README.md: size_categories is {card.size_categories}; {rows} rows are {size}"
        )
    return faults


def _check_info(info: Info, splits: list[Split]) -> Iterator[str]:
    rows = {split.name: split.rows for split in splits}
    stated = {split.name: split.num_examples for split in info.splits}
    if stated != rows:
        yield f"num_examples is {stated}, the files have {rows}"
    columns = [feature.get("name") for feature in info.features]
    for split in splits:
        if columns and columns != split.schema.names:
            yield f"features are {columns}, split {split.name} has {split.schema.names}"
    size = sum(file.stat().st_size for split in splits for file in split.files)
    if info.download_size not in (None, size):
        yield f"download_size is {info.download_size}, the files have {size} bytes"


def check_columns(evaluation: EvalYaml, splits: list[Split]) -> list[str]:
    """Return the columns that `eval.yaml` reads and the benchmark's files do not have."""
    faults: list[str] = []
    for task in evaluation.tasks:
        where = f"eval.yaml: task {task.id}"
        schema = next(
            (s.schema for s in splits if (s.config, s.name) == (task.config, task.split)), None
        )
        if schema is None:
            faults.append(f"{where}: no configuration {task.config!r} with a split {task.split!r}")
            continue
        spec = task.field_spec
        columns = [spec.input, spec.target, *spec.choices, *spec.metadata]
        faults += [f"{where}: no column {name!r}" for name in columns if name not in schema.names]
        if spec.target in schema.names and not pa.types.is_integer(schema.field(spec.target).type):
            # inspect-ai turns integers alone into the letters that its `choice` scorer compares.
            kind = schema.field(spec.target).type
            faults.append(f"{where}: the column {spec.target!r} is {kind}, not an integer (from 0)")
    return faults
