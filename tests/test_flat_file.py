"""The reader of UniProtKB flat files, on real and invented entries, whole and damaged ones."""

import gzip
import io
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from Bio import SwissProt
from hypothesis import given, settings
from hypothesis import strategies as st
from uniprot_entries import COPYRIGHT, Disease, Protein, Remark, accession, to_flat

from proteinlm_sft.entry import TOPICS, Comment, Entry, EnzymeNumber, Rejected, SourceError
from proteinlm_sft.flat_file import read_flat_file

ROOT = Path(__file__).parent.parent
PLAIN = to_flat(Protein())


def read(data: bytes) -> list[Entry | Rejected]:
    return list(read_flat_file(io.BytesIO(data), "some.dat"))


def rejected(data: bytes) -> Rejected:
    (only,) = read(data)
    assert isinstance(only, Rejected)
    return only


@pytest.mark.parametrize(
    "protein",
    [
        Protein(),
        Protein(reviewed=False, entry_name="A0A001_TESTE", accession="A0A001ABC1"),
        Protein(remarks=(), keywords=(), genes=()),
        Protein(fragment=True, secondary_accessions=tuple(accession(n) for n in range(2, 40))),
        Protein(
            short_names=("SP", "SmP-1"),
            alternative_names=("Sample-holding protein", "P50 (beta)"),
            genes=("smp1", "smp-2", "CG1"),
            keywords=tuple(f"Long keyword of number-{n}" for n in range(20)),
            lineage=tuple(f"Taxon-{n} incertae sedis" for n in range(20)),
            organism="Exempla longa (strain ATCC 1 / DSM 2 / JCM-3 / NBRC 4 / NRRL 5 / T-6) (Rod)",
            enzymes=(("1.2.3.4", ("ECO:0000269|PubMed:1", "ECO:0000255")), ("2.7.-.-", ())),
        ),
        Protein(
            remarks=(
                Remark(text="Binds."),
                Remark(molecule="Isoform 2", text="Lacks it.", evidence=("ECO:0000305",)),
                Remark(molecule="Chain Short-end", text="Inhibits (PubMed:10000001)."),
                Remark(topic="SUBUNIT", text="Forms alpha- and beta-dimers. " * 20 + "Ends."),
                Remark(
                    topic="PTM", text="Cut at Arg-10/Lys-11-12/Gly-13 by furin-like. " * 9 + "."
                ),
                Disease(
                    name="Sample palsy 3, early-onset",
                    acronym="SPL3",
                    mim="600001",
                    description="A palsy of samples. Inheritance is autosomal.",
                    evidence=("ECO:0000269|PubMed:10000001", "ECO:0000269|PubMed:10000002"),
                    note="Caused by variants affecting the gene represented in this entry.",
                ),
                Disease(note="Defects may cause it.", note_evidence=("ECO:0000269|Ref.5",)),
            ),
        ),
    ],
)
def test_an_entry_gives_what_it_was_written_from(protein: Protein) -> None:
    data = to_flat(protein)
    assert max(map(len, data.splitlines())) <= 80
    assert read(data * 2) == [protein.entry()] * 2


def test_other_topics_and_the_copyright_are_not_comments() -> None:
    others = b"CC   -!- SIMILARITY: Belongs to FUNCTION: none. {ECO:0000305}.\n"
    (entry,) = read(PLAIN.replace(b"CC   -!- FUNCTION", others + b"CC   -!- FUNCTION", 1))
    assert entry == Protein().entry()
    assert read(PLAIN.replace(COPYRIGHT.encode(), b"")) == [entry]


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        ("binds the", "alpha chain", "binds the alpha chain"),
        ("binds in a calcium-", "dependent way", "binds in a calcium-dependent way"),
        ("from oocyte-", "to-zygote", "from oocyte-to-zygote"),
        ("alpha-", "and-beta", "alpha-and-beta"),
        ("alpha- and", "beta-chain", "alpha- and beta-chain"),
        ("cadherin/", "catenin", "cadherin/ catenin"),
        ("ends. {ECO:0000255|HAMAP-", "Rule:MF_1}.", "ends. {ECO:0000255|HAMAP-Rule:MF_1}."),
        ("ends. {ECO:0000305,", "ECO:0000255}.", "ends. {ECO:0000305, ECO:0000255}."),
    ],
)
def test_wrapped_lines_are_joined_as_uniprot_broke_them(
    first: str, second: str, joined: str
) -> None:
    start = PLAIN.index(b"CC   -!-")
    lines = f"CC   -!- FUNCTION: {first}\nCC       {second}\n".encode()
    (entry,) = read(PLAIN[:start] + lines + PLAIN[PLAIN.index(b"CC   ---") :])
    assert isinstance(entry, Entry)
    assert entry.comments == (Comment("FUNCTION", joined),)


