"""The reader of UniProtKB tables: the entries of the flat file as far as a table carries them."""

import csv
import io
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_uniprot_xml import SHAPES
from uniprot_entries import TSV_HEADINGS, Protein, Remark, to_tsv

from proteinlm_sft.entry import Comment, Entry, EnzymeNumber, Rejected, SourceError
from proteinlm_sft.uniprot_tsv import read_uniprot_tsv

ROOT = Path(__file__).parent.parent
PLAIN = to_tsv([Protein()])


def read(data: bytes) -> list[Entry | Rejected]:
    return list(read_uniprot_tsv(io.BytesIO(data), "some.tsv"))


def only(data: bytes) -> Entry:
    (entry,) = read(data)
    assert isinstance(entry, Entry)
    return entry


def table(**cells: str) -> bytes:
    """Return a table of one protein with the required columns and the given ones."""
    row = {
        "Entry": "P00001",
        "Entry Name": "SAMP_TESTE",
        "Organism": "Testudo exempli",
        "Sequence": "MKTAY",
    } | cells
    return ("\t".join(row) + "\n" + "\t".join(row.values()) + "\n").encode()


@pytest.mark.parametrize("protein", SHAPES)
def test_a_table_gives_the_entry_but_for_what_it_cannot_carry(protein: Protein) -> None:
    whole = protein.entry()
    numbers = tuple(EnzymeNumber(enzyme.number) for enzyme in whole.enzyme_numbers)
    carried = replace(
        whole,
        secondary_accessions=(),
        enzyme_numbers=numbers,
        has_evidence=bool(protein.remarks),
    )
    assert only(to_tsv([protein])) == carried


def test_the_headings_of_older_exports_are_read() -> None:
    data = PLAIN
    for new, old in {
        "Entry Name": "Entry name",
        "Reviewed": "Status",
        "Gene Names": "Gene names",
        "Organism (ID)": "Organism ID",
        "Taxonomic lineage": "Taxonomic lineage (ALL)",
        "Function [CC]": "Function",
        "Subunit structure": "Subunit structure [CC]",
        "Domain [CC]": "Domain",
    }.items():
        data = data.replace(f"{new}\t".encode(), f"{old}\t".encode(), 1)
    assert read(data) == read(PLAIN)


def test_columns_may_come_in_any_order_with_others_between() -> None:
    rows = [line.split("\t") for line in PLAIN.decode().splitlines()]
    for row, cell in zip(rows, ("Domain [FT]", "DOMAIN 1..2"), strict=True):
        row.reverse()
        row.insert(3, cell)
    assert read("".join("\t".join(row) + "\n" for row in rows).encode()) == read(PLAIN)


def test_the_required_columns_are_enough() -> None:
    entry = only(table())
    assert (entry.accession, entry.sequence, entry.reviewed) == ("P00001", "MKTAY", True)
    assert (entry.names, entry.comments, entry.taxon_id) == ((), (), None)
    assert (entry.created, entry.has_evidence, entry.fragment) == ("", False, False)


def test_a_column_says_which_rows_are_reviewed() -> None:
    assert only(table(Reviewed="reviewed")).reviewed
    assert not only(table(Reviewed="unreviewed")).reviewed


def test_blocks_of_a_cell_are_told_apart_by_their_topic() -> None:
    cell = (
        "FUNCTION: Binds; holds. {ECO:0000305}.; FUNCTION: [Isoform 2]: Lacks SUBUNIT: it.; "
        "FUNCTION: Third."
    )
    assert only(table(**{"Function [CC]": cell})).comments == (
        Comment("FUNCTION", "Binds; holds. {ECO:0000305}."),
        Comment("FUNCTION", "[Isoform 2]: Lacks SUBUNIT: it."),
        Comment("FUNCTION", "Third."),
    )


def test_cells_without_a_topic_are_comments_of_their_column_without_evidence() -> None:
    cells = {heading: f"Says {topic}." for topic, heading in TSV_HEADINGS.items()}
    entry = only(table(**cells))
    assert entry.comments == tuple(Comment(t, f"Says {t}.") for t in TSV_HEADINGS)
    assert not entry.has_evidence


def test_a_tag_or_a_topic_shows_that_the_table_has_evidence() -> None:
    assert only(table(Induction="By heat. {ECO:0000305}.")).has_evidence
    assert only(table(Induction="INDUCTION: By heat.")).has_evidence


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("Sample protein", ("Sample protein",)),
        ("Sample (SP) (EC 1.1.1.1) (Other (beta) name)", ("Sample", "SP", "Other (beta) name")),
        ("Sample(S) synthase [Cu-Zn] (SSC)", ("Sample(S) synthase [Cu-Zn]", "SSC")),
        ("Sample (SP) [Cleaved into: Chain A (CA); Chain B]", ("Sample", "SP")),
        ("Sample [Includes: Front (EC 2.1.1.1); Back (EC 3.1.1.1)]", ("Sample",)),
        ("Sample (CD antigen CD999) (allergen Exe l 1) (Fragment)", ("Sample",)),
        ("Sample) (SP)", ("Sample)", "SP")),
        ("(SP)", ("(SP)",)),
        ("", ()),
    ],
)
def test_protein_names_are_split_at_their_outer_brackets(cell: str, names: tuple[str]) -> None:
    assert only(table(**{"Protein names": cell})).names == names


