"""From a row of the released dataset to ours: one spelling, clean text, and what was wrong.

A fault that can be mended is counted and mended; a row that says nothing, or whose sequence is
none, is left out with the reason.
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any, cast

from proteinlm_sft.cleaning import clean_text
from proteinlm_sft.entry import ALPHABET
from proteinlm_sft.templates import ENZYME, FIELDS, spell

FAULTS = {
    "spelling": "residues not spelled <seq> M K </seq>",
    "other_wording": "not the template of the paper; kept as it is",
    "topic_prefix": "FUNCTION: or another topic of UniProtKB left in",
    "evidence_tag": "{ECO:..} left in",
    "reference": "PubMed:.. left in",
    "mim": "[MIM:..] left in",
    "two_full_stops": "a full stop too many at the end",
}
LEFT_OUT = {
    "broken": "not an object with the keys that are needed, as text",
    "no_sequence": "no residues between <seq> tags",
    "letters": "letters that are no residues",
    "empty_output": "nothing is said, or nothing is left after cleaning",
    "duplicate": "the same as an earlier row of its config",
}

_SEQUENCE = re.compile(r"<seq>(.*?)</seq>", re.DOTALL)
_TOPICS = "|".join(form.topic for form in FIELDS.values())
_BLOCK = re.compile(rf"(?:^\s*|;\s*)(?:{_TOPICS}): *")
# In documents a topic follows the opening words; of DOMAIN the paper left the colon.
_TOPIC_IN_TEXT = re.compile(rf"(?<=: )(?:{_TOPICS}|DOMAIN)?: ")
_MARKS = {"evidence_tag": "{ECO:", "reference": "PubMed:", "mim": "MIM:"}


@dataclass(slots=True, kw_only=True)
class Mended:
    """A row in our wording. `left_out` is the reason to leave it out, or None."""

    instruction: str = ""
    input: str = ""
    output: str = ""
    sequence: str = ""
    evidence: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    mim: tuple[str, ...] = ()
    faults: set[str] = field(default_factory=set[str])
    left_out: str | None = None

    @property
    def digest(self) -> bytes:
        """The sha256 of what the row says: equal rows have one."""
        said = json.dumps([self.instruction, self.input, self.output])
        return hashlib.sha256(said.encode()).digest()


def mend_row(config: str, raw: Any) -> Mended:
    """Return an instruction row of one config in our wording."""
    row = Mended()
    parts = _texts(raw, ("instruction", "input", "output"))
    if parts is None:
        row.left_out = "broken"
        return row
    row.instruction, row.input, row.output = parts
    form = ENZYME if config == ENZYME.config else FIELDS[config]
    if row.instruction != form.instruction:
        row.faults.add("other_wording")
    row.input, sequences = respell(row.input, row.faults)
    row.sequence = sequences[0] if sequences else ""
    if not row.sequence:
        row.left_out = "no_sequence"
    elif not ALPHABET.issuperset(row.sequence):
        row.left_out = "letters"
    elif form is ENZYME:
        _mend_enzyme(row)
    else:
        _mend_field(row, form.answer.removesuffix("{output}"))
    return row


def mend_text(raw: Any) -> Mended:
    """Return a document of the texts; it is the output, and nothing else of the row is filled.

    Known are text itself, {"text": ..}, {"output": ..} and {"conversation": [{"output": ..}]};
    an instruction or input that is not empty comes before its output.
    """
    row, text = Mended(), _document(raw)
    if text is None:
        row.left_out = "broken"
        return row
    lines = [" ".join(line.split()) for line in text.splitlines()]
    mended = "\n".join(filter(None, (_mend_line(line, row.faults) for line in lines)))
    row.output, _ = respell(mended, row.faults)
    if not row.output:
        row.left_out = "empty_output"
    return row


def respell(text: str, faults: set[str]) -> tuple[str, list[str]]:
    """Spell the sequences between tags our way; return the text and the sequences."""
    sequences: list[str] = []

    def replace(found: re.Match[str]) -> str:
        sequences.append("".join(found[1].split()))
        return spell(sequences[-1])

    respelled = _SEQUENCE.sub(replace, text)
    if respelled != text:
        faults.add("spelling")
    return respelled, sequences


def _mend_field(row: Mended, opening: str) -> None:
    said = row.output.removeprefix(opening)
    if said == row.output:
        opening = ""
        row.faults.add("other_wording")
    blocks = _BLOCK.split(said)
    if len(blocks) > 1:
        row.faults.add("topic_prefix")
    row.faults |= _marks(said)
    clean = clean_text([line for block in blocks for line in block.splitlines()])
    row.output = opening + clean.text
    row.evidence, row.references, row.mim = clean.evidence, clean.references, clean.mim
    if not clean.text:
        row.left_out = "empty_output"


def _mend_enzyme(row: Mended) -> None:
    text = row.output.strip()
    row.output = text.rstrip(". ") + "."
    if text.endswith(".."):
        row.faults.add("two_full_stops")
    if not text:
        row.left_out = "empty_output"


def _mend_line(line: str, faults: set[str]) -> str:
    mended = _TOPIC_IN_TEXT.sub("", line, count=1)
    if mended != line:
        faults.add("topic_prefix")
    if not (found := _marks(mended)):
        return mended
    faults |= found
    return clean_text([mended]).text


def _marks(text: str) -> set[str]:
    return {name for name, mark in _MARKS.items() if mark in text}


def _document(raw: Any) -> str | None:
    if isinstance(raw, str):
        return raw
    if not isinstance(raw, dict):
        return None
    row = cast("dict[str, Any]", raw)
    if isinstance(turns := row.get("conversation"), list):
        texts = [_document(turn) for turn in cast("list[Any]", turns)]
        return None if None in texts else "\n".join(cast("list[str]", texts))
    keys = ("text",) if "text" in row else ("system", "instruction", "input", "output")
    if keys[-1] not in row:
        return None
    texts = [row[key] for key in keys if row.get(key)]
    return "\n".join(texts) if all(isinstance(text, str) for text in texts) else None


def _texts(raw: Any, keys: tuple[str, ...]) -> list[str] | None:
    """Return the values of all keys, if each is there and is text."""
    if not isinstance(raw, dict):
        return None
    values: list[Any] = [cast("dict[str, Any]", raw).get(key) for key in keys]
    return values if all(isinstance(value, str) for value in values) else None
