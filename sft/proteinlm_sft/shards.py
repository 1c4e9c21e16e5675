"""The files of a dataset: Parquet shards of bounded size, and lists as gzip."""

import gzip
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pyarrow.parquet

pq = cast("Any", pyarrow.parquet)


@dataclass(slots=True)
class Shards:
    """The open shard of one split and those before it.

    A shard has a temporary name until the split is whole: the final one tells how many there are.
    `limit` is in bytes before compression; a shard ends with the table that goes over it.
    """

    folder: Path
    split: str
    schema: Any
    limit: int
    paths: list[Path] = field(default_factory=list[Path])
    rows: list[int] = field(default_factory=list[int])
    writer: Any = None
    size: int = 0

    def write(self, table: Any) -> None:
        """Add a table to the open shard, or to a new one if it is full."""
        if self.writer is None or self.size >= self.limit:
            self.close()
            self.folder.mkdir(parents=True, exist_ok=True)
            self.paths.append(self.folder / f".{self.split}-{len(self.paths):05d}.parquet")
            self.writer = pq.ParquetWriter(self.paths[-1], self.schema, compression="zstd")
            self.rows.append(0)
            self.size = 0
        self.writer.write_table(table)
        self.size += table.nbytes
        self.rows[-1] += table.num_rows

    def close(self) -> None:
        """End the open shard, if there is one."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def name(self) -> dict[Path, int]:
        """Give the shards their final names."""
        self.close()
        named: dict[Path, int] = {}
        for number, (path, rows) in enumerate(zip(self.paths, self.rows, strict=True)):
            final = self.folder / f"{self.split}-{number:05d}-of-{len(self.paths):05d}.parquet"
            path.replace(final)
            named[final] = rows
        return named


def write_gzip(path: Path, lines: Iterable[str]) -> None:
    """Write lines under a temporary name, without the date that gzip would put in."""
    temporary = path.with_name(f".{path.name}")
    with temporary.open("wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as out:
        out.writelines(line.encode() for line in lines)
    temporary.replace(path)
