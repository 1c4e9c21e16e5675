"""Reader of UniProtKB XML, one entry at a time; its comments get the wording of the flat file."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, cast

import lxml.etree

from proteinlm_sft.entry import TOPICS, Comment, Entry, EnzymeNumber, Rejected, SourceError
from proteinlm_sft.residues import check_sequence

_etree = cast("Any", lxml.etree)
# UniProt has used both.
_NAMESPACES = ("http://uniprot.org/uniprot", "https://uniprot.org/uniprot")


def read_uniprot_xml(stream: BinaryIO, name: str) -> Iterator[Entry | Rejected]:
    """Read the entries of a `<uniprot>` document.

    An entry is freed before the next is read. Entities and the network are never resolved.

    Args:
        stream: Decompressed bytes.
        name: Of the file, for messages.

    Raises:
        SourceError: Broken or unfinished XML, a document type, or no entry.
    """
    tags = tuple(f"{{{namespace}}}entry" for namespace in _NAMESPACES)
    safe = {"resolve_entities": False, "no_network": True}
    plain = {"remove_comments": True, "remove_pis": True}
    events = _etree.iterparse(stream, events=("end",), tag=tags, **safe, **plain)
    empty = True
    try:
        for _, element in events:
            if empty and element.getroottree().docinfo.internalDTD is not None:
                raise SourceError(f"{name} has a document type; UniProtKB XML has none.")
            empty = False
            yield _read_entry(element)
            element.clear()
            while element.getprevious() is not None:
                del element.getparent()[0]
    except _etree.XMLSyntaxError as error:
        raise SourceError(
            f"{name} is not whole XML: {error}. It is cut short or damaged; download it again."
        ) from error
    if empty:
        raise SourceError(
            f"{name} has no <entry> of {' or '.join(_NAMESPACES)}. Is it UniProtKB XML?"
        )


def _read_entry(element: Any) -> Entry | Rejected:
    """Check one `<entry>` and turn it into an entry."""
    accessions = _texts(element, "accession")
    if not accessions:
        return Rejected("", "no accession", element.findtext("{*}name", ""))
    found = element.find("{*}sequence")
    if found is None:
        return Rejected(accessions[0], "no sequence", "no <sequence>")
    sequence = "".join((found.text or "").split()).encode()
    lengths, checksum = (found.get("length", ""),), found.get("checksum", "")
    if rejected := check_sequence(accessions[0], sequence, lengths, checksum):
        return rejected
    names, organism = _names(element), _texts(element, "organism/{*}name")
    taxa = element.iterfind("{*}organism/{*}dbReference[@type='NCBI Taxonomy']")
    taxon = next((taxon.get("id", "") for taxon in taxa), "")
    needed = {
        "name": element.findtext("{*}name"),
        "protein name": names,
        "organism": organism,
        "taxon": re.fullmatch("[0-9]{1,9}", taxon),
        **{key: element.get(key) for key in ("dataset", "created", "modified")},
    }
    if missing := [what for what, value in needed.items() if not value]:
        return Rejected(accessions[0], "incomplete", f"no {', '.join(missing)}")
    try:
        comments, enzyme_numbers = _annotation(element)
    except KeyError as error:
        return Rejected(accessions[0], "incomplete", f"no evidence with the key {error}")
    return Entry(
        accession=accessions[0],
        secondary_accessions=accessions[1:],
        entry_name=element.findtext("{*}name"),
        reviewed=element.get("dataset") == "Swiss-Prot",
        names=names,
        genes=_texts(element, "gene/{*}name"),
        organism=" ".join([organism[0], *(f"({name})" for name in organism[1:])]),
        taxon_id=int(taxon),
        lineage=_texts(element, "organism/{*}lineage/{*}taxon"),
        keywords=_texts(element, "keyword"),
        enzyme_numbers=enzyme_numbers,
        created=element.get("created"),
        modified=element.get("modified"),
        fragment=found.get("fragment") is not None,
        comments=comments,
        sequence=sequence.decode("ascii"),
    )


def _texts(element: Any, path: str) -> tuple[str, ...]:
    found = (child.text for child in element.iterfind("{*}" + path))
    return tuple(" ".join(text.split("\n")).strip() for text in found if text)


def _names(element: Any) -> tuple[str, ...]:
    """Return the full and short names of the whole protein."""
    return tuple(
        name
        for kind in ("recommendedName", "alternativeName", "submittedName")
        for group in element.iterfind(f"{{*}}protein/{{*}}{kind}")
        for part in ("fullName", "shortName")
        for name in _texts(group, part)
    )


def _annotation(element: Any) -> tuple[tuple[Comment, ...], tuple[EnzymeNumber, ...]]:
    """Return the comments on the wanted topics and the EC numbers, each once.

    Raises:
        KeyError: The entry refers to evidence that it does not have.
    """
    evidence = {item.get("key"): _tag(item) for item in element.iterfind("{*}evidence")}
    comments = tuple(
        Comment(topic, _wording(comment, evidence))
        for comment in element.iterfind("{*}comment")
        if (topic := comment.get("type", "").upper()) in TOPICS
    )
    codes: dict[str, dict[str, None]] = {}
    for number in element.iterfind("{*}protein//{*}ecNumber"):
        tags = [evidence[key] for key in number.get("evidence", "").split()]
        codes.setdefault(number.text or "", {}).update((tag.split("|")[0], None) for tag in tags)
    numbers = (EnzymeNumber(number, tuple(found)) for number, found in codes.items())
    return comments, tuple(numbers)


def _tag(evidence: Any) -> str:
    """Return a tag as the flat file has it: `ECO:0000269|PubMed:1`, `ECO:0000269|Ref.5`."""
    source, reference = evidence.find("{*}source"), evidence.find(".//{*}dbReference")
    if reference is not None:
        return f"{evidence.get('type')}|{reference.get('type')}:{reference.get('id')}"
    if source is not None:
        return f"{evidence.get('type')}|Ref.{source.get('ref')}"
    return str(evidence.get("type"))


def _wording(comment: Any, evidence: Mapping[str, str]) -> str:
    """Return the text of a comment as the flat file has it, without the topic."""
    keyed = [(text.text or "", text.get("evidence", "")) for text in comment.iterfind("{*}text")]
    words = " ".join(_sentence(text, keys, evidence) for text, keys in keyed)
    if comment.get("type") == "disease":
        words = f"Note={words}" if words else ""
        if (disease := comment.find("{*}disease")) is not None:
            described = _disease(disease)
            words = f"{_sentence(described, comment.get('evidence', ''), evidence)} {words}".strip()
    molecule = comment.findtext("{*}molecule")
    return f"[{molecule}]: {words}" if molecule else words


def _disease(disease: Any) -> str:
    """Return `Name (ACRONYM) [MIM:1]: Description` of a disease."""
    acronym = disease.findtext("{*}acronym")
    mim = disease.find("{*}dbReference[@type='MIM']")
    return "".join(
        (
            disease.findtext("{*}name", ""),
            f" ({acronym})" if acronym else "",
            f" [MIM:{mim.get('id')}]" if mim is not None else "",
            f": {disease.findtext('{*}description', '')}",
        )
    )


def _sentence(text: str, keys: str, evidence: Mapping[str, str]) -> str:
    """Return `Text. {ECO:0000269|PubMed:1, ECO:0000305}.` from a text and keys of evidence."""
    text = " ".join(text.split("\n")).strip()
    text = text if text.endswith(".") else f"{text}."
    tags = ", ".join(evidence[key] for key in keys.split())
    return f"{text} {{{tags}}}." if tags else text
