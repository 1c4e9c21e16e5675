"""`proteinlm data import`: the released dataset, mended, with a report of what was wrong with it.

Files are streamed. What stays of a row until its config ends is a hash of 16 bytes, to find
duplicates: about 100 MB for a million rows.
"""

import gzip
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, cast

import pyarrow
import pyarrow.parquet
from tqdm import tqdm

from proteinlm_ext.benchmark import HUB_REVISION
from proteinlm_ext.errors import UsageError
from proteinlm_ext.paths import hash_file
from proteinlm_sft.assemble import LICENSE, SCHEMA
from proteinlm_sft.entry import SourceError
from proteinlm_sft.released_hub import (
    TEXTS_REPO,
    ReleasedFile,
    instruction_files,
    is_json,
    read_items,
    text_files,
)
from proteinlm_sft.released_rows import FAULTS, LEFT_OUT, Mended, mend_row, mend_text
from proteinlm_sft.shards import Shards
from proteinlm_sft.templates import ENZYME, FIELDS

pa, pq = cast("Any", pyarrow), cast("Any", pyarrow.parquet)
TEXT_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "text": pa.string(),
        "source": pa.string(),
        "license": pa.string(),
        "redistributable": pa.bool_(),
        "release": pa.string(),
    }
)
_BATCH = 2000


@dataclass(slots=True, kw_only=True)
class ImportedConfig:
    """What became of one file: rows read and kept, mended by fault, left out by reason."""

    config: str
    file: str
    sha256: str
    read: int = 0
    kept: int = 0
    faults: Counter[str] = field(default_factory=Counter[str])
    left_out: Counter[str] = field(default_factory=Counter[str])
    shards: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """All that was imported; `not_understood` has the files of other formats, with the reason."""

    revisions: Mapping[str, str]
    configs: tuple[ImportedConfig, ...]
    not_understood: Mapping[str, str]

    def __str__(self) -> str:
        from tabulate import tabulate

        table = [[each.config, each.read, each.kept, each.file] for each in self.configs]
        lines = [tabulate(table, ["config", "rows read", "kept", "file"], tablefmt="simple")]
        for each in self.configs:
            for counts, texts, done in (
                (each.faults, FAULTS, "mended"),
                (each.left_out, LEFT_OUT, "left out"),
            ):
                lines += [
                    f"{each.config}: {count} {done}: {texts[name]}"
                    for name, count in sorted(counts.items())
                ]
        lines += [f"not understood: {name}: {why}" for name, why in self.not_understood.items()]
        return "\n".join(lines)


