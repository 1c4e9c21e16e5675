"""Packed rows on disk: Arrow files that training maps into memory, three bytes a token.

A row of a shard is one packed sequence (`tokens`, as in `encoding`) with its number (`row`); the
documents in it, in order, are in a Parquet file beside the shard.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow
import pyarrow.parquet

from proteinlm_ext.paths import hash_file
from proteinlm_train.encoding import (
    CONTEXT,
    START,
    decode,
    document_lengths,
    from_bytes,
    to_bytes,
)
from proteinlm_train.tokens import Document

pa, pq = cast("Any", pyarrow), cast("Any", pyarrow.parquet)
_ROW_BITS = 32
_SCHEMA = pa.schema([("tokens", pa.binary()), ("row", pa.int64())])


class ShardCounts(NamedTuple):
    """What a shard holds; `squared_lengths` is the sum over documents, for attention's FLOPs."""

    rows: int
    documents: int
    tokens: int
    labels: int
    squared_lengths: int
    sha256: str


def write_shard(
    path: Path, number: int, documents: Sequence[Document], copies: Sequence[int], *,
    length: int, packing: str,
) -> ShardCounts:  # fmt: skip
    """Pack documents and write them; a document with several copies is packed in several passes.

    Args:
        path: The Arrow file; it and its documents file appear when they are whole.
        number: Of the shard; row numbers begin at number * 2**32.
        documents: In the order of the source.
        copies: How often each is taken, at least once.
        length: Of a packed row, in tokens.
        packing: A strategy of trl.pack_dataset, or none.
    """
    rows: list[tuple[Any, list[int]]] = []
    for turn in range(max(copies, default=0)):
        chosen = [n for n, count in enumerate(copies) if count > turn]
        rows += _pack(documents, chosen, length, packing)
    first = number << _ROW_BITS
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_stream(sink, _SCHEMA) as writer:
        for start in range(0, len(rows), 256):
            packed = [to_bytes(tokens).tobytes() for tokens, _ in rows[start : start + 256]]
            numbers = range(first + start, first + start + len(packed))
            columns = [pa.array(packed, pa.binary()), pa.array(numbers, pa.int64())]
            writer.write_batch(pa.record_batch(columns, schema=_SCHEMA))
    owners = [owner for _, owned in rows for owner in owned]
    _write_documents(documents_file(path), first, rows, documents)
    digest = hash_file(temporary)
    temporary.replace(path)
    lengths = [document_lengths(tokens) for tokens, _ in rows]
    return ShardCounts(
        rows=len(rows),
        documents=len(owners),
        tokens=int(sum(length.sum() for length in lengths)),
        # The first token of a document has nothing before it to be predicted from.
        labels=sum(int(np.sum((tokens & (CONTEXT | START)) == 0)) for tokens, _ in rows),
        squared_lengths=int(sum((length**2).sum() for length in lengths)),
        sha256=digest,
    )


def load_rows(shards: Sequence[Path], *, streaming: bool = False, seed: int = 0) -> Any:
    """Return shards as a dataset whose rows are input_ids, labels, seq_lengths and row.

    Args:
        shards: At least one file.
        streaming: An IterableDataset, one part a shard, instead of random access.
        seed: Of its shuffling, by shards and in a buffer of 1,000 rows.
    """
    from datasets import Dataset, concatenate_datasets

    opened: Any = concatenate_datasets([Dataset.from_file(str(shard)) for shard in shards])
    if streaming:
        stream = opened.to_iterable_dataset(num_shards=len(shards))
        stream = stream.shuffle(seed=seed, buffer_size=1000)
        return stream.map(_decode_one, remove_columns=["tokens"])
    return opened.with_transform(_decode_batch)


def find_documents(folder: Path, split: str, rows: Iterable[int]) -> list[str]:
    """Return the ids of the documents in packed rows of prepared data."""
    found: list[str] = []
    for row in rows:
        file = documents_file(shard_file(folder, split, row >> _ROW_BITS))
        table = pq.read_table(file, filters=[("row", "==", row)])
        found += cast("list[str]", table["id"].to_pylist())
    return found


def shard_file(folder: Path, split: str, number: int) -> Path:
    """Return the name of a shard."""
    return folder / f"{split}-{number:05}.arrow"


def documents_file(shard: Path) -> Path:
    """Return the file that names a shard's documents."""
    return shard.with_suffix(".documents.parquet")


def _pack(
    documents: Sequence[Document], chosen: Sequence[int], length: int, packing: str
) -> list[tuple[Any, list[int]]]:
    """Return packed rows, each with the numbers of the documents that its pieces are from."""
    if packing == "none":
        return [(documents[n].tokens, [n]) for n in chosen]
    from datasets import (
        Dataset,
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )
    from trl.data_utils import pack_dataset

    lengths = [len(documents[n].tokens) for n in chosen]
    offsets = pa.array(np.cumsum([0, *lengths]), pa.int32())
    values = np.concatenate([documents[n].tokens for n in chosen])
    # TRL reorders the documents; a second column of the same shape tells which is which.
    table = pa.table(
        {
            "tokens": pa.ListArray.from_arrays(offsets, pa.array(values, pa.uint32())),
            "owner": pa.ListArray.from_arrays(
                offsets, pa.array(np.repeat(chosen, lengths), pa.uint32())
            ),
        }
    )
    options = {"batch_size": len(table), "keep_in_memory": True, "load_from_cache_file": False,
               "new_fingerprint": "packed"}  # fmt: skip
    dataset: Any = Dataset(table)
    quiet = are_progress_bars_disabled()
    disable_progress_bars()  # one for each part would be all that there is to read
    packed: Any = pack_dataset(dataset, length, packing, options).with_format("arrow")[:]
    if not quiet:
        enable_progress_bars()
    columns = {name: packed[name].combine_chunks() for name in packed.column_names}
    rows = columns["tokens"].value_lengths().to_numpy()
    # `wrapped` knows no documents: its rows are one piece each.
    pieces = columns["seq_lengths"].flatten().to_numpy() if "seq_lengths" in columns else rows
    tokens = columns["tokens"].flatten().to_numpy() & np.uint32(~START & 0xFFFFFFFF)
    tokens[np.cumsum([0, *pieces[:-1]])] |= START
    owners = columns["owner"].flatten().to_numpy().astype(np.int64)
    ends = np.cumsum(rows)[:-1]
    return [
        (row, owner[np.flatnonzero(np.diff(owner, prepend=-1))].tolist())
        for row, owner in zip(np.split(tokens, ends), np.split(owners, ends), strict=True)
    ]


def _write_documents(
    path: Path, first: int, rows: Sequence[tuple[Any, list[int]]], documents: Sequence[Document]
) -> None:
    pairs = [
        (first + n, documents[owner].id) for n, (_, owned) in enumerate(rows) for owner in owned
    ]
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    numbers, ids = [row for row, _ in pairs], [key for _, key in pairs]
    pq.write_table(
        pa.table({"row": pa.array(numbers, pa.int64()), "id": pa.array(ids, pa.string())}),
        temporary,
    )
    temporary.replace(path)


def _decode_one(row: dict[str, Any]) -> dict[str, Any]:
    return decode(from_bytes(row["tokens"]))


def _decode_batch(batch: dict[str, Any]) -> dict[str, Any]:
    decoded = [_decode_one({"tokens": tokens}) for tokens in batch["tokens"]]
    columns = {
        name: [row[name] for row in decoded] for name in ("input_ids", "labels", "seq_lengths")
    }
    return columns | {"row": batch["row"]}
