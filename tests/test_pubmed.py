"""PubMed records come whole, from XML and from JSON Lines; broken files are refused."""

import contextlib
import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proteinlm_sft.entry import Rejected, SourceError
from proteinlm_sft.inputs import find_inputs, open_input
from proteinlm_sft.pubmed import Abstract, read_pubmed_jsonl, read_pubmed_xml

STRUCTURED = """<PubmedArticle><MedlineCitation><PMID Version="1">101</PMID><Article>
<Journal><JournalIssue><PubDate><MedlineDate>1999 Jan-Feb</MedlineDate></PubDate></JournalIssue>
<Title>Journal of Made-up Proteins</Title></Journal>
<ArticleTitle>Calcium &amp; <i>smpA</i> in a tortoise.</ArticleTitle>
<Abstract><AbstractText Label="BACKGROUND">SmpA binds Ca<sup>2+</sup> and CO<sub>2</sub>.
</AbstractText><AbstractText Label="UNLABELLED">It is <b>stable</b>.</AbstractText>
<AbstractText Label="RESULTS"/><CopyrightInformation>Ours.</CopyrightInformation></Abstract>
<OtherAbstract Type="plain-language-summary"><AbstractText>Simple.</AbstractText></OtherAbstract>
</Article></MedlineCitation><PubmedData><ReferenceList><Reference><ArticleIdList>
<ArticleId IdType="doi">10.1/cited</ArticleId></ArticleIdList></Reference></ReferenceList>
<ArticleIdList><ArticleId IdType="doi">10.1/own</ArticleId><ArticleId IdType="pmc">PMC7</ArticleId>
</ArticleIdList></PubmedData></PubmedArticle>"""
TITLE_ALONE = """<PubmedArticle><MedlineCitation><PMID>102</PMID><Article><Journal><JournalIssue>
<PubDate><Year>2001</Year></PubDate></JournalIssue></Journal>
<ArticleTitle>No abstract.</ArticleTitle><ELocationID EIdType="doi">10.1/located</ELocationID>
</Article></MedlineCitation></PubmedArticle>"""
BOOK = """<PubmedBookArticle><BookDocument><PMID>103</PMID><Book>
<PubDate><Year>2010</Year></PubDate>
</Book><ArticleTitle>A chapter</ArticleTitle><Abstract><AbstractText>On shells.</AbstractText>
</Abstract></BookDocument></PubmedBookArticle>"""


def document(*records: str) -> bytes:
    return f"<?xml version='1.0'?><PubmedArticleSet>{''.join(records)}</PubmedArticleSet>".encode()


def read(data: bytes) -> list[Abstract | Rejected]:
    return list(read_pubmed_xml(io.BytesIO(data), "pubmed.xml"))


def test_a_structured_abstract_is_whole_with_its_labels() -> None:
    (found,) = read(document(STRUCTURED))

    assert found == Abstract(
        pmid="101",
        title="Calcium & smpA in a tortoise.",
        journal="Journal of Made-up Proteins",
        year="1999",
        doi="10.1/own",
        pmcid="PMC7",
        abstract="BACKGROUND: SmpA binds Ca(2+) and CO2.\nIt is stable.",
    )


def test_a_record_without_an_abstract_is_given_with_an_empty_one() -> None:
    (found,) = read(document(TITLE_ALONE))

    assert isinstance(found, Abstract)
    assert (found.abstract, found.doi, found.year) == ("", "10.1/located", "2001")


def test_a_chapter_of_a_book_is_a_record_too() -> None:
    (found,) = read(document(BOOK))

    assert isinstance(found, Abstract)
    assert (found.pmid, found.year, found.abstract) == ("103", "2010", "On shells.")


def test_records_come_in_the_order_of_the_file() -> None:
    pmids = [item.pmid for item in read(document(STRUCTURED, BOOK, TITLE_ALONE))]

    assert pmids == ["101", "103", "102"]


def test_a_record_without_a_pmid_is_rejected() -> None:
    (found,) = read(document(STRUCTURED.replace('<PMID Version="1">101</PMID>', "")))

    assert isinstance(found, Rejected)
    assert found.reason == "no_pmid"


