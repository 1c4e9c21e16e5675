"""Articles of PMC: JATS (NLM) XML, or JSON Lines of our own layout.

The text is title, abstracts, and the body by section, headings on their own lines. Captions of
figures and tables stay, their graphics and cells do not. Numbers that cite references go, and so do
brackets that hold citations alone; "Smith et al. (2004)" inside a sentence stays. Formulas are TeX
where the source has it; else an inline one is its letters and a displayed one is left out.
References, acknowledgements, appendices, supplements and sub-articles are left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from proteinlm_sft.entry import Rejected, SourceError
from proteinlm_sft.json_lines import read_json_lines
from proteinlm_sft.markup import inline_text, iterate, local_name, plain_text

UNKNOWN_LICENSE = "unknown"
_FIELDS = ("pmcid", "pmid", "doi", "title", "journal", "year", "license", "text")
# fmt: off
_SKIPPED = frozenset([
    "fig", "fig-group", "table-wrap", "table-wrap-group", "table", "graphic", "inline-graphic",
    "media", "object-id", "fn", "supplementary-material", "inline-supplementary-material",
    "ref-list", "sec-meta", "alternatives", "alt-text", "long-desc", "attrib", "permissions",
])
# fmt: on
_FLOATS = ("fig", "table-wrap")
_SECTIONS = ("sec", "boxed-text", "fig-group", "table-wrap-group", "list", "def-list", "disp-quote")
# Abstracts that say again what the abstract says, or nothing in words.
_OTHER_ABSTRACTS = ("graphical", "teaser", "toc", "key-points")

# Private-use characters stand around citations until the brackets about them are judged.
_MARKS = ("\ue000", "\ue001")
_CITED = "\ue000[^\ue001]*\ue001"
_CITED_GROUP = rf"[(\[](?:\s|[,;\u2013\u2014-]|and\b|see\b|e\.g\.|{_CITED})*{_CITED}[\s,;]*[)\]]"
_GROUPS = re.compile(rf"\s*{_CITED_GROUP}(?:\s*[,;\u2013\u2014-]?\s*{_CITED_GROUP})*")
_NUMBERS = re.compile(
    "(?:\\s*[,;\u2013\u2014-]?\\s*\ue000[\\[(]?\\d+[a-z]?(?:\\s*[,\u2013-]\\s*\\d+)*[\\])]?\ue001)+"
)
_CC_URL = re.compile(
    r"creativecommons\.org/(?:licenses/([a-z-]+)(?:/(\d\.\d))?|publicdomain/(\w+))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
    """One article; `license` is an SPDX-like name (`CC-BY-4.0`, `CC-BY`) or "unknown"."""

    pmcid: str
    pmid: str
    doi: str
    title: str
    journal: str
    year: str
    license: str
    text: str


def read_jats(stream: BinaryIO, name: str) -> Iterator[Article | Rejected]:
    """Read an article, or a `pmc-articleset` of many, one at a time.

    Raises:
        SourceError: The XML is broken, cut short, or holds no article.
    """
    count = 0
    for element in iterate(stream, name, ("article",)):
        count += 1
        yield _article(element, name)
    if not count:
        raise SourceError(f"{name} holds no <article>. Is it JATS XML of PMC?")


def read_pmc_jsonl(stream: BinaryIO, name: str) -> Iterator[Article | Rejected]:
    """Read JSON Lines with `pmcid` and `text`, and the other fields of an article if known.

    Raises:
        SourceError: A line is broken or lacks a key; the message names it.
    """
    for found in read_json_lines(stream, name, _FIELDS, ("pmcid", "text")):
        if not found["text"].startswith(found["title"]):
            found["text"] = f"{found['title']}\n\n{found['text']}"
        yield Article(**found | {"license": found["license"] or UNKNOWN_LICENSE})


def _article(element: Any, name: str) -> Article | Rejected:
    meta = element.find("front/article-meta")
    if meta is None:
        return Rejected("", "no_metadata", name)
    ids = {item.get("pub-id-type"): plain_text(item) for item in meta.iterfind("article-id")}
    pmcid = ids.get("pmc") or ids.get("pmcid") or ""
    if not any((pmcid, ids.get("pmid"), ids.get("doi"))):
        return Rejected("", "no_id", f"{name}: {_title(meta)[:80]}")
    dates = [plain_text(year) for year in meta.iterfind("pub-date/year")]
    return Article(
        pmcid=f"PMC{pmcid}" if pmcid.isdigit() else pmcid,
        pmid=ids.get("pmid", ""),
        doi=ids.get("doi", ""),
        title=_title(meta),
        journal=plain_text(element.find("front/journal-meta//journal-title")),
        year=min(dates, default=""),
        license=_license(meta.findall("permissions/license")),
        text="\n\n".join(filter(None, (_title(meta), *_blocks(element, meta)))),
    )


def _title(meta: Any) -> str:
    return " ".join(_text(meta.find("title-group/article-title")).split())


def _blocks(element: Any, meta: Any) -> Iterator[str]:
    """Give headings and paragraphs in the order of the article; floats set apart come last."""
    for abstract in meta.iterfind("abstract"):
        if abstract.get("abstract-type") not in _OTHER_ABSTRACTS:
            if abstract.find("title") is None:
                yield "Abstract"
            yield from _section(abstract)
    body = element.find("body")
    if body is not None:
        yield from _section(body)
    for group in (*element.iterfind("floats-group"), *element.iterfind("floats-wrap")):
        yield from _section(group)


def _section(element: Any) -> Iterator[str]:
    for child in element:
        tag = local_name(child)
        if tag in _FLOATS:
            yield _caption(child)
        elif tag in _SECTIONS and child.get("sec-type") != "supplementary-material":
            yield from _section(child)
        elif tag and tag not in _SKIPPED and tag != "label":
            yield _text(child)
            for inner in child.iter(*_FLOATS):
                yield _caption(inner)


def _caption(element: Any) -> str:
    label, caption = plain_text(element.find("label")).rstrip("."), _text(element.find("caption"))
    said = " ".join(caption.split())
    return f"{label}. {said}" if label and said else said


def _text(element: Any) -> str:
    """Return the text of a paragraph or title without its citations."""
    if element is None:
        return ""
    text = inline_text(element, _SKIPPED, _MARKS)
    if _MARKS[0] in text:
        text = _NUMBERS.sub("", _GROUPS.sub("", text))
        text = text.replace(_MARKS[0], "").replace(_MARKS[1], "")
    return text


def _license(elements: list[Any]) -> str:
    """Return the licence that permissions state; several at once are joined by AND."""
    found = {_one_license(element) for element in elements}
    return " AND ".join(sorted(found)) or UNKNOWN_LICENSE


def _one_license(element: Any) -> str:
    texts = [value for node in element.iter() for value in node.attrib.values()]
    said = plain_text(element)
    found = _CC_URL.search(" ".join((*texts, said)).lower())
    if found:
        kind, version, domain = found.groups()
        if domain:
            return "CC0-1.0" if domain == "zero" else "public-domain"
        return f"CC-{kind}".upper() + (f"-{version}" if version else "")
    words = said.lower()
    if "creative commons cc0" in words or "public domain de" in words:
        return "CC0-1.0"
    if "creative commons attribution" not in words:
        return UNKNOWN_LICENSE
    terms = ("non-?commercial", "-NC"), ("no-?deriv", "-ND"), ("share-?alike", "-SA")
    return "CC-BY" + "".join(suffix for term, suffix in terms if re.search(term, words))
