"""The SIFTS tables (PDBe) of the paper: enzymes of PDB chains and articles about PDB entries.

`pdb_chain_enzyme.csv` has the columns PDB, CHAIN, ACCESSION, EC_NUMBER and `pdb_pubmed.csv` PDB,
ORDINAL, PUBMED_ID, each below a comment line with the date.
"""

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO

from proteinlm_sft.entry import SourceError

_ENZYME_COLUMNS = ("PDB", "CHAIN", "ACCESSION", "EC_NUMBER")
_PUBMED_COLUMNS = ("PDB", "ORDINAL", "PUBMED_ID")


def read_sifts_enzymes(stream: BinaryIO, name: str) -> dict[str, tuple[str, ...]]:
    """Return the EC numbers of each UniProtKB accession, sorted.

    Chains without a number (`?`) are passed over; the apostrophe before a number, which keeps
    spreadsheets from reading a date, is removed.

    Raises:
        SourceError: The columns are others, a line is cut short, there is no row, or not UTF-8.
    """
    pairs: dict[str, set[str]] = {}
    for _, _, accession, number in _rows(stream, name, _ENZYME_COLUMNS):
        if number := number.strip().lstrip("'").replace("?", ""):
            pairs.setdefault(accession.strip(), set()).add(number)
    return {accession: tuple(sorted(numbers)) for accession, numbers in pairs.items()}


def read_sifts_pubmed(stream: BinaryIO, name: str) -> frozenset[str]:
    """Return the PubMed ids of all articles about PDB entries.

    Raises:
        SourceError: The columns are others, a line is cut short, there is no row, or not UTF-8.
    """
    return frozenset(
        pubmed.strip()
        for _, _, pubmed in _rows(stream, name, _PUBMED_COLUMNS)
        if pubmed.strip().isdecimal()
    )


def _rows(stream: BinaryIO, name: str, columns: tuple[str, ...]) -> Iterator[list[str]]:
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    try:
        lines = csv.reader(line for line in text if not line.startswith("#"))
        header = next(lines, [""])
        if tuple(header) != columns:
            raise SourceError(
                f"{name} begins with the columns {','.join(header)!r}, not {','.join(columns)!r}. "
                "Give the csv file that SIFTS publishes."
            )
        count = 0
        for count, row in enumerate(lines, 1):
            if len(row) != len(columns):
                raise SourceError(
                    f"{name}: row {count} has {len(row)} of {len(columns)} values: {row}. "
                    "The file is truncated; download it again."
                )
            yield row
        if not count:
            raise SourceError(f"{name} holds no row. Download it again.")
    except UnicodeDecodeError as error:
        raise SourceError(f"{name} is not UTF-8 ({error}). Download it again.") from error
    except csv.Error as error:
        raise SourceError(f"{name} is no csv file ({error}). Download it again.") from error
    finally:
        text.detach()  # the stream is the caller's to close
