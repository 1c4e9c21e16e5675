"""The reader of UniProtKB XML: the entries of the flat file, and what it makes of damage."""

import gzip
import io
import os
import resource
from pathlib import Path

import pytest
from Bio import SeqIO
from hypothesis import given, settings
from hypothesis import strategies as st
from uniprot_entries import Disease, Protein, Remark, to_flat, to_xml

from proteinlm_sft.entry import Entry, EnzymeNumber, Rejected, SourceError
from proteinlm_sft.flat_file import read_flat_file
from proteinlm_sft.uniprot_xml import read_uniprot_xml

ROOT = Path(__file__).parent.parent
PLAIN = to_xml([Protein()])
PALSY = Disease(
    name="Sample palsy 3, early-onset",
    acronym="SPL3",
    mim="600001",
    description="A palsy of samples (PubMed:10000001). Inheritance is autosomal.",
    evidence=("ECO:0000269|PubMed:10000001", "ECO:0000269|Ref.5"),
    note="Caused by variants affecting the gene represented in this entry.",
    note_evidence=("ECO:0000305",),
)
SHAPES = [
    Protein(),
    Protein(reviewed=False, accession="A0A001ABC1", fragment=True, genes=()),
    Protein(remarks=(), keywords=()),
    Protein(
        secondary_accessions=("P00002", "P00003"),
        short_names=("SP",),
        alternative_names=("Sample-holding protein", "Holder < & > 'beta'"),
        genes=("smp1", "smp-2"),
        organism="Exempla longa (strain K-12 / T 1) (Rod)",
        enzymes=(("1.2.3.4", ("ECO:0000269|PubMed:1", "ECO:0000255")), ("2.7.-.-", ())),
    ),
    Protein(
        remarks=(
            Remark(
                text="Binds alpha- and beta-chains of N-acetyl-D-glucosamine-binding. " * 6 + "."
            ),
            Remark(molecule="Isoform 2", text="Lacks it.", evidence=("ECO:0000305",)),
            Remark(molecule="Short chain", text="Inhibits (PubMed:10000001, PubMed:10000002)."),
            Remark(topic="SUBUNIT", text="Dimer.", evidence=("ECO:0000255|HAMAP-Rule:MF_1",)),
            Remark(topic="TISSUE SPECIFICITY", text="In \N{GREEK SMALL LETTER BETA}-cells."),
            Remark(topic="PTM", text="Cut.", evidence=("ECO:0000250|UniProtKB:P00009",)),
            PALSY,
            Disease(name="Sample itch", acronym="SI", description="An itch."),
            Disease(note="Defects may cause it.", molecule="Isoform 2"),
        )
    ),
]


def read(data: bytes) -> list[Entry | Rejected]:
    return list(read_uniprot_xml(io.BytesIO(data), "some.xml"))


def rejected(data: bytes) -> Rejected:
    (only,) = read(data)
    assert isinstance(only, Rejected)
    return only


def test_a_document_gives_what_its_entries_were_written_from() -> None:
    assert read(to_xml(SHAPES)) == [protein.entry() for protein in SHAPES]


@pytest.mark.parametrize("protein", SHAPES)
def test_xml_and_flat_file_give_the_same_entry(protein: Protein) -> None:
    assert read(to_xml([protein])) == list(read_flat_file(io.BytesIO(to_flat(protein)), "flat"))


def test_the_disease_comment_has_the_wording_of_the_flat_file() -> None:
    (entry,) = read(to_xml([Protein(remarks=(PALSY,))]))
    assert isinstance(entry, Entry)
    (comment,) = entry.comments
    assert comment.topic == "DISEASE"
    assert comment.text == (
        "Sample palsy 3, early-onset (SPL3) [MIM:600001]: A palsy of samples (PubMed:10000001). "
        "Inheritance is autosomal. {ECO:0000269|PubMed:10000001, ECO:0000269|Ref.5}. Note=Caused "
        "by variants affecting the gene represented in this entry. {ECO:0000305}."
    )


def test_both_namespaces_and_prefixes_are_read() -> None:
    secure = PLAIN.replace(b"http://uniprot", b"https://uniprot")
    prefixed = PLAIN.replace(b"xmlns=", b"xmlns:up=").replace(b"<", b"<up:")
    prefixed = prefixed.replace(b"<up:/", b"</up:").replace(b"<up:?", b"<?")
    assert read(secure) == read(prefixed) == [Protein().entry()]


def test_comments_on_other_topics_and_comments_of_xml_are_skipped() -> None:
    other = b'<comment type="similarity"><text>Not this.</text></comment>'
    data = PLAIN.replace(b"<comment ", other + b"<comment ", 1)
    data = data.replace(b"Holds the", b"Holds <!-- not this --><?nor this?>the")
    assert read(data) == [Protein().entry()]


def test_names_are_of_the_whole_protein_and_enzyme_numbers_of_its_parts_too() -> None:
    parts = (
        b"<domain><recommendedName><fullName>Front</fullName><ecNumber>1.1.1.1</ecNumber>"
        b"</recommendedName></domain><component><recommendedName><fullName>Chain</fullName>"
        b"</recommendedName></component></protein>"
    )
    (entry,) = read(PLAIN.replace(b"</protein>", parts))
    assert isinstance(entry, Entry)
    assert entry.names == ("Sample protein",)
    assert entry.enzyme_numbers == (EnzymeNumber("1.1.1.1"),)


