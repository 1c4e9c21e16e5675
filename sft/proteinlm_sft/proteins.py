"""The sequences behind the rows of a split: given to MMseqs2, and taken back as tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from proteinlm_sft import mmseqs


@dataclass(frozen=True, slots=True)
class Proteins:
    """The distinct sequences of the rows that are left, as FASTA for MMseqs2."""

    rows: duckdb.DuckDBPyConnection
    parts: Sequence[Path]
    work: Path
    threads: int

    def cluster(self, table: str, identity: float, coverage: float, *, linear: bool) -> None:
        """Make a table (sequence_key, cluster); the cluster is its representative's key."""
        # Dropped rows as well: a family keeps its split whatever is said of its members.
        fasta = self._fasta(table, "true" if table == "family" else "reason IS NULL")
        found = self.work / f"{table}.tsv"
        if found.exists():  # by a build that was killed later
            pass
        elif fasta.stat().st_size:
            mmseqs.cluster(
                fasta, found, identity=identity, coverage=coverage, threads=self.threads,
                linear=linear,
            )  # fmt: skip
        else:
            found.write_bytes(b"")
        self.rows.execute(
            f"CREATE TABLE {table} AS SELECT column1::UBIGINT AS sequence_key, "
            "column0::UBIGINT AS cluster FROM read_csv(?, delim = '\t', "
            "header = false, auto_detect = false, "
            "columns = {'column0': 'UBIGINT', 'column1': 'UBIGINT'})",
            [str(found)],
        )

    def search(self, table: str, identity: float) -> None:
        """Make a table of the held-out sequences with a hit in train."""
        held = self._fasta("held", "reason IS NULL AND split <> 'train'")
        train = self._fasta("train", "reason IS NULL AND split = 'train'")
        found = self.work / f"{table}.tsv"
        if found.exists():
            pass
        elif held.stat().st_size and train.stat().st_size:
            mmseqs.search(held, train, found, identity=identity, threads=self.threads)
        else:
            found.write_bytes(b"")
        self.rows.execute(
            f"CREATE TABLE {table} AS SELECT DISTINCT query FROM read_csv(?, delim = '\t', "
            "header = false, auto_detect = false, "
            "columns = {'query': 'UBIGINT', 'target': 'UBIGINT', 'identity': 'DOUBLE'})",
            [str(found)],
        )

    def write_held_out(self, path: Path) -> None:
        """Write accession and sequence hash of all proteins drawn to validation or test.

        Those whose rows went away are among them: their texts would tell of the others.
        """
        found = self.rows.execute(
            "SELECT DISTINCT accession, sequence_sha256 FROM read_parquet(?) WHERE sequence_key IN "
            "(SELECT sequence_key FROM row WHERE split <> 'train') ORDER BY ALL",
            [[str(folder / "proteins.parquet") for folder in self.parts]],
        )
        with path.open("w", encoding="ascii") as out:
            while batch := found.fetchmany(10_000):
                out.writelines(f"{accession}\t{digest}\n" for accession, digest in batch)

    def _fasta(self, name: str, where: str) -> Path:
        """Write the sequences of some rows, by key: the order decides ties."""
        files = [str(folder / "proteins.parquet") for folder in self.parts]
        found = self.rows.execute(
            "SELECT sequence_key, any_value(sequence) FROM read_parquet(?) WHERE sequence_key IN "
            f"(SELECT sequence_key FROM row WHERE {where}) "
            "GROUP BY sequence_key ORDER BY sequence_key",
            [files],
        )
        path = self.work / f"{name}.fasta"
        with path.open("w", encoding="ascii") as out:
            while batch := found.fetchmany(10_000):
                out.writelines(f">{key}\n{sequence}\n" for key, sequence in batch)
        return path
