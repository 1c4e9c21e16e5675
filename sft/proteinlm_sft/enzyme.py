"""The ENZYME flat file (SIB): accepted names, reactions, comments, and what became of old numbers.

Biopython parses each entry. It glues the lines of DE and CA together without a blank, and a word
split at a hyphen with one, so the lines are joined before it sees them.
"""

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from proteinlm_sft.entry import Rejected, SourceError

_RELEASE = re.compile(r"CC\s+Release\s+(?:of\s+)?(.+?)\s*$")
_NUMBER = re.compile(r"\d+\.\d+\.\d+\.n?\d+")
# A reaction that the source numbers: "(2) ..." after the end of the one before.
_NUMBERED = re.compile(r"(?<=\.) (?=\(\d+\) )")


@dataclass(frozen=True, slots=True, kw_only=True)
class Enzyme:
    """One EC number in use. `name` has no full stop at its end; the texts keep theirs."""

    number: str
    name: str
    reactions: tuple[str, ...]
    comments: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnzymeTable:
    """The whole nomenclature of one release.

    `release` is what the header says ("03-May-2023"); `by_accession` holds the DR lines: the
    numbers of a UniProtKB accession. `rejected` are entries that could not be read.
    """

    release: str
    enzymes: Mapping[str, Enzyme]
    transferred: Mapping[str, tuple[str, ...]]
    deleted: frozenset[str]
    by_accession: Mapping[str, tuple[str, ...]]
    rejected: tuple[Rejected, ...]


def follow(table: EnzymeTable, number: str) -> tuple[str, ...]:
    """Return the numbers in use that a number stands for now: itself, or where it went.

    Transfers are followed to their end; a number that was deleted or is unknown gives none.
    """
    live: list[str] = []
    waiting, seen = [number], {number}
    while waiting:
        current = waiting.pop(0)
        if current in table.enzymes:
            live.append(current)
        fresh = [later for later in table.transferred.get(current, ()) if later not in seen]
        seen.update(fresh)
        waiting += fresh
    return tuple(live)


def read_enzymes(stream: BinaryIO, name: str) -> EnzymeTable:
    """Read `enzyme.dat`; its eight thousand entries fit in memory.

    Args:
        stream: The file, decompressed.
        name: What error messages call it.

    Raises:
        SourceError: No ENZYME header, no entry, no `//` at the end, or not UTF-8.
    """
    text = io.TextIOWrapper(stream, encoding="utf-8")
    try:
        return _read(text, name)
    except UnicodeDecodeError as error:
        raise SourceError(f"{name} is not UTF-8 ({error}). Download it again.") from error
    finally:
        text.detach()  # the stream is the caller's to close


def _read(lines: Iterable[str], name: str) -> EnzymeTable:
    records = _records(lines, name)
    header, _ = next(records, ([""], True))
    release = next(filter(None, map(_RELEASE.match, header)), None)
    if release is None:
        raise SourceError(f"{name} has no ENZYME header with its release. Is it enzyme.dat?")
    enzymes: dict[str, Enzyme] = {}
    transferred: dict[str, tuple[str, ...]] = {}
    deleted: set[str] = set()
    pairs: dict[str, list[str]] = {}
    rejected: list[Rejected] = []
    for record, ended in records:
        number = record[0][5:]
        if not ended:
            rejected.append(Rejected(number, "unterminated_enzyme", "the entry has no //"))
            continue
        try:
            found = _parse(record)
        except (ValueError, AssertionError, TypeError) as error:
            detail = f"the entry cannot be read ({error or type(error).__name__})"
            rejected.append(Rejected(number, "malformed_enzyme", detail))
            continue
        if number in enzymes or number in transferred or number in deleted:
            rejected.append(Rejected(number, "duplicate_enzyme", "the number came before"))
        elif found["DE"].startswith("Transferred entry"):
            transferred[number] = tuple(_NUMBER.findall(found["DE"]))
        elif found["DE"].startswith("Deleted entry"):
            deleted.add(number)
        else:
            enzymes[number] = _enzyme(found)
            for accession, _ in found["DR"]:
                pairs.setdefault(accession, []).append(number)
    if not (enzymes or transferred or deleted):
        raise SourceError(f"{name} holds no ENZYME entry that can be read. Download it again.")
    return EnzymeTable(
        release=release[1],
        enzymes=enzymes,
        transferred=transferred,
        deleted=frozenset(deleted),
        by_accession={accession: tuple(numbers) for accession, numbers in pairs.items()},
        rejected=tuple(rejected),
    )


def _enzyme(found: Mapping[str, Any]) -> Enzyme:
    return Enzyme(
        number=found["ID"],
        name=found["DE"].removesuffix("."),
        reactions=tuple(filter(None, _NUMBERED.split(" ".join(found["CA"].split())))),
        comments=tuple(" ".join(comment.split()) for comment in found["CC"]),
    )


def _records(lines: Iterable[str], name: str) -> Iterator[tuple[list[str], bool]]:
    """Give the lines of the header, then of each entry, and whether `//` ended it, not an ID."""
    record: list[str] = []
    for full_line in lines:
        line = full_line.rstrip("\r\n \x1a")  # releases of 2001 end with the end mark of DOS
        if line == "//" and record:
            yield record, True
            record = []
        elif line.startswith("ID   ") and record:
            yield record, False
            record = [line]
        elif line:
            record.append(line)
    if record:
        raise SourceError(f"{name} ends within {record[0]!r}: truncated. Download it again.")


def _parse(record: list[str]) -> Mapping[str, Any]:
    """Return what Biopython reads from one entry.

    Raises:
        ValueError: A line is none of ENZYME's.
        AssertionError: Biopython did not expect a PR line's content.
    """
    from Bio.ExPASy import Enzyme as Parser

    for line in record:
        if line[:5] not in _LINES:
            raise ValueError(f"unexpected line {line!r}")
    text = "\n".join([*_unwrapped(record), "//\n"])
    return cast("Any", Parser).read(io.StringIO(text))


_LINES = frozenset(f"{code}   " for code in ("ID", "DE", "AN", "CA", "CF", "CC", "DI", "PR", "DR"))


def _unwrapped(record: Iterable[str]) -> Iterator[str]:
    """Give one line for each text: what goes on is joined, at a hyphen without a blank.

    "alpha- or beta-" keeps its blank: a word such as "or" is never the rest of a name.
    """
    whole = ""
    for line in record:
        code, value = line[:5], line[5:]
        goes_on = code == whole[:5] and (
            code in ("DE   ", "CA   ") or (code == "CC   " and value.startswith("    "))
        )
        if not goes_on:
            if whole:
                yield whole
            whole = line
            continue
        value = value.strip()
        split = whole.endswith("-") and not value.startswith(("and ", "or "))
        whole += value if split else f" {value}"
    yield whole
