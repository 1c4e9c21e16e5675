"""Reader of the UniProtKB flat file (`uniprot_sprot.dat`), one entry at a time.

References, cross-references and features make up most of an entry and are never looked at:
blocks of bytes are cut at `//`, and within an entry only the wanted lines are searched for and
decoded. https://web.expasy.org/docs/userman.html describes the format.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO, cast

from proteinlm_sft.entry import TOPICS, Comment, Entry, EnzymeNumber, Rejected, SourceError
from proteinlm_sft.residues import check_sequence

_BLOCK = 1 << 20
# The longest entries take about 2 MB.
_LONGEST_ENTRY = 64 << 20
# Any line of another kind: a second ID line, or a code that no UniProtKB entry has.
_UNKNOWN = re.compile(
    rb"\n(?!(?:FT|DR|CC|R[ALTNPXCG]|  |DE|KW|DT|O[CSXHG]|AC|GN|PE|SQ)   )(.{0,40})"
)
_HEAD = re.compile(
    rb"ID   (\S+) +(Reviewed|Unreviewed); +(\d+) AA\.((?:\nAC   .*)+)((?:\nDT   .*)+)"
    rb"((?:\nDE   .*)+)((?:\nGN   .*)*)((?:\nOS   .*)+)(?:\nOG   .*)*((?:\nOC   .*)+)"
    rb"\nOX   NCBI_TaxID=(\d{1,9})\b"
)
_COMMENT = b"\nCC   -!- "
_COMMENTS = re.compile(rb"(?:\nCC   .*)*")
_KEYWORDS = re.compile(rb"(?:\nKW   .*)*")
_SEQUENCE = re.compile(rb"\nSQ   SEQUENCE +(\d+) AA; +\d+ MW; +([0-9A-F]{16}) CRC64;\n")
_TOPICS = {topic.encode("ascii"): topic for topic in TOPICS}
_NEEDED = (b"ID", b"AC", b"DT", b"DE", b"OS", b"OC", b"OX")
_MONTHS = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
_DATE = re.compile(rf"(\d\d)-({_MONTHS})-(\d{{4}}), (integrated|entry)", re.ASCII)
_NAME = re.compile(r"(?:Full|Short)=(.*?)(?: \{ECO:[^}]*\})?;$", re.MULTILINE)
_PARTS = re.compile(r"^DE   (?:Contains|Includes):", re.MULTILINE)
_FRAGMENT = re.compile(r"^DE   Flags: .*\bFragments?;", re.MULTILINE)
_ENZYME = re.compile(r"\bEC=([^ ;]+)(?: \{([^}]*)\})?;")
_GENES = re.compile(r"\b(?:Name|Synonyms|OrderedLocusNames|ORFNames)=([^;]*)")
_EVIDENCE = re.compile(r" ?\{ECO:[^}]*\}")
_CODE = re.compile(r"ECO:\d+")


def read_flat_file(stream: BinaryIO, name: str) -> Iterator[Entry | Rejected]:
    """Read entries of the format that UniProtKB has had since 2008 (`RecName: Full=`).

    A wrapped line is joined to the next with a blank, and without one where it ends in a hyphen:
    UniProt breaks after a hyphen within a word and never between a hyphen and a blank, so the
    `alpha-` of `alpha- and beta-chain` does not end a line. It does not break at `/`. Names are
    those of the whole protein; EC numbers of `Contains:` and `Includes:` count too.

    Args:
        stream: Decompressed bytes.
        name: Of the file, for messages.

    Raises:
        SourceError: No entry, another format, an entry without `//`, or bytes that are not UTF-8
            in a line that is used.
    """
    empty = True
    for block in _blocks(stream, name):
        empty = False
        yield _read_entry(block, name)
    if empty:
        raise SourceError(f"{name} is empty. Download it again or leave it out.")


def _blocks(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """Yield the bytes of each entry without its `//`."""
    rest = b""
    while len(rest) < _LONGEST_ENTRY and (data := stream.read(_BLOCK)):
        *entries, rest = (rest + data).split(b"\n//\n")
        yield from entries
    if rest.endswith(b"\n//"):
        yield rest.removesuffix(b"\n//")
    elif rest.strip():
        _require_id(rest, name)
        raise SourceError(
            f"{name}: the entry {_label(rest)} has no // at its end. The file is cut short or "
            "damaged, or its lines end in CR LF; download it again."
        )


def _require_id(block: bytes, name: str) -> None:
    if not block.startswith(b"ID   "):
        raise SourceError(
            f"{name} is not a UniProtKB flat file, or is damaged: where an ID line should be it "
            f"has {block[:40]!r}. Give a .dat, .xml or .tsv file of UniProtKB."
        )


def _label(block: bytes) -> str:
    """Return what a message calls an entry: its accession, else its first line."""
    found = re.search(rb"^AC   (\w+)", block[:1000], re.MULTILINE)
    return (found[1] if found else block[:40].split(b"\n")[0]).decode("ascii", "backslashreplace")


def _read_entry(block: bytes, name: str) -> Entry | Rejected:
    _require_id(block, name)
    strange = _UNKNOWN.search(block)
    if strange and b"\nID   " in block:
        raise SourceError(
            f"{name}: the entry {_label(block)} has no // before the next ID line. The file is "
            "damaged; download it again."
        )
    if strange:
        return Rejected(_label(block), "unknown line", ascii(strange[1])[1:])
    try:
        return _parse(block)
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{name}: the entry {_label(block)} is not UTF-8 ({error}). Download the file again."
        ) from error


def _parse(block: bytes) -> Entry | Rejected:
    head = _HEAD.match(block)
    if not head:
        return _without_head(block)
    accession, *others = _items(_join(head[4], b"AC"))
    dates = {
        m[4]: f"{m[3]}-{_MONTHS.index(m[2]) // 4 + 1:02}-{m[1]}"
        for m in _DATE.finditer(head[5].decode())
    }
    description = head[6].decode()
    names = tuple(_NAME.findall(_PARTS.split(description, maxsplit=1)[0]))
    if not names or len(dates) != 2:
        return Rejected(accession, "incomplete", "no DT" if names else "no DE")
    stated = _SEQUENCE.match(block, max(block.rfind(b"\nSQ   "), 0))
    if not stated:
        return Rejected(accession, "no sequence", "no SQ line of the known form")
    sequence = block[stated.end() :].translate(None, b" \n")
    lengths = (head[3].decode(), stated[1].decode())
    if rejected := check_sequence(accession, sequence, lengths, stated[2].decode()):
        return rejected
    comments, end = _comments(block, head.end())
    if any("\n" in comment.text for comment in comments):
        return Rejected(accession, "comment line", "a line of a comment is not indented")
    return Entry(
        accession=accession,
        secondary_accessions=tuple(others),
        entry_name=head[1].decode(),
        reviewed=head[2] == b"Reviewed",
        names=names,
        genes=_genes(_join(head[7], b"GN")),
        organism=_join(head[8], b"OS").removesuffix("."),
        taxon_id=int(head[10]),
        lineage=_items(_join(head[9], b"OC")),
        keywords=_keywords(block, end),
        enzyme_numbers=_enzyme_numbers(description),
        created=dates["integrated"],
        modified=dates["entry"],
        fragment=bool(_FRAGMENT.search(description)),
        comments=comments,
        sequence=sequence.decode("ascii"),
    )


def _without_head(block: bytes) -> Rejected:
    """Say which lines an entry lacks, or that one has another form or place than they should."""
    label = _label(block)
    if not re.search(rb"^AC   \S", block, re.MULTILINE):
        return Rejected("", "no accession", label)
    lines = b"\n" + block
    missing = [code.decode() for code in _NEEDED if b"\n" + code + b"   " not in lines]
    if missing:
        return Rejected(label, "incomplete", f"no {', '.join(missing)}")
    return Rejected(label, "incomplete", "a line above the references has an unknown form or place")


def _join(lines: bytes, code: bytes) -> str:
    """Undo the wrapping of lines of one kind, the first of which begins with a line end."""
    start = b"\n" + code + b"   "
    return lines[6:].replace(b"-" + start, b"-").replace(start, b" ").decode()


def _items(text: str) -> tuple[str, ...]:
    """Split `A; B; C.`, or `A; B;`."""
    return tuple(text.rstrip(".; ").split("; "))


def _comments(block: bytes, start: int) -> tuple[tuple[Comment, ...], int]:
    """Return the comments on the wanted topics and where the CC lines end."""
    start = block.find(_COMMENT, start)
    if start < 0:
        return (), 0
    lines = cast("re.Match[bytes]", _COMMENTS.match(block, start))
    comments: list[Comment] = []
    for part in lines[0].split(b"\nCC   ---", 1)[0].split(_COMMENT)[1:]:
        colon = part.find(b": ")
        if topic := _TOPICS.get(part[:colon]):
            text = part[colon + 2 :].replace(b"-\nCC       ", b"-").replace(b"\nCC       ", b" ")
            comments.append(Comment(topic, text.decode()))
    return tuple(comments), lines.end()


def _keywords(block: bytes, start: int) -> tuple[str, ...]:
    start = block.find(b"\nKW   ", start)
    if start < 0:
        return ()
    lines = cast("re.Match[bytes]", _KEYWORDS.match(block, start))[0]
    return _items(_EVIDENCE.sub("", _join(lines, b"KW")))


def _enzyme_numbers(description: str) -> tuple[EnzymeNumber, ...]:
    """Return each number once, with the evidence codes of all places where it stands."""
    codes: dict[str, dict[str, None]] = {}
    for number, evidence in _ENZYME.findall(description):
        codes.setdefault(number, {}).update(dict.fromkeys(_CODE.findall(evidence)))
    return tuple(EnzymeNumber(number, tuple(found)) for number, found in codes.items())


def _genes(text: str) -> tuple[str, ...]:
    values = _GENES.findall(_EVIDENCE.sub("", text))
    return tuple(gene for value in values for gene in value.split(", "))
