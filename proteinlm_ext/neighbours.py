"""The nearest training protein of every held-out row of a built dataset.

Nearest is the MMseqs2 hit with the highest bit score (`-s 7.5`, E-value at most 0.001) among the
proteins of the same config's train split, however low its identity.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow
import pyarrow.compute
import pyarrow.parquet

from proteinlm_ext.errors import DataError, UsageError
from proteinlm_ext.paths import cache_dir, hash_file, write_text
from proteinlm_sft import mmseqs

pa, pc, pq = cast("Any", pyarrow), cast("Any", pyarrow.compute), cast("Any", pyarrow.parquet)

_SEQUENCE = r"<seq> ?(?P<sequence>[A-Z ]+?) ?</seq>"
# To be raised when the same files and the same MMseqs2 give another answer.
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A training row's protein, and how near it is.

    `identity` is the share of identical residues in the local alignment, `coverage` the share of
    the held-out protein that the alignment covers; both from 0 to 1.
    """

    id: str
    accession: str
    identity: float
    coverage: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Proteins:
    """Rows by sequence: the ids of all, and the first by accession and id."""

    ids: Mapping[str, list[str]]
    first: Mapping[str, tuple[str, str]]


def shards(folder: Path, config: str, split: str) -> list[Path]:
    """Return the Parquet files of a split.

    Raises:
        UsageError: There are none.
    """
    found = sorted((folder / config).glob(f"{split}-*.parquet"))
    if not found:
        raise UsageError(
            f"{folder} has no {split} split of {config} ({config}/{split}-*.parquet). Give a "
            "folder that `proteinlm data build` or `proteinlm data sft` made with that split."
        )
    return found


def nearest(folder: Path, config: str, split: str = "test") -> dict[str, Neighbour]:
    """Return the nearest training protein of each row of a split, by row id; none, no key.

    The same sequence in train is nearest of all (MMseqs2 does not see short peptides). Of equal
    bit scores, and of several rows of one sequence, the first by accession and id is taken.
    Results are kept in the cache folder, by the content of the files and the version of MMseqs2.

    Args:
        folder: A dataset that `proteinlm data build` made.
        config: Such as `function`; neighbours are looked for in its train split alone.
        split: The split whose rows ask.

    Raises:
        UsageError: The folder has no such split.
        DataError: A file lacks a column that a built dataset has, or cannot be read.
        MissingDependencyError: There is no MMseqs2.
    """
    train, held = shards(folder, config, "train"), shards(folder, config, split)
    kept = cache_dir() / "neighbours" / f"{_key(config, train, held)}.json"
    if kept.is_file():
        said: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return {row: Neighbour(**neighbour) for row, neighbour in said.items()}
    found = _search(_read(held), _read(train))
    as_json = {row: asdict(neighbour) for row, neighbour in found.items()}
    write_text(kept, json.dumps(as_json, indent=1, sort_keys=True) + "\n")
    return found


def _key(config: str, train: Iterable[Path], held: Iterable[Path]) -> str:
    """Return a hash of all that decides the answer."""
    hashes = [[hash_file(path) for path in files] for files in (train, held)]
    search = [mmseqs.version(), mmseqs.SENSITIVITY, mmseqs.EVALUE]
    said = json.dumps([_FORMAT, search, config, hashes])
    return hashlib.sha256(said.encode()).hexdigest()


def _read(files: Iterable[Path]) -> _Proteins:
    ids: dict[str, list[str]] = {}
    first: dict[str, tuple[str, str]] = {}
    for path in files:
        for row, accession, sequence in zip(*_columns(path), strict=True):
            ids.setdefault(sequence, []).append(row)
            first[sequence] = min((accession, row), first.get(sequence, (accession, row)))
    return _Proteins(ids=ids, first=first)


def _columns(path: Path) -> tuple[list[str], list[str], list[str]]:
    """Return id, accession and sequence of the rows of a shard."""
    try:
        table = pq.read_table(path, columns=["id", "accession", "input"])
        spelled = pc.struct_field(pc.extract_regex(table["input"], _SEQUENCE), "sequence")
        sequences = pc.replace_substring(spelled, " ", "").to_pylist()
        ids, accessions = table["id"].to_pylist(), table["accession"].to_pylist()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as rows of a built dataset: {error}") from error
    if None in sequences:
        row = ids[sequences.index(None)]
        raise DataError(f"{path}: the input of {row} holds no sequence as <seq> M K </seq>.")
    return ids, accessions, sequences


def _search(held: _Proteins, train: _Proteins) -> dict[str, Neighbour]:
    """Return the nearest protein of each row that has one."""
    best: dict[str, tuple[float, str, str, float, float]] = {}
    queries, targets = list(held.ids), list(train.ids)
    for query, target, identity, coverage, bits in _hits(queries, targets):
        hit = (-bits, *train.first[targets[target]], identity, coverage)
        sequence = queries[query]
        best[sequence] = min(hit, best.get(sequence, hit))
    for sequence in held.ids.keys() & train.first.keys():
        best[sequence] = (0.0, *train.first[sequence], 1.0, 1.0)
    found: dict[str, Neighbour] = {}
    for sequence, (_, accession, row, identity, coverage) in best.items():
        neighbour = Neighbour(id=row, accession=accession, identity=identity, coverage=coverage)
        found |= dict.fromkeys(held.ids[sequence], neighbour)
    return dict(sorted(found.items()))


def _hits(
    queries: Iterable[str], targets: Iterable[str]
) -> list[tuple[int, int, float, float, float]]:
    """Return (query, target, identity, coverage of the query, bit score) of every hit."""
    with tempfile.TemporaryDirectory() as work:
        asked, known, found = (Path(work) / name for name in ("asked", "known", "found"))
        for path, sequences in ((asked, queries), (known, targets)):
            lines = (f">{number}\n{sequence}\n" for number, sequence in enumerate(sequences))
            with path.open("w", encoding="ascii") as out:
                out.writelines(lines)
        mmseqs.search(
            asked, known, found, identity=0, threads=os.cpu_count() or 1,
            columns="query,target,fident,qcov,bits",
        )  # fmt: skip
        rows = (line.split("\t") for line in found.read_text(encoding="ascii").splitlines())
        return [
            (int(query), int(target), float(identity), float(coverage), float(bits))
            for query, target, identity, coverage, bits in rows
        ]
