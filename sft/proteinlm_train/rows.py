"""The rows of a recipe's sources: which files, which rows, how often, and as which text."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_ext.paths import recipes_dir
from proteinlm_sft.templates import prompt_completion
from proteinlm_train.recipe import SMOKE_ROWS, Source, is_hub_id

FORMATS = {
    "instruction": ("instruction", "input", "output"),
    "prompt_completion": ("prompt", "completion"),
    "messages": ("messages",),
    "text": ("text",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFile:
    """One file of one source and config, Parquet or JSON Lines."""

    source: int
    config: str
    path: Path
    split: str
    rows: int
    format: str
    sha256: str


def list_files(source: Source, number: int, split: str) -> list[RowFile]:
    """Return the files that hold a split of a source, in a stable order.

    A folder is read as `datasets.load_dataset` reads it (its card, or names such as
    train-*.parquet). A single file with a `split` column is split by it, without one it is train.

    Raises:
        UsageError: There is no such folder, file, config, or the columns fit no format.
        ProteinLMError: A file cannot be read.
    """
    found: list[RowFile] = []
    for config in source.configs or ("",):
        for path in _paths(source, config, split):
            columns, count = _describe(path, split)
            if not count:
                continue
            found.append(
                RowFile(
                    source=number, config=config, path=path, split=split, rows=count,
                    format=_format(source, columns, path), sha256=_sha256(path),
                )
            )  # fmt: skip
    return found


def read_rows(file: RowFile, numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Give the rows with these numbers (ascending), with an `id` for messages and records."""
    columns = [*FORMATS[file.format], "id"]
    if file.path.suffix != ".parquet":
        table = _json_rows(file.path, file.split).take(pa.array(numbers, pa.int64()))
        yield from _identified(table, columns, file, numbers)
        return
    wanted = np.asarray(numbers)
    start = 0
    parquet = pq.ParquetFile(file.path)
    present = [name for name in columns if name in parquet.schema_arrow.names]
    for batch in parquet.iter_batches(batch_size=4096, columns=present):
        inside = wanted[(wanted >= start) & (wanted < start + batch.num_rows)]
        table = pa.Table.from_batches([batch]).take(pa.array(inside - start, pa.int64()))
        start += batch.num_rows
        yield from _identified(table, columns, file, inside.tolist())
        if not len(wanted) or start > wanted[-1]:
            return


def _identified(
    table: pa.Table, columns: Sequence[str], file: RowFile, numbers: Sequence[int]
) -> Iterator[dict[str, Any]]:
    rows = table.select([name for name in columns if name in table.column_names]).to_pylist()
    for number, row in zip(numbers, rows, strict=True):
        row.setdefault("id", f"{file.path.name}:{number}")
        yield row


def to_conversation(row: Mapping[str, Any], form: str) -> tuple[list[Any], list[Any]]:
    """Return prompt and completion as lists of messages.

    Raises:
        ProteinLMError: The last message is not the assistant's.
    """
    if form == "instruction":
        parts = prompt_completion(row)
        return parts["prompt"], parts["completion"]
    if form == "prompt_completion":
        prompt, completion = row["prompt"], row["completion"]
        if isinstance(prompt, str):
            prompt = [{"role": "user", "content": prompt}]
        if isinstance(completion, str):
            completion = [{"role": "assistant", "content": completion}]
        return list(prompt), list(completion)
    messages: list[Any] = row["messages"]
    if not messages or messages[-1]["role"] != "assistant":
        raise ProteinLMError(f"Row {row['id']}: the last message must be the assistant's.")
    return messages[:-1], messages[-1:]


def draw_copies(source: Source, rows: int, seed: int, number: int) -> Any:
    """Return how often each row of a source is taken: an array of counts, drawn with the seed.

    Args:
        source: Its weight and max_rows decide.
        rows: How many it has.
        seed: `data.seed`.
        number: Which source of the recipe it is: equal sources draw differently.
    """
    draw = np.random.default_rng([seed, number])
    copies = np.zeros(rows, dtype=np.int16)
    chosen = np.sort(draw.permutation(rows)[: source.max_rows or rows])
    whole = int(source.weight)
    copies[chosen] = whole
    extra = round((source.weight - whole) * len(chosen))
    copies[draw.permutation(chosen)[:extra]] += 1
    return copies


def read_dataset_manifest(source: Source) -> dict[str, Any]:
    """Return the manifest of the dataset of a source; {} where it has none.

    Raises:
        ProteinLMError: It cannot be read.
    """
    if source.path == SMOKE_ROWS:
        return {}
    folder = _snapshot(source) if is_hub_id(source.path) else Path(source.path).expanduser()
    file = folder / "manifest.json"
    if not file.is_file():
        return {}
    try:
        said: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProteinLMError(f"{file} cannot be read: {error}") from error
    return cast("dict[str, Any]", said)


def _paths(source: Source, config: str, split: str) -> list[Path]:
    if source.path == SMOKE_ROWS:
        return [recipes_dir("train") / "smoke_rows.jsonl"]
    path = _snapshot(source) if is_hub_id(source.path) else Path(source.path).expanduser()
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UsageError(
            f"data.sources: {source.path} does not exist. Name a dataset folder (`proteinlm data "
            f"build`), a .parquet or .jsonl file, an id on the Hub with its revision, or "
            f"{SMOKE_ROWS}."
        )
    return [Path(file) for file in _data_files(path, config, source.path).get(split, ())]


def _data_files(folder: Path, config: str, name: str) -> dict[str, list[str]]:
    from datasets import load_dataset_builder

    try:
        builder: Any = load_dataset_builder(str(folder), config or None)
    except (OSError, ValueError) as error:
        raise UsageError(f"data.sources: {name} cannot be read: {error}") from error
    return {
        str(split): sorted(map(str, files)) for split, files in builder.config.data_files.items()
    }


def _snapshot(source: Source) -> Path:
    from huggingface_hub import snapshot_download

    return Path(
        snapshot_download(
            source.path, repo_type="dataset", revision=source.revision,
            allow_patterns=["README.md", "manifest.json", "*.parquet", "*.jsonl", "**/*.parquet",
                            "**/*.jsonl"],
        )
    )  # fmt: skip


def _describe(path: Path, split: str) -> tuple[list[str], int]:
    """Return the columns of a file, and how many rows of a split it has."""
    try:
        if path.suffix == ".parquet":
            parquet = pq.ParquetFile(path)
            return parquet.schema_arrow.names, parquet.metadata.num_rows
        table = _json_rows(path, split)
    except (OSError, pa.ArrowInvalid) as error:
        raise ProteinLMError(f"{path} cannot be read: {error}") from error
    return table.column_names, table.num_rows


@cache
def _json_rows(path: Path, split: str) -> pa.Table:
    import pyarrow.json as pj

    table = pj.read_json(path)
    if "split" in table.column_names:
        return table.filter(pc.equal(table["split"], split))
    return table if split == "train" else table.slice(0, 0)


def _format(source: Source, columns: Sequence[str], path: Path) -> str:
    names = [source.format] if source.format != "auto" else list(FORMATS)
    for name in names:
        if set(FORMATS[name]) <= set(columns):
            return name
    wanted = "; ".join(" + ".join(FORMATS[name]) for name in names)
    raise UsageError(f"{path.name} has the columns {', '.join(columns)}; wanted: {wanted}.")


def _sha256(path: Path) -> str:
    with path.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()
