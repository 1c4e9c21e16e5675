"""Reader of a UniProtKB table: tab-separated, as the website and the REST service export it.

Headings of the present service and of its predecessors are taken, in any order and any case;
` [CC]` at their end may be missing.
"""

import re
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from proteinlm_sft.entry import TOPICS, Comment, Entry, EnzymeNumber, Rejected, SourceError
from proteinlm_sft.residues import check_sequence

_REQUIRED = ("Entry", "Entry Name", "Organism", "Sequence")
_OLD_HEADINGS = {
    "status": "reviewed",
    "organism id": "organism (id)",
    "taxonomic lineage (all)": "taxonomic lineage",
}
_HEADINGS = {
    "FUNCTION": "function",
    "SUBUNIT": "subunit structure",
    "TISSUE SPECIFICITY": "tissue specificity",
    "INDUCTION": "induction",
    "DOMAIN": "domain",
    "PTM": "post-translational modification",
    "DISEASE": "involvement in disease",
}
# Several blocks on a topic stand in one cell: `FUNCTION: A.; FUNCTION: [Isoform 2]: B.`
_BLOCKS = {topic: re.compile(f"; (?={topic}: )") for topic in TOPICS}
_LONGEST_ROW = 64 << 20
_PARTS = re.compile(r" \[(?:Cleaved into|Includes): ")
_NUMBER = re.compile(r"\(EC ([^ ()]+)\)")
_RANK = re.compile(r" \([^()]*\)$")
# What stands in brackets behind a protein's name without being a name.
_NO_NAME = re.compile(r"EC \S+|CD antigen .*|allergen .*|Fragments?")


def read_uniprot_tsv(stream: BinaryIO, name: str) -> Iterator[Entry | Rejected]:
    """Read the rows of a table.

    The table cannot carry: secondary accessions, the evidence of EC numbers, CRC64. Lineage is
    the long one of the taxonomy where it is given. Without a column `Reviewed` the rows are taken
    for reviewed (an export of a Swiss-Prot query), without a `Length` none is checked. A row has
    evidence where one of its comments has a tag (`{ECO:`) or begins with its topic, as in all
    exports since 2013.

    Args:
        stream: Decompressed bytes.
        name: Of the file, for messages.

    Raises:
        SourceError: A column is missing, no row, bytes that are not UTF-8, or a last line that
            may be cut short.
    """
    header = [_heading(cell) for cell in _cells(stream.readline(_LONGEST_ROW), name, 1)]
    if missing := [column for column in _REQUIRED if column.lower() not in header]:
        raise SourceError(
            f"{name} is not a UniProtKB table, or lacks columns: {', '.join(missing)}. It begins "
            f"with {' | '.join(header)[:60]!r}. Export it again with these columns."
        )
    number, empty = 1, True
    while raw := stream.readline(_LONGEST_ROW):
        number += 1
        if not raw.endswith(b"\n") and "length" not in header:
            raise SourceError(
                f"{name}: the last line has no line end and may be cut short. Export it again, "
                "with the column Length, or add the line end."
            )
        if not raw.strip():
            continue
        empty = False
        cells = _cells(raw, name, number)
        if len(cells) == len(header):
            yield _read_row(dict(zip(header, cells, strict=True)))
        else:
            detail = f"row {number} has {len(cells)} cells, the header {len(header)}"
            yield Rejected(cells[0][:20], "cells", detail)
    if empty:
        raise SourceError(f"{name} has a header and no row. Export it again.")


def _cells(line: bytes, name: str, number: int) -> list[str]:
    try:
        return line.rstrip(b"\r\n").decode("utf-8-sig").split("\t")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{name}: row {number} is not UTF-8 ({error}). Export it again as UTF-8."
        ) from error


def _heading(cell: str) -> str:
    heading = cell.strip().lower().removesuffix(" [cc]")
    return _OLD_HEADINGS.get(heading, heading)


def _read_row(row: Mapping[str, str]) -> Entry | Rejected:
    sequence, length = row["sequence"], row.get("length")
    lengths = () if length is None else (length,)
    if rejected := check_sequence(row["entry"], sequence.encode(), lengths, None):
        return rejected
    if missing := [column for column in ("entry name", "organism") if not row[column]]:
        return Rejected(row["entry"], "incomplete", f"no {', '.join(missing)}")
    named, taxon = row.get("protein names", ""), row.get("organism (id)", "")
    cells = {topic: row.get(heading, "").strip() for topic, heading in _HEADINGS.items()}
    numbers = _items(row["ec number"]) if "ec number" in row else _NUMBER.findall(named)
    return Entry(
        accession=row["entry"],
        entry_name=row["entry name"],
        reviewed=row.get("reviewed", "reviewed").lower() == "reviewed",
        names=_names(named),
        genes=tuple(row.get("gene names", "").replace(";", " ").split()),
        organism=row["organism"],
        taxon_id=int(taxon) if re.fullmatch("[0-9]{1,9}", taxon) else None,
        lineage=tuple(
            _RANK.sub("", taxon) for taxon in row.get("taxonomic lineage", "").split(", ") if taxon
        ),
        keywords=_items(row.get("keywords", "")),
        enzyme_numbers=tuple(EnzymeNumber(number) for number in dict.fromkeys(numbers)),
        created=row.get("date of creation", ""),
        modified=row.get("date of last modification", ""),
        fragment=bool(row.get("fragment")) or "(Fragment" in named,
        comments=tuple(
            Comment(topic, block.removeprefix(f"{topic}: "))
            for topic, cell in cells.items()
            for block in _BLOCKS[topic].split(cell)
            if block
        ),
        sequence=sequence,
        has_evidence=any("{ECO:" in c or c.startswith(f"{topic}: ") for topic, c in cells.items()),
    )


def _items(cell: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in cell.split(";") if item.strip())


def _names(cell: str) -> tuple[str, ...]:
    """Split `Name (Short name) (EC 1.2.3.4) (Other (beta) name) [Cleaved into: ...]`.

    A name that itself ends in brackets behind a blank cannot be told from two names.
    """
    first, others = _PARTS.split(cell, maxsplit=1)[0], list[str]()
    while first.endswith(")") and (start := _opening(first)) > 0 and first[start - 1] == " ":
        others.insert(0, first[start + 1 : -1])
        first = first[: start - 1]
    return tuple(name for name in (first, *others) if name and not _NO_NAME.fullmatch(name))


def _opening(text: str) -> int:
    """Return where the bracket opens that closes at the end of a text, -1 if nowhere."""
    depth = 0
    for at in range(len(text) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(text[at], 0)
        if not depth:
            return at
    return -1
