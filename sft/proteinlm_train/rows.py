"""The rows of a recipe's sources: which files, which rows, how often, and as which text."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.json
import pyarrow.parquet

from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_ext.paths import hash_file, recipes_dir
from proteinlm_sft.templates import prompt_completion
from proteinlm_train.recipe import SMOKE_ROWS, Source, is_hub_id

pa, pc, pq = cast("Any", pyarrow), cast("Any", pyarrow.compute), cast("Any", pyarrow.parquet)
pj = cast("Any", pyarrow.json)
FORMATS = {
    "instruction": ("instruction", "input", "output"),
    "prompt_completion": ("prompt", "completion"),
    "messages": ("messages",),
    "text": ("text",),
}
_BLOCK = 32 << 20
"""Bytes of JSON read at a time; no row may be larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFile:
    """One file of one source and config, Parquet or JSON Lines.

    `alone` is a source that is one file: its rows say of which split they are, if any do.
    """

    source: int
    config: str
    path: Path
    split: str
    rows: int
    format: str
    sha256: str
    alone: bool


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
        paths, alone = _paths(source, config, split)
        for path in paths:
            digest = hash_file(path)
            columns, count = _describe(path, split if alone else None, digest)
            if not count:
                continue
            found.append(
                RowFile(
                    source=number, config=config, path=path, split=split, rows=count,
                    format=_format(source, columns, path), sha256=digest, alone=alone,
                )
            )  # fmt: skip
    return found


def read_rows(file: RowFile, numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Give the rows with these numbers (ascending), with an `id` for messages and records."""
    columns = [*FORMATS[file.format], "id"]
    if file.alone or file.path.suffix != ".parquet":
        table = _load(file.path, file.split if file.alone else None, file.sha256)
        yield from _identified(table.take(pa.array(numbers, pa.int64())), columns, file, numbers)
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
    table: Any, columns: Sequence[str], file: RowFile, numbers: Sequence[int]
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
        return _said(prompt), _said(completion)
    messages: list[Any] = _said(row["messages"] or [])
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise ProteinLMError(
            f"Row {row['id']}: the last of at least two messages must be the assistant's."
        )
    return messages[:-1], messages[-1:]


def _said(messages: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return messages without the keys that Arrow fills in because other rows have them."""
    return [
        {name: value for name, value in message.items() if value is not None}
        for message in messages
    ]


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


def _paths(source: Source, config: str, split: str) -> tuple[list[Path], bool]:
    """Return the files of a split, and whether the source is one file."""
    if source.path == SMOKE_ROWS:
        return [recipes_dir("train") / "smoke_rows.jsonl"], True
    path = _snapshot(source) if is_hub_id(source.path) else Path(source.path).expanduser()
    if path.is_file():
        return [path], True
    if not path.is_dir():
        raise UsageError(
            f"data.sources: {source.path} does not exist. Name a dataset folder (`proteinlm data "
            f"build`), a .parquet or .jsonl file, an id on the Hub with its revision, or "
            f"{SMOKE_ROWS}."
        )
    return [Path(file) for file in _data_files(path, config, source.path).get(split, ())], False


def _data_files(folder: Path, config: str, name: str) -> dict[str, list[str]]:
    import datasets

    try:
        builder: Any = cast("Any", datasets).load_dataset_builder(str(folder), config or None)
    except (OSError, ValueError) as error:
        raise UsageError(f"data.sources: {name} cannot be read: {error}") from error
    return {
        str(split): sorted(map(str, files)) for split, files in builder.config.data_files.items()
    }


def _snapshot(source: Source) -> Path:
    import huggingface_hub

    download: Any = cast("Any", huggingface_hub).snapshot_download
    try:
        return Path(
            download(
                source.path,
                repo_type="dataset",
                revision=source.revision,
                allow_patterns=["README.md", "manifest.json", "*.parquet", "*.jsonl"],
            )
        )
    except OSError as error:  # huggingface_hub's errors are of this family
        raise ProteinLMError(
            f"The dataset {source.path} cannot be fetched from the Hub: {error}"
        ) from error


def _describe(path: Path, split: str | None, digest: str) -> tuple[list[str], int]:
    """Return the columns of a file, and how many of its rows count."""
    try:
        if path.suffix == ".parquet" and split is None:
            parquet = pq.ParquetFile(path)
            return parquet.schema_arrow.names, parquet.metadata.num_rows
        table = _load(path, split, digest)
    except (OSError, pa.ArrowInvalid) as error:
        raise ProteinLMError(f"{path} cannot be read: {error}") from error
    return table.column_names, table.num_rows


@lru_cache(maxsize=2)
def _load(path: Path, split: str | None, digest: str) -> Any:
    """Return a file, or its rows of a split; the digest makes a changed file another one."""
    del digest
    if path.suffix == ".parquet":
        table = pq.read_table(path)
    else:
        table = pj.read_json(path, pj.ReadOptions(block_size=_BLOCK))
    if split is None:
        return table
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
