"""Which EC number an answer about an enzyme gives, and at which of the four levels it is right.

The template's answer names the enzyme ("should belong to the NAME") and not its number. The names
of the dataset's own rows, of all splits, say which number a name has; an alternative name, or an
enzyme that no row is about, cannot be read.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from proteinlm_ext.paths import hash_json

LEVELS = (1, 2, 3, 4)
_NUMBER = re.compile(r"(?<![\w.])[1-7](?:\.(?:n?\d+|-)){3}(?!\.?\w)")
# Of `proteinlm_sft.templates.ENZYME`; a test compares them.
_BEFORE, _AFTER = "this enzyme should belong to the ", ". Therefore, by synthesizing"

Names = Mapping[str, tuple[str, ...]]
# By hash: lm-eval hands a scorer one document and nothing else, and the names are too many for it.
_learned: dict[str, Names] = {}


def learn_names(rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Return the numbers of each enzyme's name.

    Args:
        rows: Rows of `enzyme_cot`, with `id` (enzyme_cot:ACCESSION:NUMBER) and `output`.
    """
    names: dict[str, set[str]] = {}
    for row in rows:
        if name := _enzyme_name(row["output"]):
            names.setdefault(_normalise(name), set()).add(_true_number(row["id"]))
    return {name: tuple(sorted(numbers)) for name, numbers in sorted(names.items())}


def add_numbers(docs: Sequence[dict[str, Any]], names: Names) -> None:
    """Add to each document all right numbers of its protein, and the hash of the names."""
    numbers: dict[str, set[str]] = {}
    for doc in docs:
        numbers.setdefault(doc["accession"], set()).add(_true_number(doc["id"]))
    key = hash_json(names)
    _learned[key] = names
    for doc in docs:
        doc["numbers"], doc["names_sha256"] = sorted(numbers[doc["accession"]]), key


def read_numbers(text: str, names: Names) -> tuple[str, ...]:
    """Return the numbers that an answer gives; empty if it cannot be read.

    In the template's conclusion the first number counts (naming many is no exact answer), else the
    enzyme's name, which may have several numbers. Numbers in the comments before it are of other
    enzymes ("see also EC ..."), so they count only where there is no conclusion and the text has a
    single one.
    """
    if name := _enzyme_name(text):
        return tuple(_NUMBER.findall(name)[:1]) or names.get(_normalise(name), ())
    found = tuple(dict.fromkeys(_NUMBER.findall(text)))
    return found if len(found) == 1 else ()


def score_numbers(doc: Mapping[str, Any], text: str) -> dict[str, float]:
    """Return `ec1` to `ec4` and `ec_invalid` of one answer.

    `ec3` is 1 if the first three fields of a number that the answer gives are those of a right
    number of the protein; a field "-" is never right. An answer that cannot be read has 0.

    Args:
        doc: A document that `add_numbers` was given in this process.
        text: The answer.
    """
    given = read_numbers(text, _learned[doc["names_sha256"]])
    scores = {f"ec{level}": _share_a_prefix(given, doc["numbers"], level) for level in LEVELS}
    return {**dict(reversed(scores.items())), "ec_invalid": float(not given)}


def _share_a_prefix(given: Iterable[str], right: Iterable[str], level: int) -> float:
    prefixes = [{tuple(n.split(".")[:level]) for n in numbers} for numbers in (given, right)]
    return float(any("-" not in prefix for prefix in prefixes[0] & prefixes[1]))


def _enzyme_name(text: str) -> str:
    """Return what stands in the template's conclusion, to the end of the line if it was cut off."""
    name = text.partition(_BEFORE)[2].partition(_AFTER)[0]
    return (name.strip().splitlines() or [""])[0]


def _normalise(name: str) -> str:
    return " ".join(name.lower().rstrip(" .").split())


def _true_number(row_id: str) -> str:
    return row_id.rpartition(":")[2]
