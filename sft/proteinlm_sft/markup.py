"""XML of publications as a stream of elements, and the plain text of what they hold.

Subscripts become plain text (`CO2`); superscripts with a digit or sign stand in parentheses, as
Medline and UniProtKB write them (`Ca(2+)`, `10(-3)`).
"""

import html
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import lxml.etree

from proteinlm_sft.entry import SourceError

_etree = cast("Any", lxml.etree)

# What is inside stands on lines of its own.
_BREAKS = frozenset(
    ("p", "title", "list-item", "def-item", "disp-quote", "disp-formula", "verse-line", "break")
)
_TEX_BODY = re.compile(r"\\begin\{document\}(.*?)\\end\{document\}", re.DOTALL)
_DIGIT_OR_SIGN = re.compile(r"[\d+\u2212-]")
_BLANKS = re.compile(r"[^\S\n]+")


def iterate(stream: BinaryIO, name: str, tags: tuple[str, ...]) -> Iterator[Any]:
    """Give each outermost element with one of the tags, and forget it afterwards.

    Raises:
        SourceError: The XML is broken or cut short.
    """
    events = _etree.iterparse(
        stream,
        events=("start", "end"),
        tag=tags,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=True,  # one article may hold a table of more than 10 MB
    )
    depth = 0
    try:
        for event, element in events:
            depth += 1 if event == "start" else -1
            if depth == 0:
                yield element
                element.clear()
                while element.getprevious() is not None:
                    del element.getparent()[0]
    except _etree.XMLSyntaxError as error:
        raise SourceError(
            f"{name}: broken or truncated XML in line {error.lineno} ({error.msg}). Download it "
            "again; nothing of it was used."
        ) from error


def plain_text(element: Any) -> str:
    """Return the text of an element on one line; formulas and figures inside are left out."""
    return "" if element is None else " ".join(inline_text(element, frozenset()).split())


def inline_text(element: Any, skip: frozenset[str], marks: tuple[str, str] | None = None) -> str:
    """Return the text of an element; inner paragraphs and list items stand on their own lines.

    Args:
        element: An lxml element.
        skip: Tags that are left out with all they hold.
        marks: What to put around citations (`xref` to a reference), so that they can be found.
    """
    lines = _BLANKS.sub(" ", "".join(_pieces(element, skip, marks))).split("\n")
    return "\n".join(filter(None, map(str.strip, lines)))


def local_name(element: Any) -> str:
    """Return the tag without its namespace; "" for comments and processing instructions."""
    return element.tag.rsplit("}", 1)[-1] if isinstance(element.tag, str) else ""


def formula_text(element: Any) -> str:
    r"""Return a formula as TeX where the source has it, else its letters, else "".

    TeX comes as a whole document; what is between `\begin{document}` and `\end{document}` stays.
    A displayed formula without TeX is left out: its letters in a row would say nothing.
    """
    for node in element.iter():
        if local_name(node) == "tex-math":
            whole = "".join(node.itertext())
            found = _TEX_BODY.search(whole)
            return " ".join((found.group(1) if found else whole).replace("$$", "$").split())
    if local_name(element) == "disp-formula":
        return ""
    return "".join("".join(element.itertext()).split())


def _pieces(element: Any, skip: frozenset[str], marks: tuple[str, str] | None) -> Iterator[str]:
    # A line break of the source is a blank; those that the text gets come from tags alone.
    yield (element.text or "").replace("\n", " ")
    for child in element:
        tag = local_name(child)
        if child.tag is _etree.Entity:
            yield html.unescape(child.text)
        elif tag in ("inline-formula", "disp-formula"):
            broken = "\n" if tag == "disp-formula" else ""
            yield f"{broken}{formula_text(child)}{broken}"
        elif tag and tag not in skip:
            yield _piece(child, tag, skip, marks)
        yield (child.tail or "").replace("\n", " ")


def _piece(child: Any, tag: str, skip: frozenset[str], marks: tuple[str, str] | None) -> str:
    inside = "".join(_pieces(child, skip, marks))
    if tag == "xref" and child.get("ref-type") == "bibr" and marks:
        return f"{marks[0]}{inside}{marks[1]}"
    if tag == "sup":
        cited = marks is not None and marks[0] in inside
        return f"({inside})" if _DIGIT_OR_SIGN.search(inside) and not cited else inside
    return f"\n{inside}\n" if tag in _BREAKS else inside
