"""The streaming pass: each input file becomes one folder with its proteins, rows and counts.

A folder `part-00003/` appears whole or not at all, so a build that was killed goes on with the
files that have none. Row group i of `rows.parquet` holds the rows of the proteins in row group i
of `proteins.parquet`: whoever reads them later needs no join over the file.
"""

import hashlib
import io
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow
import pyarrow.parquet

from proteinlm_sft.chosen import reason_to_drop
from proteinlm_sft.entry import Entry, Rejected, SourceError
from proteinlm_sft.enzyme import read_enzymes
from proteinlm_sft.flat_file import read_flat_file
from proteinlm_sft.inputs import InputFile, open_input
from proteinlm_sft.recipe import Recipe
from proteinlm_sft.rows import Nomenclature, Row, RowMaker
from proteinlm_sft.sifts import read_sifts_enzymes
from proteinlm_sft.uniprot_tsv import read_uniprot_tsv
from proteinlm_sft.uniprot_xml import read_uniprot_xml

pa, pq = cast("Any", pyarrow), cast("Any", pyarrow.parquet)

PROTEINS_A_GROUP = 2000
UNIPROT_SUFFIXES = (".dat", ".xml", ".tsv", ".txt")

PROTEIN_SCHEMA = pa.schema(
    {
        "protein": pa.int32(),
        "accession": pa.string(),
        "entry_name": pa.string(),
        "organism": pa.string(),
        "taxon_id": pa.int32(),
        "reviewed": pa.bool_(),
        "created": pa.string(),
        "sequence": pa.string(),
        "sequence_sha256": pa.string(),
        "sequence_key": pa.uint64(),
    }
)
ROW_SCHEMA = pa.schema(
    {
        "protein": pa.int32(),
        "id": pa.string(),
        "config": pa.string(),
        "output": pa.string(),
        "evidence": pa.list_(pa.string()),
        "experimental": pa.bool_(),
        "references": pa.list_(pa.string()),
        "mim": pa.list_(pa.string()),
        "key": pa.uint64(),
        "enzyme": pa.string(),
        "draw": pa.uint64(),
    }
)


@dataclass(frozen=True, slots=True)
class StageTask:
    """One input file and the folder that it becomes; the enzyme tables to join with."""

    file: InputFile
    folder: Path
    recipe: Recipe
    enzyme: InputFile | None = None
    sifts: InputFile | None = None


@dataclass(slots=True)
class _Batch:
    """The proteins and rows of one row group, column by column."""

    proteins: dict[str, list[Any]] = field(
        default_factory=lambda: {name: [] for name in PROTEIN_SCHEMA.names}
    )
    rows: dict[str, list[Any]] = field(
        default_factory=lambda: {name: [] for name in ROW_SCHEMA.names}
    )

    def add(self, number: int, entry: Entry, rows: Iterable[Row]) -> int:
        digest = hashlib.sha256(entry.sequence.encode("ascii"))
        columns = self.proteins
        columns["protein"].append(number)
        columns["accession"].append(entry.accession)
        columns["entry_name"].append(entry.entry_name)
        columns["organism"].append(entry.organism)
        columns["taxon_id"].append(entry.taxon_id)
        columns["reviewed"].append(entry.reviewed)
        columns["created"].append(entry.created)
        columns["sequence"].append(entry.sequence)
        columns["sequence_sha256"].append(digest.hexdigest())
        columns["sequence_key"].append(int.from_bytes(digest.digest()[:8], "big"))
        columns, count = self.rows, 0
        for count, row in enumerate(rows, 1):  # noqa: B007 - the count is the result
            columns["protein"].append(number)
            for name in ROW_SCHEMA.names[1:]:
                columns[name].append(getattr(row, name))
        return count