def import_released(
    out: Path,
    *,
    revision: str | None = None,
    texts: bool = False,
    texts_revision: str | None = None,
    shard_bytes: int = 256 << 20,
) -> ImportReport:
    """Import the seven configs and, if asked, the texts: all of it or nothing.

    Writes `OUT/<config>/train-00000-of-0000N.parquet` and `OUT/left_out.jsonl.gz`, the rows left
    out by config and number, from 0.

    Args:
        out: A new or empty folder.
        revision: Commit of tsynbio/ProteinLMBench; by default the one that this package knows.
        texts: Import tsynbio/ProteinLMDataset, too.
        texts_revision: Its commit.
        shard_bytes: Most bytes of a shard, before compression; a batch of rows may go over it.

    Raises:
        SourceError: A file is broken, or the Hub does not give it; the disk cannot be written.
        UsageError: The folder is in use, or the commit of the texts is missing.
    """
    if texts and texts_revision is None:
        raise UsageError(f"Say which commit of {TEXTS_REPO} to read: --texts_revision SHA.")
    work, made, strange = out / ".import", list[ImportedConfig](), dict[str, str]()
    shutil.rmtree(work, ignore_errors=True)
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty; take another folder for --out.")
    files = instruction_files(revision or HUB_REVISION)
    texts_files = text_files(texts_revision) if texts and texts_revision else []
    try:
        work.mkdir(parents=True)
        path = work / "left_out.jsonl.gz"
        with path.open("wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as left_out:
            for file in files:
                made.append(_import(file, work, left_out, shard_bytes, SCHEMA, _instruction_row))
            for file in texts_files:
                if why := _strange(file):
                    strange[file.name] = why
                    continue
                made.append(_import(file, work, left_out, shard_bytes, TEXT_SCHEMA, _text_row))
        for path in sorted(work.iterdir()):
            path.replace(out / path.name)
    except OSError as error:
        raise SourceError(f"{out} could not be written: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    revisions = {file.repo: file.revision for file in (*files, *texts_files)}
    return ImportReport(revisions=revisions, configs=tuple(made), not_understood=strange)


def _strange(file: ReleasedFile) -> str | None:
    """Return why a file of texts cannot be read, as its beginning and first row tell."""
    if not is_json(file):
        return "neither a JSON list nor JSON Lines"
    if mend_text(next(read_items(file))).left_out == "broken":
        return "its first row is of an unknown shape"
    return None


def _import(
    file: ReleasedFile,
    work: Path,
    left_out: gzip.GzipFile,
    shard_bytes: int,
    schema: Any,
    make: Callable[[ReleasedFile, Any], tuple[Mended, dict[str, Any]]],
) -> ImportedConfig:
    """Write the shards of one file; note in the list of rows left out what is not in them."""
    done = ImportedConfig(config=file.config, file=file.name, sha256=hash_file(file.path))
    seen: set[bytes] = set()

    def rows() -> Iterator[dict[str, Any]]:
        for number, raw in enumerate(
            tqdm(read_items(file), desc=file.config, unit="row", disable=None, leave=False)
        ):
            done.read += 1
            mended, row = make(file, raw)
            digest = mended.digest
            reason = mended.left_out or ("duplicate" if digest[:16] in seen else None)
            if reason:
                done.left_out[reason] += 1
                note = {"config": file.config, "row": number, "reason": reason}
                left_out.write(json.dumps(note, sort_keys=True).encode() + b"\n")
                continue
            seen.add(digest[:16])
            done.faults.update(mended.faults)
            done.kept += 1
            yield row | {"id": f"{file.config}:{digest.hex()[:24]}"}

    done.shards = _write_shards(rows(), work / file.config, schema, shard_bytes)
    return done


def _instruction_row(file: ReleasedFile, raw: Any) -> tuple[Mended, dict[str, Any]]:
    """Make a row of the columns that a build has; null where the release says nothing."""
    mended = mend_row(file.config, raw)
    form = ENZYME if file.config == ENZYME.config else FIELDS[file.config]
    sequence = mended.sequence.encode()
    return mended, {
        "instruction": mended.instruction,
        "input": mended.input,
        "output": mended.output,
        "field": form.title,
        "evidence": mended.evidence,
        "references": mended.references,
        "mim": mended.mim,
        "release": file.release,
        "sequence_length": len(sequence),
        "sequence_sha256": hashlib.sha256(sequence).hexdigest(),
        "split": "train",
        "source": file.repo,
        "license": LICENSE,
    }


def _text_row(file: ReleasedFile, raw: Any) -> tuple[Mended, dict[str, Any]]:
    """Make a document. The release gives no licence a text: only UniProt's may be passed on."""
    mended = mend_text(raw)
    uniprot = file.name.lower().startswith("swissprot")
    return mended, {
        "text": mended.output,
        "source": file.repo,
        "license": LICENSE if uniprot else "unknown",
        "redistributable": uniprot,
        "release": file.release,
    }


def _write_shards(
    rows: Iterator[dict[str, Any]], folder: Path, schema: Any, shard_bytes: int
) -> dict[str, int]:
    """Write rows to shards that know their number; return the rows of each."""
    folder.mkdir()
    shards = Shards(folder, "train", schema, shard_bytes)
    try:
        while batch := list(islice(rows, _BATCH)):
            shards.write(pa.Table.from_pylist(batch, schema))
    finally:
        shards.close()
    return {f"{folder.name}/{path.name}": count for path, count in shards.name().items()}
