"""Rows that must not be published: texts of others, and questions and keys of a benchmark."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, cast

import pyarrow
import pyarrow.compute

from proteinlm_hub.scan_patterns import Finding, unescape

LICENCE, QUESTION, ANSWER = "licence", "benchmark-question", "benchmark-answer"
_TEXTS = {
    LICENCE: "text whose licence does not let it be passed on",
    QUESTION: "questions of a benchmark, which are somebody else's",
    ANSWER: "keys or explanations of a benchmark (--allow-answers lets keys pass)",
}
_KEYS = {
    QUESTION: (b'"question"', b'"arguments"', b'_prompt"'),
    ANSWER: (b'"answer"', b'"explanation"', b'"target"', b'"gold"'),
    LICENCE: (b'"redistributable"', b'"license"', b"PubMed"),
}
# Without one of these no rule can apply, and the file is not parsed.
_MARKS = (
    b"redistributable", b"license", b"pubmed", b"medline", b"question", b"doc", b"answer",
    b"target", b"gold", b"explanation", b"prompt",
)  # fmt: skip
_ABSTRACT = re.compile(r"(?i)\b(pubmed|medline)\b")
_FREE = re.compile(r"CC(0|[- ]BY)([- ]\d\.\d)?", re.IGNORECASE)
_pa, _pc = cast("Any", pyarrow), cast("Any", pyarrow.compute)


def is_free(licence: str | None) -> bool:
    """Tell whether a text may be passed on: CC0 and CC BY alone, of whatever version."""
    return licence is not None and _FREE.fullmatch(licence) is not None


def check_text(path: str, data: bytes) -> Iterator[Finding]:
    """Yield what rows of JSON, JSONL, CSV or TSV must not hold: rule, first line, how many rows.

    Args:
        path: Its ending says what it is; other files have no rows.
        data: UTF-8.
    """
    ending = PurePosixPath(path.removesuffix(".gz")).suffix.lower()
    readable = unescape(data)
    lowered = readable.lower()
    if not any(mark in lowered for mark in _MARKS):
        return
    first: dict[str, tuple[int | None, int]] = {}
    try:
        for line, record in _RECORDS.get(ending, _no_records)(data):
            for rule in _broken(record):
                start, rows = first.get(rule, (line, 0))
                first[rule] = (start, rows + 1)
    except (ValueError, RecursionError, csv.Error):
        yield Finding(path, None, "unreadable", f"is no {ending[1:].upper()}; its rows are unknown")
    for rule, (start, rows) in first.items():
        line = start or _find_line(readable, rule)
        yield Finding(path, line, rule, f"{_TEXTS[rule]} ({rows} row{'s' * (rows > 1)})")


def _find_line(data: bytes, rule: str) -> int | None:
    """Return the line on which a name of a rule stands first, in a JSON value of many lines."""
    places = [data.find(key) for key in _KEYS[rule] if key in data]
    return data.count(b"\n", 0, min(places)) + 1 if places else None


def check_columns(path: str, schema: Any) -> Iterator[Finding]:
    """Yield what the columns of an Arrow schema say: questions or keys of a benchmark."""
    sample = {field.name: _sample(field.type) for field in schema}
    for rule in sorted({rule for record in _dicts(sample) for rule in _broken_names(record)}):
        yield Finding(path, None, rule, _TEXTS[rule])


RIGHTS = ("license", "redistributable", "source")
"""The columns that say whether a row may be passed on."""


def free_rows(batch: Any) -> Any:
    """Return, as an Arrow array, which rows of a batch or table may be passed on.

    Those whose `license` is CC0 or CC BY, that are not said to be otherwise, and are no abstracts.
    """
    free = _pa.array([True] * len(batch), _pa.bool_())
    names = batch.schema.names
    if "redistributable" in names:
        free = _pc.and_(free, _pc.fill_null(batch["redistributable"].cast(_pa.bool_()), True))
    if "text" in names and "license" not in names:
        free = _pc.and_(free, False)  # nobody says that it may
    if "license" in names:
        licence = batch["license"].cast(_pa.string())
        said = _pc.match_substring_regex(licence, f"(?i)^(?:{_FREE.pattern})$")
        free = _pc.and_(free, _pc.fill_null(said, False))
    if "source" in names:  # abstracts never, whatever the row says
        source = _pc.match_substring_regex(batch["source"].cast(_pa.string()), _ABSTRACT.pattern)
        free = _pc.and_(free, _pc.invert(_pc.fill_null(source, False)))
    return free


def _broken(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the rules that a record breaks."""
    yield from _broken_names(record)
    said = record.get("redistributable")
    licensed = {"license", "text"} <= record.keys() and not is_free(str(record["license"]))
    abstract = "text" in record and _ABSTRACT.search(str(record.get("source")))
    if said is False or str(said).lower() == "false" or licensed or abstract:
        yield LICENCE


def _broken_names(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the names in a record say: a benchmark's row, or a row of lm-eval's samples."""
    record = {re.sub("[ _-]", "", str(name)).lower(): value for name, value in record.items()}
    names = record.keys()
    inner: Any = record.get("doc")
    doc = {str(name).lower() for name in (cast("Any", inner) if isinstance(inner, dict) else ())}
    texts = {name for name, value in record.items() if isinstance(value, str)}
    if (
        texts & {"question", "fullprompt", "originprompt"}
        or "question" in doc
        or {"docid", "arguments"} <= names
    ):
        yield QUESTION
    keyed = names & {"answer", "target", "gold"} and names & {
        "options", "choices", "option1", "explanation", "id", "docid", "row", "question",
    }  # fmt: skip
    if keyed or "explanation" in texts or doc & {"answer", "explanation", "target"}:
        yield ANSWER


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a JSON value, the outer ones first."""
    if isinstance(value, dict):
        named = cast("dict[str, Any]", value)
        yield named
        value = list(named.values())
    if isinstance(value, list):
        for each in cast("list[Any]", value):
            if isinstance(each, (dict, list)):
                yield from _dicts(each)


def _sample(kind: Any) -> Any:
    """Return a value with the names of an Arrow type."""
    if _pa.types.is_struct(kind):
        return {field.name: _sample(field.type) for field in kind}
    if _pa.types.is_nested(kind) and hasattr(kind, "value_type"):  # lists of any kind
        return [_sample(kind.value_type)]
    return ""


def _json_records(data: bytes) -> Iterator[tuple[int | None, dict[str, Any]]]:
    yield from ((None, record) for record in _dicts(json.loads(data)))


def _jsonl_records(data: bytes) -> Iterator[tuple[int | None, dict[str, Any]]]:
    for line, text in enumerate(data.split(b"\n"), start=1):
        if text.strip():
            yield from ((line, record) for record in _dicts(json.loads(text)))


def _csv_records(
    data: bytes, delimiter: str = ",", quoting: Any = csv.QUOTE_MINIMAL
) -> Iterator[tuple[int | None, dict[str, Any]]]:
    text = io.StringIO(data.decode(), newline="")
    reader = csv.DictReader(text, delimiter=delimiter, quoting=quoting)
    for record in reader:
        yield reader.line_num, record


def _tsv_records(data: bytes) -> Iterator[tuple[int | None, dict[str, Any]]]:
    return _csv_records(data, "\t", csv.QUOTE_NONE)


def _no_records(_: bytes) -> Iterator[tuple[int | None, dict[str, Any]]]:
    return iter(())


_RECORDS = {
    ".json": _json_records,
    ".ipynb": _json_records,
    ".jsonl": _jsonl_records,
    ".csv": _csv_records,
    ".tsv": _tsv_records,
}
