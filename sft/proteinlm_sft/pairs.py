"""Chinese/English abstract pairs, from a file in a layout of our own.

TSV with a header line, or JSON Lines, with `id`, `english`, `chinese`, `license` and optionally
`source` (a journal, a DOI). One pair is one document: half of them, drawn by a hash of the id, have
the English text first, the others the Chinese.
"""

import csv
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from proteinlm_sft.entry import Rejected, SourceError
from proteinlm_sft.json_lines import read_json_lines

_REQUIRED = ("id", "english", "chinese", "license")
_FIELDS = (*_REQUIRED, "source")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_LATIN = re.compile(r"[A-Za-z]{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One abstract in two languages; `license` as the file names it, `source` may be empty."""

    id: str
    english: str
    chinese: str
    license: str
    source: str

    @property
    def direction(self) -> Literal["en-zh", "zh-en"]:
        """Return which text comes first: drawn by the id alone, so it never changes."""
        return "zh-en" if hashlib.blake2b(self.id.encode()).digest()[0] & 1 else "en-zh"

    @property
    def text(self) -> str:
        """Return both texts, an empty line between."""
        texts = (self.english, self.chinese)
        return "\n\n".join(texts if self.direction == "en-zh" else reversed(texts))


def read_pairs_jsonl(stream: BinaryIO, name: str) -> Iterator[Pair | Rejected]:
    """Read pairs from JSON Lines.

    Raises:
        SourceError: A line is broken or lacks a key; the message names it.
    """
    return map(_checked, read_json_lines(stream, name, _FIELDS, _REQUIRED))


def read_pairs_tsv(stream: BinaryIO, name: str) -> Iterator[Pair | Rejected]:
    r"""Read pairs from TSV, quoted where a text holds tabs or line breaks.

    Raises:
        SourceError: The header lacks a column, a row has another number of cells, there is no
            row, or the text is not UTF-8.
    """
    lines = (line.decode("utf-8") for line in stream)
    rows = csv.reader(lines, dialect="excel-tab", strict=True)
    number = 0
    try:
        header = [column.strip("\ufeff ").lower() for column in next(rows, list[str]())]
        if missing := [column for column in _REQUIRED if column not in header]:
            raise SourceError(f"{name}: the header lacks the column(s) {', '.join(missing)}.")
        for number, row in enumerate(rows, 1):  # noqa: B007 - asked for after the loop
            if len(row) != len(header):
                raise SourceError(
                    f"{name}: line {rows.line_num} has {len(row)} cells, the header {len(header)}."
                )
            found = dict(zip(header, row, strict=True))
            yield _checked({key: found.get(key, "") for key in _FIELDS})
    except (csv.Error, UnicodeDecodeError) as error:
        raise SourceError(f"{name}: line {rows.line_num + 1} cannot be read: {error}") from error
    if not number:
        raise SourceError(f"{name} holds no pair below its header.")


def _checked(found: dict[str, str]) -> Pair | Rejected:
    texts = {key: value.strip() for key, value in found.items()}
    pair = Pair(**texts)
    if not pair.id:
        return Rejected("", "no_id", pair.english[:80])
    if not pair.english or not pair.chinese:
        return Rejected(pair.id, "one_language", "english or chinese is empty")
    if not _HAN.search(pair.chinese) or not _LATIN.search(pair.english):
        return Rejected(pair.id, "wrong_language", "chinese has no Han character, or english none")
    return pair