def test_names_are_of_the_whole_protein_and_enzyme_numbers_of_its_parts_too() -> None:
    name = b"DE   RecName: Full=Sample protein;\n"
    more = (
        b"DE   RecName: Full=Sample protein {ECO:0000303|PubMed:1, ECO:0000305};\n"
        b"DE            Short=SP {ECO:0000305};\n"
        b"DE            EC=1.1.1.1 {ECO:0000269|PubMed:1, ECO:0000269|PubMed:2, ECO:0000255};\n"
        b"DE   AltName: Full=Other;\n"
        b"DE            Short=OT;\n"
        b"DE   AltName: CD_antigen=CD999;\n"
        b"DE   Includes:\n"
        b"DE     RecName: Full=Front part;\n"
        b"DE              EC=2.7.n1.- {ECO:0000305};\n"
        b"DE              EC=1.1.1.1 {ECO:0000305};\n"
        b"DE   Contains:\n"
        b"DE     RecName: Full=Short chain;\n"
        b"DE   Flags: Precursor; Fragments;\n"
    )
    (entry,) = read(PLAIN.replace(name, more))
    assert isinstance(entry, Entry)
    assert entry.names == ("Sample protein", "SP", "Other", "OT")
    assert entry.enzyme_numbers == (
        EnzymeNumber("1.1.1.1", ("ECO:0000269", "ECO:0000255", "ECO:0000305")),
        EnzymeNumber("2.7.n1.-", ("ECO:0000305",)),
    )
    assert entry.fragment


def test_evidence_is_removed_from_genes_keywords_and_taxon() -> None:
    data = PLAIN.replace(
        b"GN   Name=smp1;\n",
        b"GN   Name=smp1 {ECO:0000303|PubMed:1}; Synonyms=a1 {ECO:0000305, ECO:0000255}, b2;\n"
        b"GN   OrderedLocusNames=At1g1;\nGN   and\nGN   Name=smp2; ORFNames=F-\nGN   1.2;\n",
    )
    data = data.replace(b"Cytoplasm.\n", b"Cytoplasm {ECO:0000256|HAMAP-\nKW   Rule:MF_1}; Zinc.\n")
    data = data.replace(b"=999001;", b"=999001 {ECO:0000312|EMBL:AAA1.1};")
    (entry,) = read(data)
    assert isinstance(entry, Entry)
    assert entry.genes == ("smp1", "a1", "b2", "At1g1", "smp2", "F-1.2")
    assert (entry.keywords, entry.taxon_id) == (("Cytoplasm", "Zinc"), 999001)


def test_entries_are_cut_alike_wherever_the_blocks_of_the_stream_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proteins = [Protein(accession=accession(n)) for n in range(3)]
    data = b"".join(map(to_flat, proteins))
    for size in (1, 2, 3, 5, 7, 64, len(data) - 1):
        monkeypatch.setattr("proteinlm_sft.flat_file._BLOCK", size)
        assert read(data) == [protein.entry() for protein in proteins]


def test_a_file_may_end_without_a_line_end_or_with_blank_lines() -> None:
    assert read(PLAIN[:-1]) == read(PLAIN + b"\n\n") == read(PLAIN)


