"""From comment blocks of UniProtKB to the text of a row: as the paper did it, or clean.

One row a protein and field: the blocks in the order of the source, one a line. A label such as
`[Isoform 2]:` stays, as text. A reference that is part of a sentence ("According to PubMed:1, ..")
reads "one study" in clean text, so that the sentence stays whole.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from proteinlm_sft.templates import Field

EXPERIMENTAL = "ECO:0000269"

# The words that stood for evidence before UniProtKB had tags, and the code of each.
_WORD_CODES = {
    "By similarity": "ECO:0000250",
    "Probable": "ECO:0000305",
    "Potential": "ECO:0000255",
}
_WORDS = "|".join(_WORD_CODES)
_CODE = re.compile(r"ECO:\d{7}")
_PUBMED = re.compile(r"PubMed:\d+")
_MIM = re.compile(r"MIM:\d+")
_WORD = re.compile(rf"[(,;]\s*({_WORDS})\s*(?=[),;])")

_TAG = re.compile(r"\{ECO:[^{}]*\}")
# What nearly all groups are, for speed; then any parenthesis or bracket without another inside.
_COMMON_GROUP = re.compile(rf" [(\[](?:PubMed:\d+(?:, PubMed:\d+)*|MIM:\d+|{_WORDS})[)\]]")
_GROUP = re.compile(r"\s*([(\[])([^()\[\]]*)([)\]])")
_ITEM = re.compile(
    rf"(?:^|[,;]|\band\b)\s*(?:see\s+)?(?:PubMed:\d+|Ref\.\d+|MIM:\d+|{_WORDS})\s*(?=$|[,;]|and\b)"
)
_BARE_MIM = re.compile(r"O?MIM:")
_BARE = re.compile(r"PubMed:\d+|\bRef\.\d+")
_LABEL = re.compile(r"^\[(.+?)\]: ")
_NOTE = re.compile(r"\bNote=\s*")
_EMPTY_GROUP = re.compile(r" ?\( ?\)")
_BLANK_BEFORE = re.compile(r" (?=[.,;:)](?: |$))")
_TWO_STOPS = re.compile(r"(?<!\.)[.,;]\.(?!\.)")
_LETTERS = re.compile(r"[^\W_]+")
_ASCII_WORDS = {code: chr(code).lower() if chr(code).isalnum() else " " for code in range(128)}

# tsynbio/ProteinLMDataset, sft/uniprot_1_insert_in_template.py: these are taken out, in this order.
_PAPER_REMOVALS = (
    re.compile(r"\(PubMed:\d+(?:, PubMed:\d+)*\)"),
    re.compile(r"\{ECO:[^}]+\}\."),
    re.compile(r"\[MIM:\d+(?:, MIM:\d+)*\]"),
)
_PAPER_PREFIXES = {
    "SUBUNIT": ("SUBUNIT: ", " "),
    "INDUCTION": ("INDUCTION: ", ""),
    "TISSUE SPECIFICITY": ("TISSUE SPECIFICITY:", ""),
}


@dataclass(frozen=True, slots=True)
class CleanText:
    """The clean text of one protein and field, and what was moved out of it.

    `evidence` holds codes such as `ECO:0000269`, sorted; `references` (`PubMed:1`) and `mim`
    (`MIM:1`) are in the order of the text. `experimental` is True where all evidence is
    experimental, None where there is none.
    """

    text: str
    evidence: tuple[str, ...]
    references: tuple[str, ...]
    mim: tuple[str, ...]
    experimental: bool | None


def paper_text(field: Field, blocks: Sequence[str]) -> str:
    """Return the paper's text of a field, faults included.

    It started from a cell of UniProt's TSV export, where each block has its topic and `; ` stands
    between blocks. Tags with no full stop after them stay, as do most topics.

    Args:
        field: The field; its topic is the prefix.
        blocks: The texts of its comment blocks, tags included.
    """
    text = "; ".join(f"{field.topic}: {block}" for block in blocks)
    for pattern in _PAPER_REMOVALS:
        text = pattern.sub("", text)
    text = text.replace(". .", ".")
    prefix, instead = _PAPER_PREFIXES.get(field.topic, ("", ""))
    return text.replace(prefix, instead, 1)


def clean_text(blocks: Sequence[str]) -> CleanText:
    """Return the clean text of a field; it is empty where a row would say nothing.

    Args:
        blocks: The texts of its comment blocks, tags included.
    """
    raw = "\n".join(blocks)
    codes = set(_CODE.findall(raw))
    if any(word in raw for word in _WORD_CODES):
        codes.update(_WORD_CODES[word] for word in _WORD.findall(raw))
    lines = [line for block in blocks if _LETTERS.search(line := _clean_block(block))]
    return CleanText(
        text="\n".join(lines),
        evidence=tuple(sorted(codes)),
        references=tuple(dict.fromkeys(_PUBMED.findall(raw))),
        mim=tuple(dict.fromkeys(_MIM.findall(raw))),
        experimental=codes == {EXPERIMENTAL} if codes else None,
    )


def normalise(text: str) -> str:
    """Return letters and digits alone, case folded, words apart by one blank: to find equals."""
    if text.isascii():  # the same in a third of the time: every row goes through here
        return " ".join(text.translate(_ASCII_WORDS).split())
    return " ".join(_LETTERS.findall(text.casefold()))


def _clean_block(text: str) -> str:
    """Clean one block until nothing changes: what is taken out may bring a new group about."""
    text = " ".join(text.split())
    while (cleaned := _clean_once(text)) != text:
        text = cleaned
    return text


def _clean_once(text: str) -> str:
    if "{ECO:" in text:
        text = _TAG.sub("", text)
    if _may_refer(text):
        text = _COMMON_GROUP.sub("", text)
        if _may_refer(text):
            text = _GROUP.sub(_without_references, text)
            text = _BARE_MIM.sub("OMIM ", _BARE.sub("one study", text))
    if text.startswith("["):
        text = _LABEL.sub(r"\1: ", text)
    if "Note=" in text:
        text = _NOTE.sub("Note: ", text)
    text = text.replace("  ", " ").strip()
    if "()" in text or "( )" in text:
        text = _EMPTY_GROUP.sub("", text)
    if " ." in text or " ," in text or " ;" in text or " :" in text or " )" in text:
        text = _BLANK_BEFORE.sub("", text)
    if ".." in text or ",." in text or ";." in text:
        text = _TWO_STOPS.sub(".", text)
    return text


def _may_refer(text: str) -> bool:
    """Look for what the patterns below need, so that most texts are spared them."""
    return (
        "PubMed:" in text
        or "MIM:" in text
        or "Ref." in text
        or "By similarity" in text
        or "Probable" in text
        or "Potential" in text
    )


def _without_references(group: re.Match[str]) -> str:
    opening, inside, closing = group.group(1, 2, 3)
    if not _may_refer(inside):
        return group.group()
    left = _ITEM.sub("", inside)
    if left == inside:
        return group.group()
    left = left.strip(" ,;")
    return (
        group.group()[: group.start(1) - group.start()] + opening + left + closing if left else ""
    )
