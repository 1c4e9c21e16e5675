"""Sequences between `<seq>` tags in a text: one spelling, and fewer residues to make it fit."""

import re
from collections.abc import Sequence
from typing import Any

from proteinlm_sft.templates import spell

_TAGGED = re.compile(r"<seq>\s*([A-Za-z*\s]*?)\s*</seq>")


def respell(text: str, residues: str) -> str:
    """Write every sequence in one way: spaced `<seq> M K </seq>` or joined `<seq> MK </seq>`."""
    if "<seq>" not in text:
        return text
    return _TAGGED.sub(lambda match: _spell("".join(match[1].split()), residues), text)


def count_residues(messages: Sequence[Any]) -> int:
    """Return how many residues the sequences of messages have."""
    found = (match for message in messages for match in _TAGGED.finditer(message["content"]))
    return sum(len("".join(match[1].split())) for match in found)


def keep_residues(messages: Sequence[Any], keep: int, total: int, residues: str) -> list[Any]:
    """Return messages whose sequences have lost residues at their ends; all else stays.

    Args:
        messages: With text as content.
        keep: Residues to keep, at most; each sequence loses in proportion to its length.
        total: Residues that there are.
        residues: spaced or joined.
    """

    def shorten(match: re.Match[str]) -> str:
        sequence = "".join(match[1].split())
        return _spell(sequence[: len(sequence) * keep // max(total, 1)], residues)

    return [message | {"content": _TAGGED.sub(shorten, message["content"])} for message in messages]


def _spell(sequence: str, residues: str) -> str:
    return spell(sequence) if residues == "spaced" else f"<seq> {sequence} </seq>"