def stage_file(task: StageTask) -> None:
    """Read one input file to the end and write its folder.

    Raises:
        SourceError: The file cannot be trusted; no folder is written.
        OSError: The disk is full, or the folder cannot be written.
    """
    if task.folder.exists():
        return
    work = task.folder.with_name(f".{task.folder.name}.{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    maker = RowMaker(task.recipe, load_nomenclature(task.enzyme, task.sifts))
    newest, recipe, exclude = "", task.recipe, task.recipe.exclude
    seen = {"keywords": False, "lineage": False}
    with (
        open_input(task.file) as source,
        pq.ParquetWriter(work / "proteins.parquet", PROTEIN_SCHEMA, compression="lz4") as proteins,
        pq.ParquetWriter(work / "rows.parquet", ROW_SCHEMA, compression="lz4") as rows,
        (work / "rejected.jsonl").open("w", encoding="utf-8") as rejected,
    ):
        batch, number = _Batch(), 0
        for entry in read_entries(source.stream, task.file.name):
            maker.counts["entries"] += 1
            if isinstance(entry, Rejected):
                maker.counts[f"rejected.{entry.reason}"] += 1
                rejected.write(_rejection(entry.accession, entry.reason, entry.detail))
                continue
            newest = max(newest, entry.modified)
            _refuse_later(entry, task)
            seen["keywords"] |= bool(entry.keywords)
            seen["lineage"] |= bool(entry.lineage)
            if reason := reason_to_drop(entry, unreviewed=recipe.unreviewed, exclude=exclude):
                maker.counts[f"dropped.{reason}"] += 1
                continue
            maker.counts["rows"] += batch.add(number, entry, maker.rows(entry))
            number += 1
            if number % PROTEINS_A_GROUP == 0:
                _write(batch, proteins, rows)
                batch = _Batch()
        _write(batch, proteins, rows)
        digest = source.sha256()
    if not maker.counts["entries"]:
        raise SourceError(f"{task.file.path} holds no entry. Is it a UniProtKB file?")
    by_name = any(isinstance(taxon, str) for taxon in exclude.taxa)
    for what, asked in (("keywords", bool(exclude.keywords)), ("lineage", by_name)):
        if asked and not seen[what]:
            raise SourceError(
                f"{task.file.path} has no {what} in any entry, so nothing can be excluded by them. "
                "Export the TSV with that column, or take the flat file or XML."
            )
    report = _report(task.file, digest, newest, maker.counts)
    (work / "report.json").write_text(json.dumps(report, sort_keys=True), encoding="utf-8")
    work.rename(task.folder)


@cache
def load_nomenclature(enzyme: InputFile | None, sifts: InputFile | None) -> Nomenclature:
    """Read the enzyme tables, once in each process.

    Raises:
        SourceError: A table cannot be trusted.
    """
    enzymes = accessions = None
    if enzyme is not None:
        with open_input(enzyme) as source:
            enzymes = read_enzymes(source.stream, enzyme.name)
    if sifts is not None:
        with open_input(sifts) as source:
            accessions = read_sifts_enzymes(source.stream, sifts.name)
    return Nomenclature(enzymes, accessions)


def read_entries(stream: BinaryIO, name: str) -> Iterator[Entry | Rejected]:
    """Read UniProtKB in whichever of the three formats the first bytes show.

    Raises:
        SourceError: They show none of them.
    """
    buffered = stream if hasattr(stream, "peek") else io.BufferedReader(cast("Any", stream))
    head = cast("Any", buffered).peek(64)[:64].lstrip(b"\xef\xbb\xbf \r\n")
    if head.startswith(b"<"):
        return read_uniprot_xml(buffered, name)
    if re.match(rb"[^\t\n]+\t", head):
        return read_uniprot_tsv(buffered, name)
    return read_flat_file(buffered, name)


def _write(batch: _Batch, proteins: Any, rows: Any) -> None:
    """Write one row group to each file; a group may have no rows, so that the numbers agree."""
    proteins.write_table(pa.table(batch.proteins, PROTEIN_SCHEMA), row_group_size=1 << 20)
    rows.write_table(pa.table(batch.rows, ROW_SCHEMA), row_group_size=1 << 20)


def _refuse_later(entry: Entry, task: StageTask) -> None:
    """Refuse an entry that is newer than the release: a file of another release is mixed in."""
    release = task.recipe.release
    if release and entry.modified[:4] > release[:4] and re.fullmatch(r"\d{4}_\d\d", release):
        raise SourceError(
            f"{task.file.path}: entry {entry.accession} is of {entry.modified}, later than release "
            f"{release}. A file of another release is mixed in; name the right --release."
        )


def _rejection(accession: str, reason: str, detail: str) -> str:
    said = {"accession": accession, "reason": reason, "detail": detail}
    return json.dumps(said, sort_keys=True, ensure_ascii=False) + "\n"


def _report(file: InputFile, digest: str, newest: str, counts: Counter[str]) -> dict[str, Any]:
    return {
        "file": file.name,
        "bytes": file.size,
        "sha256": digest,
        "newest_entry": newest,
        "counts": dict(sorted(counts.items())),
    }
