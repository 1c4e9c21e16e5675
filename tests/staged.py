"""Staged parts written by hand, for tests of what comes after reading."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from proteinlm_sft.rows import text_key
from proteinlm_sft.stage import PROTEIN_SCHEMA, ROW_SCHEMA


@dataclass(frozen=True)
class Said:
    """One row: what is said of a protein, and on which evidence."""

    accession: str
    sequence: str
    text: str
    config: str = "function"
    experimental: bool | None = True
    created: str = "2020-01-01"
    enzyme: str | None = None
    draw: int | None = None

    @property
    def id(self) -> str:
        """The name that the row has in a dataset."""
        return f"{self.config}:{self.accession}" + (f":{self.enzyme}" if self.enzyme else "")


def write_part(folder: Path, said: list[Said], group: int = 2) -> Path:
    """Write a part as the staging pass does, `group` proteins a row group."""
    folder.mkdir(parents=True)
    proteins = list({row.accession: row for row in reversed(said)}.values())[::-1]
    with (
        pq.ParquetWriter(folder / "proteins.parquet", PROTEIN_SCHEMA) as out,
        pq.ParquetWriter(folder / "rows.parquet", ROW_SCHEMA) as rows,
    ):
        for start in range(0, len(proteins), group):
            numbered = list(enumerate(proteins))[start : start + group]
            out.write_table(
                pa.Table.from_pylist([_protein(n, row) for n, row in numbered], PROTEIN_SCHEMA)
            )
            found = [
                _row(n, row) for n, p in numbered for row in said if row.accession == p.accession
            ]
            rows.write_table(pa.Table.from_pylist(found, ROW_SCHEMA))
    (folder / "rejected.jsonl").touch()
    return folder


def _protein(number: int, row: Said) -> dict[str, object]:
    digest = hashlib.sha256(row.sequence.encode())
    return {
        "protein": number,
        "accession": row.accession,
        "entry_name": f"{row.accession}_TEST",
        "organism": "Testus protei",
        "taxon_id": 1,
        "reviewed": True,
        "created": row.created,
        "sequence": row.sequence,
        "sequence_sha256": digest.hexdigest(),
        "sequence_key": int.from_bytes(digest.digest()[:8], "big"),
    }


def _row(number: int, row: Said) -> dict[str, object]:
    return {
        "protein": number,
        "id": row.id,
        "config": row.config,
        "output": row.text,
        "evidence": ["ECO:0000269"] if row.experimental else [],
        "experimental": row.experimental,
        "references": [],
        "mim": [],
        "key": text_key(row.text),
        "enzyme": row.enzyme,
        "draw": row.draw,
    }
