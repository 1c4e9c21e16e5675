"""Protein sequences put into abstracts, after the first mention of each protein.

A name stands for a sequence only if all reviewed entries that bear it, upper and lower case alike,
have the same one; so names that many species share ("Serum albumin") are out. Refused too are names
with fewer than five letters and digits, and single plain words ("Insulin", "Fibrin"), which may
mean something else. A mention is a name between word boundaries; a hyphen is none, so "anti-Abc1"
holds no mention of Abc1. The first letter of a name may be lower case in a sentence.
"""

import pickle
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, cast

from proteinlm_sft.bioc import Mention
from proteinlm_sft.entry import Entry, SourceError
from proteinlm_sft.templates import spell
from proteinlm_sft.uniprot_text import is_held_out

SHORTEST_NAME = 5
LONGEST_SEQUENCE = 2000
INSERTIONS = 3

_ACCESSION = re.compile(r"[OPQ]\d[A-Z\d]{3}\d|[A-NR-Z]\d(?:[A-Z][A-Z\d]{2}\d){1,2}")
_WORD = re.compile(r"[A-Za-z]?[a-z]+")
_LETTERS = re.compile(r"[^\W_]")
# A name beside one of these is part of a longer one.
_JOINERS = frozenset("-\u2010\u2011/_'\u2019+*")


@dataclass(frozen=True, slots=True)
class Insertion:
    """A sequence that was put in: the protein, the name before it, and where that name began.

    `offset` counts characters in the text before anything was put in.
    """

    accession: str
    name: str
    offset: int


@dataclass(frozen=True, slots=True)
class Dictionary:
    """Names and gene ids that stand for one sequence; `counts` tells why others do not.

    `automaton` gives, for a name as it may be written, that spelling and the accession.
    """

    genes: Mapping[str, str]
    sequences: Mapping[str, str]
    counts: Mapping[str, int]
    automaton: Any

    def save(self, path: Path) -> None:
        """Write the dictionary under a temporary name, then rename it."""
        temporary = path.with_name(f".{path.name}")
        with temporary.open("wb") as out:
            pickle.dump(self, out, protocol=5)
        temporary.replace(path)


def load_dictionary(path: Path) -> Dictionary:
    """Read a dictionary that this program has written, once a process."""
    return _load(path, path.stat().st_mtime_ns)


@cache
def _load(path: Path, written: int) -> Dictionary:  # noqa: ARG001 - a newer file is another one
    with path.open("rb") as saved:
        return pickle.load(saved)  # noqa: S301 - our own file in the build folder


def build_dictionary(
    entries: Iterable[Entry],
    holdout: frozenset[str] = frozenset(),
    genes: Mapping[str, str] | None = None,
) -> Dictionary:
    """Collect the names that stand for one sequence among the reviewed entries.

    Memory grows with the number of names: all of Swiss-Prot is about one million.

    Args:
        entries: Entries of UniProtKB; unreviewed ones are passed over.
        holdout: Accessions of validation and test, or sha256 of their sequences. Names of these
            sequences are out, but still make another's name ambiguous.
        genes: Accession of each NCBI Gene id, for annotations that give one.
    """
    owners: dict[str, tuple[str, str] | None] = {}
    sequences: dict[str, str] = {}
    held: set[str] = set()
    counts: Counter[str] = Counter()
    for entry in filter(lambda entry: entry.reviewed, entries):
        sequences[entry.accession] = entry.sequence
        if is_held_out(entry, holdout):
            held.add(entry.sequence)
        for name in dict.fromkeys(entry.names):
            if reason := _refusal(name):
                counts[reason] += 1
                continue
            key = name.casefold()
            found = owners.setdefault(key, (entry.accession, name))
            if found is not None and sequences[found[0]] != entry.sequence:
                owners[key] = None
    counts["ambiguous"] = sum(owner is None for owner in owners.values())
    owned = [owner for owner in owners.values() if owner is not None]
    names = {name: accession for accession, name in owned if sequences[accession] not in held}
    known = {
        gene: accession
        for gene, accession in (genes or {}).items()
        if accession in sequences and sequences[accession] not in held
    }
    counts["held_out"], counts["usable"] = len(owned) - len(names), len(names)
    kept = set(names.values()) | set(known.values())
    return Dictionary(
        genes=known,
        sequences={accession: sequences[accession] for accession in kept},
        counts=dict(sorted(counts.items())),
        automaton=_automaton(names),
    )


