"""What one split gives away of another: similar sequences and the same outputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from proteinlm_sft import mmseqs

THRESHOLDS = (0.3, 0.5, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A held-out split against train.

    `neighbours` maps an identity to the number of held-out proteins with a train protein at or
    above it; `shared_outputs` counts the rows whose output, letters and digits alone, stands in
    train as well.
    """

    split: str
    rows: int
    proteins: int
    neighbours: dict[float, int]
    shared_outputs: int


def find_leaks(folder: Path, work: Path, threads: int) -> list[Leak]:
    """Compare validation and test of a built dataset with its train split.

    Raises:
        MissingDependencyError: There is no MMseqs2.
    """
    files = {
        split: [
            str(path)
            for path in sorted(folder.glob(f"*/{split}-*.parquet"))
            if not path.parent.name.startswith("ssl_")
        ]
        for split in ("train", "validation", "test")
    }
    if not files["train"] or not (files["validation"] or files["test"]):
        return []
    work.mkdir(parents=True, exist_ok=True)
    mmseqs.version()
    _fasta(files["train"], work / "train.fasta")
    return [
        _leak(split, files[split], files["train"], work, threads)
        for split in ("validation", "test")
        if files[split]
    ]


def _leak(split: str, held: Sequence[str], train: Sequence[str], work: Path, threads: int) -> Leak:
    fasta, hits = work / f"{split}.fasta", work / f"{split}.tsv"
    proteins = _fasta(held, fasta)
    mmseqs.search(fasta, work / "train.fasta", hits, identity=THRESHOLDS[0], threads=threads)
    best: dict[str, float] = {}
    for query, _, identity in mmseqs.read_hits(hits):
        best[query] = max(identity, best.get(query, 0.0))
    for (same,) in duckdb.execute(
        "SELECT DISTINCT sequence_sha256 FROM read_parquet($held) WHERE sequence_sha256 IN "
        "(SELECT sequence_sha256 FROM read_parquet($train))",
        {"train": list(train), "held": list(held)},
    ).fetchall():
        best[same] = 1.0  # MMseqs2 does not see short peptides
    said = "trim(regexp_replace(lower(output), '[^\\p{L}\\p{N}]+', ' ', 'g'))"
    rows, shared = duckdb.execute(
        f"SELECT count(*), count(*) FILTER ({said} IN (SELECT {said} FROM read_parquet($train))) "
        "FROM read_parquet($held)",
        {"train": list(train), "held": list(held)},
    ).fetchone() or (0, 0)
    return Leak(
        split=split,
        rows=rows,
        proteins=proteins,
        neighbours={
            level: sum(identity >= level for identity in best.values()) for level in THRESHOLDS
        },
        shared_outputs=shared,
    )


def _fasta(files: Sequence[str], path: Path) -> int:
    """Write the distinct sequences of some shards, read back from their inputs; return how many."""
    found = duckdb.execute(
        "SELECT sequence_sha256, any_value(replace(regexp_extract(input, "
        "'<seq> ?([A-Z ]+?) ?</seq>', 1), ' ', '')) FROM read_parquet(?) "
        "GROUP BY sequence_sha256 ORDER BY sequence_sha256",
        [list(files)],
    )
    count = 0
    with path.open("w", encoding="ascii") as out:
        while batch := found.fetchmany(10_000):
            out.writelines(f">{key}\n{sequence}\n" for key, sequence in batch)
            count += len(batch)
    return count
