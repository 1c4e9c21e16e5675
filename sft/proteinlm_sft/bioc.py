"""Annotated abstracts: PubTator text, and BioC as JSON (PubTator's export too) or XML.

The text is that of the annotation file, title first, so that offsets hold. Only genes and proteins
are kept; their identifier is an NCBI Gene id in PubTator's files, an accession in others.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from proteinlm_sft.entry import Rejected, SourceError
from proteinlm_sft.markup import iterate

_KINDS = ("gene", "protein")
_PART = re.compile(r"(\d+)\|([ta])\|(.*)")


@dataclass(frozen=True, slots=True)
class Mention:
    """A gene or protein in a text: where (in characters), how it is written, and what it is."""

    offset: int
    text: str
    kind: str
    identifier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotated:
    """One abstract; mentions are in the order of the text, and each is found at its offset.

    `misplaced` counts those that are not; they are left out.
    """

    pmid: str
    text: str
    mentions: tuple[Mention, ...]
    misplaced: int = 0


def read_pubtator(stream: BinaryIO, name: str) -> Iterator[Annotated | Rejected]:
    """Read PubTator text: `pmid|t|title`, `pmid|a|abstract`, then a mention a line.

    Relations (lines of another number of cells) are skipped.

    Raises:
        SourceError: Not UTF-8, a line of another kind, or no record.
    """
    count = 0
    for block in _blocks(stream, name):
        count += 1
        yield _pubtator(block, name)
    if not count:
        raise SourceError(f"{name} holds no record. Is it PubTator's text format?")


def read_bioc_xml(stream: BinaryIO, name: str) -> Iterator[Annotated | Rejected]:
    """Read a BioC collection, one document at a time.

    Raises:
        SourceError: The XML is broken, cut short, or holds no document.
    """
    count = 0
    for element in iterate(stream, name, ("document",)):
        count += 1
        try:
            yield _document(element.findtext("id") or "", list(_xml_passages(element)))
        except ValueError as error:
            raise SourceError(f"{name}: document {count} has a wrong offset ({error}).") from error
    if not count:
        raise SourceError(f"{name} holds no BioC document.")


def read_bioc_json(stream: BinaryIO, name: str) -> Iterator[Annotated | Rejected]:
    """Read `{"documents": [...]}` or PubTator's `{"PubTator3": [...]}`, one document at a time.

    Raises:
        SourceError: The JSON is broken, cut short, or holds no document.
    """
    import ijson

    count = 0
    try:
        events = ijson.parse(stream, use_float=True)
        for document in _json_documents(events):
            count += 1
            yield _document(str(document["id"]), list(_json_passages(document)))
    except (ijson.JSONError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise SourceError(f"{name}: document {count + 1} is no BioC JSON ({what}).") from error
    if not count:
        raise SourceError(f"{name} holds no BioC document.")


def _blocks(stream: BinaryIO, name: str) -> Iterator[list[str]]:
    block: list[str] = []
    for number, line in enumerate(stream, 1):
        try:
            text = line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise SourceError(f"{name}: line {number} is not UTF-8: {error}") from error
        if text.strip():
            block.append(text)
        elif block:
            yield block
            block = []
    if block:
        yield block


def _pubtator(block: list[str], name: str) -> Annotated | Rejected:
    parts, mentions = {"t": "", "a": ""}, list[Mention]()
    pmid = ""
    for line in block:
        cells = line.split("\t")
        if found := _PART.fullmatch(line):
            pmid, kind, text = found.groups()
            parts[kind] = text
        elif len(cells) in (5, 6) and cells[1].isdecimal():
            identifier = cells[5] if len(cells) == 6 else ""
            mentions.append(Mention(int(cells[1]), cells[3], cells[4].lower(), identifier))
        elif len(cells) < 3:
            raise SourceError(f"{name}: no PubTator line: {line[:80]!r}")
    if not pmid:
        return Rejected("", "no_pmid", block[0][:80])
    return _annotated(pmid, f"{parts['t']}\n{parts['a']}", mentions)


def _document(
    pmid: str, passages: Iterable[tuple[int, str, Iterable[Mention]]]
) -> Annotated | Rejected:
    """Join passages, a line break between; their mentions move with them."""
    text, mentions = "", list[Mention]()
    for start, said, found in passages:
        text += "\n" if text else ""
        shift = len(text) - start
        mentions += [
            Mention(item.offset + shift, item.text, item.kind, item.identifier) for item in found
        ]
        text += said
    return _annotated(pmid, text, mentions) if pmid else Rejected("", "no_pmid", text[:80])


def _annotated(pmid: str, text: str, mentions: Iterable[Mention]) -> Annotated:
    wanted = [item for item in mentions if item.kind in _KINDS]
    placed = [item for item in wanted if item.text and text.startswith(item.text, item.offset)]
    placed = [item for item in placed if item.offset >= 0]
    placed.sort(key=lambda item: (item.offset, -len(item.text)))
    return Annotated(
        pmid=pmid, text=text, mentions=tuple(placed), misplaced=len(wanted) - len(placed)
    )


def _xml_passages(element: Any) -> Iterator[tuple[int, str, list[Mention]]]:
    for passage in element.iterfind("passage"):
        mentions = [_xml_mention(item) for item in passage.iterfind("annotation")]
        yield int(passage.findtext("offset") or 0), passage.findtext("text") or "", mentions


def _xml_mention(element: Any) -> Mention:
    infons = {item.get("key"): item.text or "" for item in element.iterfind("infon")}
    location = element.find("location")
    offset = -1 if location is None else int(location.get("offset") or -1)
    return _mention(offset, element.findtext("text") or "", infons)


def _json_documents(events: Any) -> Iterator[Any]:
    """Give the objects in the list of documents, one at a time."""
    from ijson import ObjectBuilder

    builder: Any = None
    for prefix, event, value in events:
        outermost = prefix in ("documents.item", "PubTator3.item")
        if outermost and event == "start_map":
            builder = ObjectBuilder()
        if builder is not None:
            builder.event(event, value)
            if outermost and event == "end_map":
                yield builder.value
                builder = None


def _json_passages(document: Any) -> Iterator[tuple[int, str, list[Mention]]]:
    for passage in document["passages"]:
        mentions = [
            _mention(int(item["locations"][0]["offset"]), str(item["text"]), item["infons"])
            for item in passage.get("annotations", ())
            if item.get("locations")
        ]
        yield int(passage["offset"]), str(passage.get("text") or ""), mentions


def _mention(offset: int, text: str, infons: Any) -> Mention:
    kind = str(infons.get("type", "")).lower()
    identifier = next(
        (str(infons[key]) for key in ("identifier", "accession", "NCBI GENE") if infons.get(key)),
        "",
    )
    return Mention(offset, text, kind, identifier)
