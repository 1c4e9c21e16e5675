"""ENZYME files as they are: wrapped lines, old releases, dead numbers, damage."""

import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proteinlm_sft.entry import SourceError
from proteinlm_sft.enzyme import EnzymeTable, follow, read_enzymes

HEADER = """CC   ----------------
CC   Release of 03-May-2023
CC   ----------------
//
"""
ENTRIES = """ID   9.1.1.1
DE   Testase (N-acetyl-
DE   forming) of
DE   tests.
AN   Old testase.
CA   (1) A + (2S)-2-
CA   hydroxy acid + an alpha-
CA   or beta-sugar = C.
CA   (2) A =  D.
CF   Zinc.
CC   -!- Needs zinc; acts on 1,2,3-
CC       tricarboxylates, 2-deoxy- and
CC       6-deoxy sugars.
CC   -!- Formerly EC 9.1.1.2.
DI   Testosis; MIM:123456.
PR   PROSITE; PDOC00058;
DR   P12345, TST1_HUMAN ;  P67890, TST_PEA    ;
//
ID   9.1.1.2
DE   Transferred entry: 9.1.1.1.
//
ID   9.1.1.3
DE   Transferred entry: 9.1.1.2, 9.1.1.7 and
DE   9.1.1.n4.
//
ID   9.1.1.n4
DE   preliminary testase.
DR   P12345, TST1_HUMAN;
//
ID   9.1.1.5
DE   Deleted entry.
//
ID   9.1.1.6
DE   Transferred entry: 9.1.1.7.
//
ID   9.1.1.7
DE   Transferred entry: 9.1.1.6.
//
"""


def read(text: str) -> EnzymeTable:
    return read_enzymes(io.BytesIO(text.encode()), "enzyme.dat")


def test_an_entry_has_its_name_reactions_and_comments_whole():
    enzyme = read(HEADER + ENTRIES).enzymes["9.1.1.1"]
    assert enzyme.name == "Testase (N-acetyl-forming) of tests"
    assert enzyme.reactions == (
        "(1) A + (2S)-2-hydroxy acid + an alpha- or beta-sugar = C.",
        "(2) A = D.",
    )
    assert enzyme.comments == (
        "Needs zinc; acts on 1,2,3-tricarboxylates, 2-deoxy- and 6-deoxy sugars.",
        "Formerly EC 9.1.1.2.",
    )


def test_accessions_have_all_their_numbers():
    assert read(HEADER + ENTRIES).by_accession == {
        "P12345": ("9.1.1.1", "9.1.1.n4"),
        "P67890": ("9.1.1.1",),
    }


def test_dead_numbers_are_kept_apart():
    table = read(HEADER + ENTRIES)
    assert set(table.enzymes) == {"9.1.1.1", "9.1.1.n4"}
    assert table.transferred["9.1.1.3"] == ("9.1.1.2", "9.1.1.7", "9.1.1.n4")
    assert table.deleted == {"9.1.1.5"}


@pytest.mark.parametrize(
    ("number", "live"),
    [
        ("9.1.1.1", ("9.1.1.1",)),
        ("9.1.1.2", ("9.1.1.1",)),
        ("9.1.1.3", ("9.1.1.n4", "9.1.1.1")),
        ("9.1.1.5", ()),
        ("9.1.1.6", ()),
        ("9.9.9.9", ()),
    ],
)
def test_transfers_are_followed_to_numbers_in_use_and_cycles_end(
    number: str, live: tuple[str, ...]
):
    assert follow(read(HEADER + ENTRIES), number) == live


@pytest.mark.parametrize(
    ("line", "release"),
    [
        ("Release of 03-May-2023", "03-May-2023"),
        ("Release 27.0 of October 2001", "27.0 of October 2001"),
    ],
)
def test_the_release_is_that_of_the_header(line: str, release: str):
    assert read(f"CC   {line}\n//\n{ENTRIES}").release == release


def test_line_ends_and_the_end_mark_of_dos_are_no_fault():
    plain = read(HEADER + ENTRIES)
    assert read((HEADER + ENTRIES).replace("\n", "\r\n") + "\x1a") == plain


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "header"),
        (ENTRIES.encode(), "header"),
        (b"<html>\n//\n", "header"),
        (HEADER.encode(), "no ENZYME entry"),
        ((HEADER + ENTRIES[:-4]).encode(), "truncated"),
        ((HEADER + ENTRIES).encode() + b"ID   9.1.1.8\nDE   \xe9tase.\n//\n", "UTF-8"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused(data: bytes, message: str):
    with pytest.raises(SourceError, match=message):
        read_enzymes(io.BytesIO(data), "enzyme.dat")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("DR   P1, A; P2\n//\n", "malformed_enzyme"),
        ("PR   PFAM; PF1;\n//\n", "malformed_enzyme"),
        ("//rebase.example/\n//\n", "malformed_enzyme"),
        ("", "unterminated_enzyme"),
        ("//\nID   9.1.2.1\nDE   Again.\n//\n", "duplicate_enzyme"),
    ],
)
def test_a_damaged_entry_is_listed_and_the_next_one_is_read(broken: str, reason: str):
    good = "ID   9.1.2.2\nDE   Good.\n//\n"
    table = read(f"{HEADER}ID   9.1.2.1\nDE   Bad.\n{broken}{good}")
    assert [(entry.accession, entry.reason) for entry in table.rejected] == [("9.1.2.1", reason)]
    assert table.enzymes["9.1.2.2"].name == "Good"


@given(st.data())
def test_a_mutated_file_is_refused_or_read_without_a_traceback(data: st.DataObject):
    text = bytearray((HEADER + ENTRIES).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place : place + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=3))
    try:
        table = read_enzymes(io.BytesIO(bytes(text)), "enzyme.dat")
    except SourceError:
        return
    assert all(follow(table, number) for number in table.enzymes)


@pytest.fixture
def real_enzyme() -> Callable[[str], EnzymeTable]:
    folder = Path(__file__).parent.parent.parent / "shared" / "data"
    folder = Path(os.environ.get("PROTEINLM_TEST_DATA", folder)) / "enzyme"

    def load(name: str) -> EnzymeTable:
        if not (folder / name).is_file():
            pytest.skip(f"no real data at {folder / name}")
        with gzip.open(folder / name) as stream:
            return read_enzymes(stream, name)

    return load


def test_the_release_of_2001_is_read_whole(real_enzyme: Callable[[str], EnzymeTable]):
    table = real_enzyme("enzyme_2001_full.dat.gz")
    assert (len(table.enzymes), len(table.transferred), len(table.deleted)) == (3541, 231, 98)
    assert table.rejected == ()
    assert all(enzyme.reactions for enzyme in table.enzymes.values())
    assert len(table.by_accession) == 27494


def test_every_id_of_2023_is_in_use_dead_or_listed(real_enzyme: Callable[[str], EnzymeTable]):
    table = real_enzyme("enzyme_2023_id_de.dat.gz")
    dead = len(table.transferred) + len(table.deleted)
    assert len(table.enzymes) + dead + len(table.rejected) == 8212
    # Four entries of this file are cut off in the middle of a line.
    assert {entry.reason for entry in table.rejected} == {"unterminated_enzyme"}
    assert len(table.rejected) == 4