@pytest.mark.parametrize("cut", ["KW   ", "     MKTAY", "//"])
def test_an_entry_without_its_end_names_the_accession(cut: str) -> None:
    whole = to_flat(Protein(accession="P00002"))
    reader = read_flat_file(io.BytesIO(PLAIN + whole[: whole.index(cut.encode())]), "some.dat")
    assert isinstance(next(reader), Entry)
    with pytest.raises(SourceError, match=r"some\.dat: the entry P00002 has no //"):
        next(reader)


def test_a_file_that_never_ends_an_entry_is_not_held_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("proteinlm_sft.flat_file._BLOCK", 100)
    monkeypatch.setattr("proteinlm_sft.flat_file._LONGEST_ENTRY", 2000)
    stream = io.BytesIO(PLAIN.removesuffix(b"//\n") + b"DR   X; Y; -.\n" * 10_000)
    with pytest.raises(SourceError, match="P00001 has no //"):
        list(read_flat_file(stream, "some.dat"))
    assert stream.tell() < 3000


def test_two_entries_glued_together_are_an_error() -> None:
    for glued in (PLAIN.replace(b"//\n", b"") + PLAIN, PLAIN.replace(b"//\n", b"// \n") + PLAIN):
        with pytest.raises(SourceError, match="P00001 has no // before the next ID line"):
            read(glued)


def test_a_stream_without_an_entry_is_an_error() -> None:
    for data in (b"", b"\n \n"):
        with pytest.raises(SourceError, match=r"some\.dat is empty"):
            read(data)


@pytest.mark.parametrize(
    "data", [b">sp|P12345|X\nMKT\n", b"<uniprot/>", b"\x89PNG\r\n\x1a\n", b"I"]
)
def test_another_kind_of_file_is_shown_by_its_first_bytes(data: bytes) -> None:
    with pytest.raises(SourceError, match="not a UniProtKB flat file") as caught:
        read(data)
    assert repr(data) in str(caught.value)


def test_windows_line_ends_are_named_as_a_possible_cause() -> None:
    with pytest.raises(SourceError, match="CR LF"):
        read(PLAIN.replace(b"\n", b"\r\n"))


@pytest.mark.parametrize("line", [b"Full=Sample", b"Model tortoise", b"Holds the", b"Cytoplasm"])
def test_bytes_that_are_not_utf8_are_an_error_in_a_line_that_is_used(line: bytes) -> None:
    with pytest.raises(SourceError, match="P00001 is not UTF-8"):
        read(PLAIN.replace(line, line[:3] + b"\xe9" + line[3:], 1))


def test_bytes_that_are_not_utf8_are_skipped_with_the_lines_that_are_not_used() -> None:
    assert read(PLAIN.replace(b"EMBL/GenBank", b"EMBL/\xe9", 1)) == read(PLAIN)


def without(code: str) -> bytes:
    return b"".join(x for x in PLAIN.splitlines(keepends=True) if not x.startswith(code.encode()))


@pytest.mark.parametrize("code", ["DT", "DE", "OS", "OC", "OX"])
def test_an_entry_that_lacks_a_kind_of_line_is_rejected_with_its_code(code: str) -> None:
    assert rejected(without(code)) == Rejected("P00001", "incomplete", f"no {code}")


def test_an_entry_without_accession_or_sequence_is_rejected() -> None:
    assert rejected(without("AC")).reason == "no accession"
    assert rejected(PLAIN.replace(b"AC   P00001;", b"AC   ;")).reason == "no accession"
    assert rejected(without("SQ")).reason == "no sequence"
    assert rejected(without("     ")).reason == "no sequence"


def test_a_sequence_that_disagrees_with_its_entry_is_rejected() -> None:
    assert rejected(PLAIN.replace(b" 69 AA.", b" 70 AA.")).reason == "length"
    assert rejected(PLAIN.replace(b" 69 AA;", b" 68 AA;")).reason == "length"
    assert rejected(PLAIN.replace(b"     MKTAY", b"     MKTA")).reason == "length"
    assert rejected(PLAIN.replace(b"     MKTAY", b"     MKTYA")).reason == "checksum"
    assert rejected(PLAIN.replace(b"     MKTAY", b"     MKTay")).reason == "letters"
    assert rejected(PLAIN.replace(b"     MKTAY", b"     MKT?Y")).reason == "letters"


