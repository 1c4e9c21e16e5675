"""Which enzyme numbers of a protein become rows, and what the rows say."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest

from proteinlm_sft.entry import Entry, EnzymeNumber
from proteinlm_sft.enzyme import Enzyme, EnzymeTable
from proteinlm_sft.enzyme_rows import EnzymeRow, draw, enzyme_candidates
from proteinlm_sft.templates import Mode

ENTRY = Entry(
    accession="P12345",
    secondary_accessions=("Q00001",),
    entry_name="TST_HUMAN",
    reviewed=True,
    names=("Testase",),
    organism="Homo sapiens",
    taxon_id=9606,
    comments=(),
    sequence="MKV",
)


def enzyme(number: str, *reactions: str, comments: tuple[str, ...] = ()) -> Enzyme:
    return Enzyme(number=number, name="testase", reactions=reactions, comments=comments)


TABLE = EnzymeTable(
    release="03-May-2023",
    enzymes={
        "9.1.1.1": enzyme("9.1.1.1", "A = B.", comments=("Needs zinc.", "Slow.")),
        "9.1.1.2": enzyme("9.1.1.2", "(1) A = C.", "(2) A = D."),
        "9.1.1.3": enzyme("9.1.1.3"),
    },
    transferred={
        "9.1.1.4": ("9.1.1.1",),
        "9.1.1.5": ("9.1.1.1", "9.1.1.2"),
        "9.1.1.6": ("9.1.1.7",),
    },
    deleted=frozenset({"9.1.1.7"}),
    by_accession={"Q00001": ("9.1.1.2",), "P12345": ("9.1.1.1",)},
    rejected=(),
)
ALONE = replace(TABLE, by_accession={})


def rows(
    entry: Entry,
    table: EnzymeTable = ALONE,
    *,
    sifts: Mapping[str, tuple[str, ...]] | None = None,
    mode: Mode = "clean",
    counts: Counter[str] | None = None,
) -> list[EnzymeRow]:
    return list(
        enzyme_candidates(entry, table, sifts, 1, mode, Counter() if counts is None else counts)
    )


def with_numbers(*numbers: str, evidence: tuple[str, ...] = ()) -> Entry:
    return replace(ENTRY, enzyme_numbers=tuple(EnzymeNumber(it, evidence) for it in numbers))


def test_each_number_of_a_protein_is_a_row():
    found = rows(with_numbers("9.1.1.2", "9.1.1.1"))
    assert [(row.number, row.joined_by) for row in found] == [
        ("9.1.1.2", "entry"),
        ("9.1.1.1", "entry"),
    ]


def test_enzymes_dr_lines_add_numbers_by_any_accession_of_the_protein():
    found = rows(with_numbers("9.1.1.1", evidence=("ECO:0000269",)), TABLE)
    assert [(row.number, row.joined_by, row.evidence) for row in found] == [
        ("9.1.1.1", "entry", ("ECO:0000269",)),
        ("9.1.1.2", "enzyme", ()),
    ]


def test_a_sifts_table_alone_decides_where_it_is_given():
    entry = with_numbers("9.1.1.1", evidence=("ECO:0000269",))
    assert [row.number for row in rows(entry, TABLE, sifts={"Q00001": ("9.1.1.2",)})] == ["9.1.1.2"]
    found = rows(entry, TABLE, sifts={"P12345": ("9.1.1.1",)})
    assert [(row.joined_by, row.evidence) for row in found] == [("sifts", ("ECO:0000269",))]
    assert rows(entry, TABLE, sifts={}) == []


@pytest.mark.parametrize(
    ("number", "live", "reason"),
    [
        ("9.1.1.4", ["9.1.1.1"], "transferred_number"),
        ("9.1.1.5", [], "split_number"),
        ("9.1.1.6", [], "deleted_number"),
        ("9.1.1.7", [], "deleted_number"),
        ("9.1.1.8", [], "unknown_number"),
        ("9.1.-.-", [], "partial_number"),
        ("9.1.1.3", [], "no_reaction"),
    ],
)
def test_numbers_that_are_not_in_use_are_followed_or_dropped_and_counted(
    number: str, live: list[str], reason: str
):
    counts: Counter[str] = Counter()
    found = rows(with_numbers(number), counts=counts)
    assert [row.number for row in found] == live
    assert counts == {f"enzyme_cot.{reason}": 1}


def test_a_protein_without_a_number_is_counted():
    counts: Counter[str] = Counter()
    assert rows(ENTRY, counts=counts) == []
    assert counts == {"enzyme_cot.no_number": 1}


def test_a_number_and_its_forerunner_are_one_row():
    assert [row.number for row in rows(with_numbers("9.1.1.1", "9.1.1.4"))] == ["9.1.1.1"]


@pytest.mark.parametrize(
    ("evidence", "has_evidence", "experimental"),
    [
        (("ECO:0000269",), True, True),
        (("ECO:0000255", "ECO:0000269"), True, False),
        ((), True, False),
        ((), False, None),
    ],
)
def test_a_row_is_experimental_only_when_all_evidence_of_the_number_is(
    evidence: tuple[str, ...], has_evidence: bool, experimental: bool | None
):
    entry = replace(with_numbers("9.1.1.1", evidence=evidence), has_evidence=has_evidence)
    (row,) = rows(entry)
    assert (row.evidence, row.experimental) == (evidence, experimental)


def test_clean_rows_have_a_reaction_a_line_and_one_full_stop():
    (row,) = rows(with_numbers("9.1.1.2"))
    assert row.output == (
        "So, this enzyme should belong to the testase. Therefore, by synthesizing the analysis of "
        "this enzyme, we can determine the reaction(s) it is involved in as follows: \n"
        "(1) A = C.\n(2) A = D."
    )


def test_paper_rows_are_the_template_as_it_stands():
    (row,) = rows(with_numbers("9.1.1.1"), mode="paper")
    assert row.output == (
        "Based on the analysis of the provided protein sequence, the function of this protein is "
        "described as follows: Needs zinc. Slow. So, this enzyme should belong to the testase. "
        "Therefore, by synthesizing the analysis of this enzyme, we can determine the reaction(s) "
        "it is involved in as follows: \nA = B.."
    )


def test_the_draw_depends_on_seed_enzyme_and_protein_alone():
    assert draw(1, "9.1.1.1", "P12345") == rows(with_numbers("9.1.1.1"))[0].draw
    draws = {
        draw(seed, number, accession)
        for seed in (1, 2)
        for number in ("9.1.1.1", "9.1.1.11")
        for accession in ("P12345", "1P12345")
    }
    assert len(draws) == 8
    assert all(0 <= value < 2**64 for value in draws)
    assert draw(1, "9.1.1.1", "P12345") == DRAW


# Written down once: another value would change which proteins every dataset keeps.
DRAW = 7162771272012388670
