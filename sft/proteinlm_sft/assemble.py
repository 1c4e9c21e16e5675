"""The last pass: staged rows and decisions become Parquet shards, a config at a time.

Rows keep the order of the inputs, so the shards depend on nothing else.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow
import pyarrow.compute
import pyarrow.parquet

from proteinlm_ext.paths import write_text
from proteinlm_sft.manifest import SPLITS
from proteinlm_sft.rows import ENZYME_CONFIG
from proteinlm_sft.shards import Shards
from proteinlm_sft.templates import (
    ENZYME,
    FIELDS,
    Mode,
    enzyme_input,
    messages,
    prompt_completion,
    protein_input,
)

pa, pc, pq = cast("Any", pyarrow), cast("Any", pyarrow.compute), cast("Any", pyarrow.parquet)

LICENSE = "CC-BY-4.0"
_BATCH = 10_000
_STAGED = ("id", "output", "evidence", "experimental", "references", "mim")
_OF_ROW = (*_STAGED, "cluster", "split")
_OF_PROTEIN = ("accession", "entry_name", "organism", "taxon_id", "sequence_sha256")
_TEXT = pa.string()
_MESSAGES = pa.list_(pa.struct({"role": _TEXT, "content": _TEXT}))
SCHEMA = pa.schema(
    {
        "instruction": _TEXT,
        "input": _TEXT,
        "output": _TEXT,
        "id": _TEXT,
        "accession": _TEXT,
        "entry_name": _TEXT,
        "organism": _TEXT,
        "taxon_id": pa.int32(),
        "field": _TEXT,
        "evidence": pa.list_(_TEXT),
        "experimental": pa.bool_(),
        "references": pa.list_(_TEXT),
        "mim": pa.list_(_TEXT),
        "release": _TEXT,
        "sequence_length": pa.int32(),
        "sequence_sha256": _TEXT,
        "cluster": _TEXT,
        "split": _TEXT,
        "source": _TEXT,
        "license": _TEXT,
    }
)
VIEWS = {
    "messages": {"messages": _MESSAGES},
    "prompt_completion": {"prompt": _MESSAGES, "completion": _MESSAGES},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembleTask:
    """One config: where its rows lie, and what every row of it says alike."""

    config: str
    parts: tuple[Path, ...]
    decisions: tuple[Path, ...]
    out: Path
    mode: Mode
    release: str
    source_suffix: str
    views: tuple[str, ...]
    shard_bytes: int


def assemble(task: AssembleTask) -> dict[Path, int]:
    """Write the shards of one config and return them with their rows, by split and number.

    A config that was written whole before a build was killed is not written again.
    """
    noted = task.decisions[0].with_name(f"{task.config}.json")
    if noted.is_file():
        said: dict[str, int] = json.loads(noted.read_text(encoding="utf-8"))
        return {task.out / name: rows for name, rows in said.items()}
    named = _write_config(task)
    record = {str(path.relative_to(task.out)): rows for path, rows in named.items()}
    write_text(noted, json.dumps(record))
    return named


def _write_config(task: AssembleTask) -> dict[Path, int]:
    folder = task.out / task.config
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".*.parquet"):
        leftover.unlink()
    schema = SCHEMA
    for view in task.views:
        for name, kind in VIEWS[view].items():
            schema = schema.append(pa.field(name, kind))
    shards = {split: Shards(folder, split, schema, task.shard_bytes) for split in SPLITS}
    for rows, proteins in _groups(task):
        table = pa.table(_columns(rows, proteins, task), schema)
        for split in SPLITS:
            chosen = table.filter(pc.equal(table["split"], split))
            if chosen.num_rows:
                shards[split].write(chosen)
    named: dict[Path, int] = {}
    for split in SPLITS:
        named |= shards[split].name()
    return named


def left_out(parts: Sequence[Path], decisions: Sequence[Path]) -> Iterator[dict[str, str]]:
    """Give each row that was staged and not written: its id, reason and the split it lost."""
    for rows, said in _decided(parts, decisions, ["id"]):
        gone = said.append_column("id", rows["id"]).filter(pc.is_valid(said["reason"]))
        yield from gone.select(["id", "reason", "split"]).to_pylist()


def kept_rows(parts: Sequence[Path], decisions: Sequence[Path]) -> Iterator[dict[str, str]]:
    """Give id and output of each row that stays."""
    for rows, said in _decided(parts, decisions, ["id", "output"]):
        yield from rows.filter(pc.is_null(said["reason"])).to_pylist()


def _decided(
    parts: Sequence[Path], decisions: Sequence[Path], columns: list[str]
) -> Iterator[tuple[Any, Any]]:
    """Give some columns of the staged rows with the decisions on them, group by group."""
    for part, decided in zip(parts, decisions, strict=True):
        rows = pq.ParquetFile(part / "rows.parquet")
        stream = _Decisions(pq.ParquetFile(decided).iter_batches(_BATCH))
        for group in range(rows.num_row_groups):
            found = rows.read_row_group(group, columns=columns)
            yield found, stream.take(found.num_rows)


def _groups(task: AssembleTask) -> Iterator[tuple[Any, Any]]:
    """Give the rows of the config that stay, with the proteins they belong to, group by group."""
    names = ["protein", "config", *_STAGED]
    for part, decided in zip(task.parts, task.decisions, strict=True):
        proteins = pq.ParquetFile(part / "proteins.parquet")
        rows = pq.ParquetFile(part / "rows.parquet")
        decisions = _Decisions(pq.ParquetFile(decided).iter_batches(_BATCH))
        for group in range(rows.num_row_groups):
            found = rows.read_row_group(group, columns=names)
            said = decisions.take(found.num_rows)
            for name in ("split", "cluster", "reason"):
                found = found.append_column(name, said[name])
            stays = pc.and_(pc.equal(found["config"], task.config), pc.is_null(found["reason"]))
            found = found.filter(stays)
            if found.num_rows:
                yield found, proteins.read_row_group(group)


@dataclass(slots=True)
class _Decisions:
    """Hands out the next n decisions of a stream of batches."""

    batches: Iterator[Any]
    ready: Any = None

    def take(self, count: int) -> Any:
        tables = [] if self.ready is None else [self.ready]
        while sum(table.num_rows for table in tables) < count:
            tables.append(pa.Table.from_batches([next(self.batches)]))
        if not tables:
            return pa.table({name: pa.array([], _TEXT) for name in ("split", "cluster", "reason")})
        whole = pa.concat_tables(tables)
        self.ready = whole.slice(count)
        return whole.slice(0, count)


def _columns(found: Any, proteins: Any, task: AssembleTask) -> dict[str, Any]:
    """Return the final columns; only the spelled sequences are made one by one."""
    form = ENZYME if task.config == ENZYME_CONFIG else FIELDS[task.config]
    places = pc.subtract(found["protein"], proteins["protein"][0])
    of_row = proteins.take(places)
    sequences: list[str] = of_row["sequence"].to_pylist()
    count = len(sequences)
    swiss_prot, trembl = (
        f"UniProtKB/{name}{task.source_suffix}" for name in ("Swiss-Prot", "TrEMBL")
    )
    columns: dict[str, Any] = {name: found[name] for name in _OF_ROW}
    columns |= {name: of_row[name] for name in _OF_PROTEIN}
    columns |= {
        name: pa.repeat(value, count)
        for name, value in {
            "instruction": form.instruction,
            "field": form.title,
            "release": task.release,
            "license": LICENSE,
        }.items()
    }
    columns |= {
        "input": [
            enzyme_input(sequence, task.mode) if form is ENZYME else protein_input(sequence)
            for sequence in sequences
        ],
        "sequence_length": pc.cast(pc.utf8_length(of_row["sequence"]), pa.int32()),
        "source": pc.if_else(of_row["reviewed"], swiss_prot, trembl),
    }
    outputs: list[str] = found["output"].to_pylist() if task.views else []
    for view in task.views:
        make = messages if view == "messages" else prompt_completion
        for name in VIEWS[view]:
            columns[name] = [
                make({"instruction": form.instruction, "input": given, "output": output})[name]
                for given, output in zip(columns["input"], outputs, strict=True)
            ]
    return columns