def test_a_line_of_no_known_kind_rejects_the_entry_and_is_shown() -> None:
    for line in ("XX   what", "CX       wrapped", "", "CCC"):
        data = PLAIN.replace(b"KW   ", line.encode() + b"\nKW   ")
        assert rejected(data).reason == "unknown line"
        assert line in rejected(data).detail


def test_a_comment_with_a_line_that_is_not_indented_is_rejected() -> None:
    data = PLAIN.replace(b"Holds the", b"Holds\nCC   the")
    assert rejected(data).reason == "comment line"


def test_the_entries_around_a_rejected_one_are_kept() -> None:
    bad = PLAIN.replace(b"     MKTAY", b"     MKTYA")
    assert [type(found) for found in read(PLAIN + bad + PLAIN)] == [Entry, Rejected, Entry]


@settings(max_examples=300, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 2 * len(PLAIN)), st.integers(0, 3), st.binary(max_size=4)),
        min_size=1,
        max_size=4,
    )
)
def test_damaged_bytes_give_entries_rejections_or_a_source_error(
    changes: list[tuple[int, int, bytes]],
) -> None:
    data = PLAIN * 2
    for position, removed, added in changes:
        data = data[:position] + added + data[position + removed :]
    try:
        found = read(data)
    except SourceError:
        return
    assert 1 <= len(found) <= 3
    for entry in found:
        assert isinstance(entry, Rejected) or entry.sequence == Protein().sequence


def real_records(name: str) -> Iterator[tuple[Entry | Rejected, Any]]:
    folder = Path(os.environ.get("PROTEINLM_TEST_DATA", ROOT.parent / "shared" / "data"))
    path = folder / "uniprot" / name
    if not path.is_file():
        pytest.skip(f"no real data at {path}")
    with gzip.open(path, "rb") as stream, gzip.open(path, "rt", encoding="utf-8") as text:
        yield from zip(read_flat_file(stream, name), SwissProt.parse(text), strict=True)


@pytest.mark.parametrize("name", ["uniprot_sprot.dat.gz", "uniprot_trembl.dat.gz"])
def test_real_entries_agree_with_biopython(name: str) -> None:
    count = 0
    for count, (entry, record) in enumerate(real_records(name), 1):  # noqa: B007
        assert isinstance(entry, Entry)
        assert (entry.accession, *entry.secondary_accessions) == tuple(record.accessions)
        assert (entry.entry_name, entry.sequence) == (record.entry_name, record.sequence)
        assert entry.reviewed == (record.data_class == "Reviewed")
        assert [str(entry.taxon_id)] == record.taxonomy_id
        assert entry.lineage == tuple(record.organism_classification)
        assert same(entry.organism, record.organism.removesuffix("."))
        assert list(entry.keywords) == list(bare(record.keywords))
        assert entry.created == iso(record.created[0])
        assert entry.modified == iso(record.annotation_update[0])
        kept = [text for text in record.comments if text.split(": ")[0] in TOPICS]
        assert len(kept) == len(entry.comments)
        for comment, text in zip(entry.comments, kept, strict=True):
            assert same(f"{comment.topic}: {comment.text}", text)
            assert "\n" not in comment.text
    assert count > 100


def same(one: str, other: str) -> bool:
    """Whether two texts are equal but for how wrapped lines were joined."""
    return "".join(one.split()) == "".join(other.split())


def bare(keywords: list[str]) -> Iterator[str]:
    """Biopython leaves the evidence in, and takes the rest of a wrapped list for a keyword."""
    for keyword in keywords:
        name = keyword.split("{ECO:")[0].strip()
        if not name.endswith("}") and not name.startswith("ECO:"):
            yield name


def iso(day: str) -> str:
    return datetime.strptime(day.title(), "%d-%b-%Y").date().isoformat()  # noqa: DTZ007