def test_enzyme_numbers_come_from_their_column_or_else_from_the_names() -> None:
    named = {
        "Protein names": "A (EC 1.1.1.1) (EC 2.-.-.-) [Includes: B (EC 1.1.1.1) (EC 3.1.n2.-)]"
    }
    numbers = only(table(**named)).enzyme_numbers
    assert [enzyme.number for enzyme in numbers] == ["1.1.1.1", "2.-.-.-", "3.1.n2.-"]
    numbers = only(table(**named, **{"EC number": "4.1.1.1; 5.1.1.-"})).enzyme_numbers
    assert [enzyme.number for enzyme in numbers] == ["4.1.1.1", "5.1.1.-"]


def test_a_fragment_is_known_by_its_column_or_its_name() -> None:
    assert only(table(Fragment="single")).fragment
    assert only(table(**{"Protein names": "Sample (Fragments)"})).fragment


def test_windows_line_ends_a_byte_order_mark_and_blank_lines_are_taken() -> None:
    data = b"\xef\xbb\xbf" + PLAIN.replace(b"\n", b"\r\n") + b"\r\n"
    assert read(data) == read(PLAIN)


@pytest.mark.parametrize("column", ["Entry", "Entry Name", "Organism", "Sequence"])
def test_a_missing_column_is_named(column: str) -> None:
    data = table().replace(column.encode() + b"\t", b"X\t").replace(column.encode() + b"\n", b"X\n")
    with pytest.raises(SourceError, match=rf"some\.tsv .* lacks columns: {column}\. "):
        read(data)


@pytest.mark.parametrize("data", [b"", b"\n", b"ID   SAMP_TESTE\n", b"<uniprot/>"])
def test_another_kind_of_file_is_an_error(data: bytes) -> None:
    with pytest.raises(SourceError, match="not a UniProtKB table"):
        read(data)


def test_a_table_without_a_row_is_an_error() -> None:
    for data in (PLAIN.splitlines(keepends=True)[0], table().splitlines()[0] + b"\n\n"):
        with pytest.raises(SourceError, match="no row"):
            read(data)


def test_bytes_that_are_not_utf8_are_an_error_with_the_row() -> None:
    with pytest.raises(SourceError, match="row 2 is not UTF-8"):
        read(PLAIN.replace(b"Holds", b"H\xe9lds"))


def test_a_row_with_another_number_of_cells_is_rejected() -> None:
    more = PLAIN.replace(b"Cytoplasm", b"Cytoplasm\textra")
    fewer = PLAIN[: PLAIN.index(b"Holds")] + b"\n"
    for data, count in ((more, 23), (fewer, 11)):
        (row,) = read(data)
        assert row == Rejected("P00001", "cells", f"row 2 has {count} cells, the header 22")


def test_a_last_row_that_may_be_cut_short_is_never_taken() -> None:
    (cut,) = read(PLAIN[:-10])
    assert isinstance(cut, Rejected)
    assert cut.reason == "length"
    with pytest.raises(SourceError, match="cut short"):
        read(table()[:-3])
    assert read(PLAIN[:-1]) == read(PLAIN)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"Entry": ""}, "no accession"),
        ({"Entry": "P00001-2"}, "no accession"),
        ({"Sequence": ""}, "no sequence"),
        ({"Length": "6"}, "length"),
        ({"Length": ""}, "length"),
        ({"Sequence": "mktay"}, "letters"),
        ({"Sequence": "MKT*"}, "letters"),
        ({"Entry Name": ""}, "incomplete"),
        ({"Organism": ""}, "incomplete"),
    ],
)
def test_a_row_that_cannot_be_trusted_is_rejected(cells: dict[str, str], reason: str) -> None:
    (row,) = read(table(**cells))
    assert isinstance(row, Rejected)
    assert row.reason == reason


def test_a_line_without_end_is_not_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proteinlm_sft.uniprot_tsv._LONGEST_ROW", 100)
    stream = io.BytesIO(b"x" * 10_000)
    with pytest.raises(SourceError, match="not a UniProtKB table"):
        list(read_uniprot_tsv(stream, "some.tsv"))
    assert stream.tell() <= 100


@settings(max_examples=200, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(PLAIN)), st.integers(0, 3), st.binary(max_size=4)),
        min_size=1,
        max_size=3,
    )
)
def test_damaged_bytes_give_entries_rejections_or_a_source_error(
    changes: list[tuple[int, int, bytes]],
) -> None:
    data = to_tsv([Protein(remarks=(Remark(text="A."), Remark(topic="PTM", text="B.")))] * 2)
    for position, removed, added in changes:
        data = data[:position] + added + data[position + removed :]
    try:
        found = read(data)
    except SourceError:
        return
    assert found


def test_real_rows_agree_with_the_cells_of_the_table() -> None:
    folder = Path(os.environ.get("PROTEINLM_TEST_DATA", ROOT.parent / "shared" / "data"))
    path = folder / "uniprot" / "toxprot_2005.tsv"
    if not path.is_file():
        pytest.skip(f"no real data at {path}")
    with path.open(encoding="utf-8", newline="") as text, path.open("rb") as stream:
        rows = list(csv.DictReader(text, delimiter="\t", quoting=csv.QUOTE_NONE))
        entries = list(read_uniprot_tsv(stream, path.name))
    for entry, row in zip(entries, rows, strict=True):
        assert isinstance(entry, Entry)
        assert (entry.accession, entry.sequence) == (row["Entry"], row["Sequence"])
        assert (entry.organism, str(entry.taxon_id)) == (row["Organism"], row["Organism (ID)"])
        assert row["Protein names"].startswith(entry.names[0])
        said = {comment.topic: comment.text for comment in entry.comments}
        assert said.get("FUNCTION", "") == row["Function [CC]"].strip()
        assert said.get("PTM", "") == row["Post-translational modification"].strip()
        assert not entry.has_evidence
    assert len(entries) == 1200
