"""Datasets as `proteinlm data build` lays them out, with rows written by hand."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def row(accession: str, sequence: str, output: str = "Says.", config: str = "function") -> dict:
    """Return one row, with the columns that a lookup needs."""
    return {
        "id": f"{config}:{accession}",
        "accession": accession,
        "input": f"Here it is: <seq> {' '.join(sequence)} </seq>",
        "output": output,
    }


def write_dataset(folder: Path, config: str = "function", **splits: list[dict]) -> Path:
    """Write the splits of one config, a shard each, and return the folder."""
    for split, rows in splits.items():
        path = folder / config / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), path)
    return folder
