"""Which pairs of enzyme and protein become rows, and what each row says.

A protein's numbers come from its own entry and from ENZYME's DR lines. Where a SIFTS table is
given, they come from that alone, as the paper's did.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from proteinlm_sft.cleaning import EXPERIMENTAL
from proteinlm_sft.entry import Entry
from proteinlm_sft.enzyme import Enzyme, EnzymeTable, follow
from proteinlm_sft.templates import ENZYME, Mode, enzyme_answer

JoinedBy = Literal["entry", "enzyme", "sifts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnzymeRow:
    """One enzyme number of one protein.

    `evidence` is that of the assignment in the entry, so other joins have none. `draw` orders
    the proteins of a number by chance: the 20 lowest are kept later.
    """

    number: str
    output: str
    evidence: tuple[str, ...]
    experimental: bool | None
    joined_by: JoinedBy
    draw: int


def enzyme_candidates(
    entry: Entry,
    table: EnzymeTable,
    sifts: Mapping[str, tuple[str, ...]] | None,
    seed: int,
    mode: Mode,
    counts: Counter[str],
) -> Iterator[EnzymeRow]:
    """Give the rows of one protein: one for each number in use that has a reaction.

    Args:
        entry: The protein.
        table: The nomenclature.
        sifts: The numbers of accessions in SIFTS, or None.
        seed: Decides the draw.
        mode: `clean` or `paper`.
        counts: Gets why a number gave no row, or was followed, under `enzyme_cot.`.
    """
    given = _sifts_numbers(entry, sifts) if sifts is not None else _numbers(entry, table)
    if not given:
        counts[f"{ENZYME.config}.no_number"] += 1
    done: set[str] = set()
    for number, (evidence, joined_by) in given.items():
        live = _in_use(table, number, counts)
        if live is None or live in done:
            continue
        done.add(live)
        enzyme = table.enzymes[live]
        if not enzyme.reactions:
            counts[f"{ENZYME.config}.no_reaction"] += 1
            continue
        proven = bool(evidence) and set(evidence) == {EXPERIMENTAL}
        yield EnzymeRow(
            number=live,
            output=_answer(enzyme, mode),
            evidence=evidence,
            experimental=proven if entry.has_evidence else None,
            joined_by=joined_by,
            draw=draw(seed, live, entry.accession),
        )


def draw(seed: int, number: str, accession: str) -> int:
    """Return an unsigned 64-bit number that seed, enzyme and protein decide (BLAKE2b)."""
    said = f"{seed}\t{number}\t{accession}".encode()
    return int.from_bytes(hashlib.blake2b(said, digest_size=8).digest(), "big")


def _numbers(entry: Entry, table: EnzymeTable) -> dict[str, tuple[tuple[str, ...], JoinedBy]]:
    """Return the numbers of a protein; the entry's own come first and keep their evidence."""
    given: dict[str, tuple[tuple[str, ...], JoinedBy]] = {
        found.number: (found.evidence, "entry") for found in entry.enzyme_numbers
    }
    for accession in (entry.accession, *entry.secondary_accessions):
        for number in table.by_accession.get(accession, ()):
            given.setdefault(number, ((), "enzyme"))
    return given


def _sifts_numbers(
    entry: Entry, sifts: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[tuple[str, ...], JoinedBy]]:
    evidence = {found.number: found.evidence for found in entry.enzyme_numbers}
    return {
        number: (evidence.get(number, ()), "sifts")
        for accession in (entry.accession, *entry.secondary_accessions)
        for number in sifts.get(accession, ())
    }


def _in_use(table: EnzymeTable, number: str, counts: Counter[str]) -> str | None:
    """Return the number in use that a number stands for; count where it is another one or none.

    A number that was split into several gives none: nothing says which of them the protein has.
    """
    live = follow(table, number)
    if live == (number,):
        return number
    if "-" in number:
        reason = "partial_number"
    elif live:
        reason = "transferred_number" if len(live) == 1 else "split_number"
    else:
        known = number in table.transferred or number in table.deleted
        reason = "deleted_number" if known else "unknown_number"
    counts[f"{ENZYME.config}.{reason}"] += 1
    return live[0] if len(live) == 1 else None


def _answer(enzyme: Enzyme, mode: Mode) -> str:
    return enzyme_answer(" ".join(enzyme.comments), enzyme.name, "\n".join(enzyme.reactions), mode)