def test_the_sequence_of_an_isoform_is_not_that_of_the_entry() -> None:
    isoform = (
        b'<comment type="alternative products"><isoform><sequence type="displayed"/></isoform>'
    )
    data = PLAIN.replace(b"<comment ", isoform + b"</comment><comment ", 1)
    assert read(data) == [Protein().entry()]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_memory_does_not_grow_with_the_number_of_entries() -> None:
    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    start, end = PLAIN.index(b"<entry"), PLAIN.index(b"<copyright")
    data = PLAIN[:start] + PLAIN[start:end] * 5000 + PLAIN[end:]
    reader = read_uniprot_xml(io.BytesIO(data), "some.xml")
    next(reader)
    before = resident_bytes()
    assert sum(1 for _ in reader) == 4999
    assert resident_bytes() - before < len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not xml",
        PLAIN[: len(PLAIN) // 2],
        PLAIN.replace(b"</uniprot>", b""),
        PLAIN.replace(b"</text>", b"</test>"),
        PLAIN.replace(b"Holds", b"Holds \xe9\xff"),
        PLAIN.replace(b"Holds", b"Holds &unknown;"),
    ],
)
def test_broken_or_unfinished_xml_is_an_error(data: bytes) -> None:
    with pytest.raises(SourceError, match=r"some\.xml is not whole XML"):
        read(data)


@pytest.mark.parametrize("data", [b"<html/>", PLAIN.replace(b"//uniprot.org", b"//example.org")])
def test_a_document_without_an_entry_is_an_error(data: bytes) -> None:
    with pytest.raises(SourceError, match="has no <entry>"):
        read(data)


def test_a_document_type_is_refused() -> None:
    kind = b'<!DOCTYPE uniprot [<!ENTITY secret SYSTEM "file:///etc/hostname">]>\n<uniprot'
    data = PLAIN.replace(b"<uniprot", kind, 1).replace(b"Holds", b"&secret;")
    with pytest.raises(SourceError, match="document type"):
        read(data)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"<accession>P00001</accession>", b"", "no accession"),
        (b"P00001", b"P0001", "no accession"),
        (b'length="69"', b'length="70"', "length"),
        (b'length="69"', b"", "length"),
        (b">MKTAY", b">MKTYA", "checksum"),
        (b'checksum="', b'checksum="0', "checksum"),
        (b">MKTAY", b">MKTay", "letters"),
        (b"<name>SAMP_TESTE</name>", b"", "incomplete"),
        (b'type="NCBI Taxonomy"', b"", "incomplete"),
        (b'id="999001"', b'id="x"', "incomplete"),
        (b'type="scientific">', b"/><name", "incomplete"),
        (b'created="2005-03-01"', b"", "incomplete"),
        (b'dataset="Swiss-Prot"', b"", "incomplete"),
        (b"<fullName>Sample protein</fullName>", b"", "incomplete"),
        (b'key="1"', b'key="2"', "incomplete"),
    ],
)
def test_an_entry_that_cannot_be_trusted_is_rejected(old: bytes, new: bytes, reason: str) -> None:
    if old.startswith(b'type="scientific'):
        old, new = b">Testudo exempli<", b"><"
        data = PLAIN.replace(old, new).replace(b">Model tortoise<", b"><")
    else:
        data = PLAIN.replace(old, new, 1)
    assert data != PLAIN
    assert rejected(data).reason == reason


def test_an_entry_without_a_sequence_is_rejected() -> None:
    start, end = PLAIN.index(b"<sequence "), PLAIN.index(b"</sequence>") + len("</sequence>")
    assert rejected(PLAIN[:start] + PLAIN[end:]).reason == "no sequence"
    emptied = PLAIN.replace(Protein().sequence.encode(), b"")
    assert rejected(emptied) == Rejected("P00001", "no sequence", "the entry has no residues")


def test_the_entries_around_a_rejected_one_are_kept() -> None:
    data = to_xml([Protein(), Protein(sequence="MKKKKKKKKA"), Protein()])
    found = read(data.replace(b">MKKKKKKKKA", b">MKKKKKKKAK"))
    assert [type(entry) for entry in found] == [Entry, Rejected, Entry]


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
    data = PLAIN
    for position, removed, added in changes:
        data = data[:position] + added + data[position + removed :]
    try:
        found = read(data)
    except SourceError:
        return
    (entry,) = found
    assert isinstance(entry, Rejected) or entry.sequence == Protein().sequence


def test_real_entries_agree_with_biopython() -> None:
    folder = Path(os.environ.get("PROTEINLM_TEST_DATA", ROOT.parent / "shared" / "data"))
    path = folder / "uniprot" / "uniprot_sprot_250.xml.gz"
    if not path.is_file():
        pytest.skip(f"no real data at {path}")
    with gzip.open(path, "rb") as stream, gzip.open(path, "rb") as other:
        entries = list(read_uniprot_xml(stream, path.name))
        for entry, record in zip(entries, SeqIO.parse(other, "uniprot-xml"), strict=True):
            assert isinstance(entry, Entry)
            notes = record.annotations
            assert (entry.accession, *entry.secondary_accessions) == tuple(notes["accessions"])
            assert (entry.entry_name, entry.sequence) == (record.name, str(record.seq))
            assert entry.names[0] == record.description
            assert tuple(dict.fromkeys(entry.lineage)) == tuple(notes["taxonomy"])
            assert entry.organism.startswith(notes["organism"].split(" (")[0])
            assert entry.keywords == tuple(notes.get("keywords", ()))
            assert (entry.created, entry.modified) == (notes["created"], notes["modified"])
            for topic in ("function", "subunit", "induction", "domain", "PTM"):
                said = [c.text for c in entry.comments if c.topic == topic.upper()]
                plain = notes.get(f"comment_{topic}", [])
                assert [text.split(" {ECO:")[0] for text in said] == plain
    assert len(entries) == 250
