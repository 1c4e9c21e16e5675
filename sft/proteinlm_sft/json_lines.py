"""JSON Lines with text values: one object a line, checked, as every source of ours needs it."""

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import orjson

from proteinlm_sft.entry import SourceError


def read_json_lines(
    stream: BinaryIO, name: str, fields: Sequence[str], required: Sequence[str]
) -> Iterator[dict[str, str]]:
    """Give the chosen fields of each line as text; missing or null ones are "".

    Args:
        stream: UTF-8, one JSON object a line; empty lines are skipped.
        name: What errors call the file.
        fields: The keys to take; others are ignored.
        required: Keys that each object must have.

    Raises:
        SourceError: A line is no JSON object, lacks a key, or holds something else than text or a
            number; or there is no line at all. The message names the line.
    """
    number = 0
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            found: Any = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise SourceError(f"{name}: line {number} is no JSON in UTF-8 ({error}).") from error
        if not isinstance(found, dict) or any(key not in found for key in required):
            raise SourceError(
                f"{name}: line {number} must be an object with {', '.join(required)}."
            )
        yield {key: _text(found.get(key), f"{name}: line {number}, {key}") for key in fields}
    if not number:
        raise SourceError(f"{name} holds no line. Download it again or leave it out.")


def _text(value: Any, where: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise SourceError(f"{where}: text expected, found {type(value).__name__}.")
    return str(value)
