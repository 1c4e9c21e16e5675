"""PubMed records: the XML of the yearly baseline and updates, or JSON Lines of our own layout.

A structured abstract stays whole: one part a line, each after its label (`METHODS: ...`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from proteinlm_sft.entry import Rejected, SourceError
from proteinlm_sft.json_lines import read_json_lines
from proteinlm_sft.markup import iterate, plain_text

_YEAR = re.compile(r"\d{4}")
_FIELDS = ("pmid", "title", "journal", "year", "doi", "pmcid", "abstract")


@dataclass(frozen=True, slots=True, kw_only=True)
class Abstract:
    """One record; every field but `pmid` may be empty, the abstract too."""

    pmid: str
    title: str
    journal: str
    year: str
    doi: str
    pmcid: str
    abstract: str


def read_pubmed_xml(stream: BinaryIO, name: str) -> Iterator[Abstract | Rejected]:
    """Read a `PubmedArticleSet`, books included, one record at a time.

    Plain-language and translated versions (`OtherAbstract`) and copyright notes are left out. A
    record that an update file deletes (`DeleteCitation`) is not followed up.

    Raises:
        SourceError: The XML is broken, cut short, or holds no PubMed record.
    """
    count = 0
    for element in iterate(stream, name, ("PubmedArticle", "PubmedBookArticle")):
        count += 1
        yield _record(element)
    if not count:
        raise SourceError(f"{name} holds no PubmedArticle. Is it a file of PubMed's baseline?")


def read_pubmed_jsonl(stream: BinaryIO, name: str) -> Iterator[Abstract | Rejected]:
    """Read JSON Lines with `pmid` and `abstract`, and `title, journal, year, doi, pmcid` if known.

    Raises:
        SourceError: A line is broken or lacks a key; the message names it.
    """
    for number, found in enumerate(read_json_lines(stream, name, _FIELDS, ("pmid", "abstract")), 1):
        if found["pmid"].isdigit():
            yield Abstract(**found)
        else:
            yield Rejected(found["pmid"], "no_pmid", f"{name}, record {number}")


def _record(element: Any) -> Abstract | Rejected:
    kinds = ("MedlineCitation", "BookDocument")
    citation: Any = next((found for kind in kinds for found in element.iterfind(kind)), element)
    pmid = plain_text(citation.find("PMID"))
    if not pmid.isdigit():
        return Rejected(pmid, "no_pmid", plain_text(element)[:80])
    article: Any = next(citation.iterfind("Article"), citation)
    # Not a search at any depth: the references of the article have ids of their own.
    ids = {
        item.get("IdType"): plain_text(item)
        for path in ("PubmedData", "PubmedBookData")
        for item in element.iterfind(f"{path}/ArticleIdList/ArticleId")
    }
    return Abstract(
        pmid=pmid,
        title=plain_text(article.find("ArticleTitle")),
        journal=plain_text(article.find("Journal/Title")),
        year=_year(article),
        doi=ids.get("doi") or plain_text(article.find("ELocationID[@EIdType='doi']")),
        pmcid=ids.get("pmc", ""),
        abstract="\n".join(filter(None, map(_part, article.iterfind("Abstract/AbstractText")))),
    )


def _part(element: Any) -> str:
    text, label = plain_text(element), element.get("Label") or ""
    return f"{label}: {text}" if text and label and label != "UNLABELLED" else text


def _year(article: Any) -> str:
    date = article.find("Journal/JournalIssue/PubDate")
    date = article.find("Book/PubDate") if date is None else date
    found = _YEAR.search(plain_text(date))
    return found.group() if found else ""