def read_gene_ids(stream: BinaryIO, name: str) -> dict[str, str]:
    """Return the accession of each NCBI Gene id from UniProt's `idmapping.dat`.

    Its lines are accession, kind of id, id; a gene with several accessions is left out.

    Raises:
        SourceError: A line has other columns, or no line gives a GeneID.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(stream, 1):
        cells = line.rstrip(b"\r\n").split(b"\t")
        if len(cells) != 3:
            raise SourceError(f"{name}: line {number} has {len(cells)} columns, not 3.")
        if cells[1] == b"GeneID":
            accession = cells[0].decode("ascii", "replace")
            gene = cells[2].decode("ascii", "replace")
            found[gene] = accession if found.get(gene, accession) == accession else ""
    if not found:
        raise SourceError(f"{name} gives no GeneID. Is it UniProt's idmapping.dat?")
    return {gene: accession for gene, accession in found.items() if accession}


def find_mentions(dictionary: Dictionary, text: str) -> Iterator[tuple[int, str, str]]:
    """Give offset, name as written, and accession of each mention; of overlapping, the longest."""
    automaton = dictionary.automaton
    found = [
        (end + 1 - len(name), name, accession)
        for end, (name, accession) in (automaton.iter(text) if len(automaton) else ())
        if _stands_alone(text, end + 1 - len(name), end + 1)
    ]
    found.sort(key=lambda item: (item[0], -len(item[1])))
    last = 0
    for offset, name, accession in found:
        if offset >= last:
            yield offset, name, accession
            last = offset + len(name)


def annotated_mentions(
    dictionary: Dictionary, mentions: Sequence[Mention]
) -> Iterator[tuple[int, str, str]]:
    """Give what annotations name: by accession, by NCBI Gene id, else by a usable name."""
    last = 0
    for mention in mentions:
        identifier = mention.identifier.removeprefix("UniProt:")
        _, by_name = dictionary.automaton.get(mention.text, ("", None))
        accession = dictionary.genes.get(identifier, by_name)
        if _ACCESSION.fullmatch(identifier):
            accession = identifier if identifier in dictionary.sequences else None
        if accession is not None and mention.offset >= last:
            yield mention.offset, mention.text, accession
            last = mention.offset + len(mention.text)


def insert_sequences(
    dictionary: Dictionary,
    text: str,
    mentions: Iterable[tuple[int, str, str]],
    counts: Counter[str],
) -> tuple[str, tuple[Insertion, ...]]:
    """Put `<seq> M K </seq>` after the first mention of each protein, three proteins at most.

    Args:
        dictionary: Where the sequences are.
        text: The abstract.
        mentions: Offset, name and accession, in the order of the text, none overlapping.
        counts: Grows by mentions whose sequence is too long or for which the text has no room.
    """
    insertions: list[Insertion] = []
    pieces: list[str] = []
    seen: set[str] = set()
    end = 0
    for offset, name, accession in mentions:
        if accession in seen:
            continue
        seen.add(accession)
        sequence = dictionary.sequences[accession]
        if len(sequence) > LONGEST_SEQUENCE:
            counts["sequence_too_long"] += 1
        elif len(insertions) == INSERTIONS:
            counts["over_limit"] += 1
        else:
            insertions.append(Insertion(accession, name, offset))
            pieces += (text[end : offset + len(name)], f" {spell(sequence)}")
            end = offset + len(name)
    return "".join((*pieces, text[end:])), tuple(insertions)


def _refusal(name: str) -> str | None:
    if len(_LETTERS.findall(name)) < SHORTEST_NAME:
        return "short"
    return "plain_word" if _WORD.fullmatch(name) else None


def _stands_alone(text: str, start: int, end: int) -> bool:
    before, after = text[start - 1 : start], text[end : end + 1]
    joined = any(side.isalnum() or side in _JOINERS for side in (before, after) if side)
    # "Abc1(1-42)" is a part of Abc1, "(Abc1)" is not.
    return not joined and after not in ("(", "[")


def _automaton(names: Mapping[str, str]) -> Any:
    import ahocorasick

    automaton = cast("Any", ahocorasick).Automaton()
    for name, accession in names.items():
        for written in {name, name[0].lower() + name[1:]} if name[1].islower() else {name}:
            automaton.add_word(written, (written, accession))
    automaton.make_automaton()
    return automaton