@pytest.mark.parametrize("cut", [40, 300, 1200])
def test_xml_that_is_cut_short_is_refused_with_its_line(cut: int) -> None:
    with pytest.raises(SourceError, match=r"pubmed\.xml: broken or truncated XML in line \d"):
        read(document(STRUCTURED, TITLE_ALONE)[:cut])


def test_bytes_that_are_no_utf8_are_refused() -> None:
    with pytest.raises(SourceError, match="broken"):
        read(document(STRUCTURED).replace(b"tortoise", b"tortoise \xff\xfe"))


@pytest.mark.parametrize("data", [b"", b"<PubmedArticleSet/>", b"<article/>", b"PMID- 101\n"])
def test_a_file_without_a_record_is_refused(data: bytes) -> None:
    with pytest.raises(SourceError, match=r"pubmed\.xml"):
        read(data)


def test_an_external_entity_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("do not read me")
    data = document(STRUCTURED.replace("stable", "stable &leak;")).replace(
        b"<PubmedArticleSet>",
        f'<!DOCTYPE x [<!ENTITY leak SYSTEM "{secret.as_uri()}">]><PubmedArticleSet>'.encode(),
    )

    (found,) = read(data)

    assert isinstance(found, Abstract)
    assert "do not read me" not in found.abstract


def test_json_lines_give_records_and_fields_that_are_null_are_empty() -> None:
    lines = b'{"pmid": 5, "abstract": "Short.", "doi": null}\n\n{"pmid": "x", "abstract": ""}\n'

    first, second = read_pubmed_jsonl(io.BytesIO(lines), "a.jsonl")

    assert isinstance(first, Abstract)
    assert (first.pmid, first.abstract, first.doi, first.title) == ("5", "Short.", "", "")
    assert isinstance(second, Rejected)
    assert second.reason == "no_pmid"


@pytest.mark.parametrize(
    "line",
    [
        b'{"pmid": "6", "abst',
        b'{"pmid": "6"}',
        b"[]",
        b'{"pmid": "6", "abstract": "\xff"}',
        b'{"pmid": "6", "abstract": ["a"]}',
        b'{"pmid": "6", "abstract": "\\ud800"}',
    ],
)
def test_a_broken_line_is_refused_by_number(line: bytes) -> None:
    good = b'{"pmid": "5", "abstract": "Short."}\n'

    with pytest.raises(SourceError, match=r"a\.jsonl: line 2"):
        list(read_pubmed_jsonl(io.BytesIO(good + line), "a.jsonl"))


def test_a_file_without_a_line_is_refused() -> None:
    with pytest.raises(SourceError, match="no line"):
        list(read_pubmed_jsonl(io.BytesIO(b""), "a.jsonl"))


@given(place=st.integers(0, 1400), cut=st.integers(0, 8), junk=st.binary(max_size=6))
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_give_records_or_an_error_of_ours(place: int, cut: int, junk: bytes) -> None:
    data = document(STRUCTURED, BOOK)
    damaged = data[:place] + junk + data[place + cut :]

    with contextlib.suppress(SourceError):
        for item in read_pubmed_xml(io.BytesIO(damaged), "a"):
            assert isinstance(item, Abstract | Rejected)


@pytest.fixture
def literature() -> Path:
    """Return the folder of real articles; it is not part of the project."""
    folder = Path(__file__).parent.parent.parent / "shared" / "data"
    folder = Path(os.environ.get("PROTEINLM_TEST_DATA", folder)) / "literature"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}")
    return folder


def test_real_records_come_without_loss(literature: Path) -> None:
    records: list[Abstract | Rejected] = []
    for file in find_inputs([str(literature / "pubmed_xml")]):
        with open_input(file) as source:
            records += read_pubmed_xml(source.stream, file.name)
    (lines,) = find_inputs([str(literature / "pubmed_abstracts.jsonl.gz")])
    with open_input(lines) as source:
        abstracts = list(read_pubmed_jsonl(source.stream, lines.name))

    assert len(records) == 9
    assert all(isinstance(item, Abstract) and item.title for item in records)
    assert len(abstracts) == 5000
    assert all(isinstance(item, Abstract) and len(item.abstract) > 100 for item in abstracts)
