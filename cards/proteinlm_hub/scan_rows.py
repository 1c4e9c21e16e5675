"""Rows that must not be published: texts of others, and questions and keys of a benchmark."""

import csv
import io
import json
import re
from collections.abc import Collection, Iterator, Mapping
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
# Without one of these no rule can apply, and the file is not parsed.
_MARKS = (b"redistributable", b"license", b"PubMed", b"question", b"doc", b"answer")
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
    if not any(mark in readable for mark in _MARKS):
        return
    first: dict[str, tuple[int, int]] = {}
    try:
        for line, record in _RECORDS.get(ending, _no_records)(data):
            for rule in _broken(record):
                start, rows = first.get(rule, (line, 0))
                first[rule] = (start, rows + 1)
    except (ValueError, RecursionError, csv.Error):
        yield Finding(path, None, "unreadable", f"is no {ending[1:].upper()}; its rows are unknown")
    for rule, (line, rows) in first.items():
        yield Finding(path, line, rule, f"{_TEXTS[rule]} ({rows} row{'s' * (rows > 1)})")


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
    if "license" in names:
        licence = batch["license"].cast(_pa.string())
        said = _pc.match_substring_regex(licence, f"(?i)^(?:{_FREE.pattern})$")
        free = _pc.and_(free, _pc.fill_null(said, False))
    if "source" in names:  # abstracts never, whatever the row says
        source = _pc.starts_with(batch["source"].cast(_pa.string()), "PubMed")
        free = _pc.and_(free, _pc.invert(_pc.fill_null(source, False)))
    return free


def _broken(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the rules that a record breaks."""
    if all(type(value) is int for value in record.values()):
        return  # a vocabulary, whose tokens are such words
    yield from _broken_names(record)
    said = record.get("redistributable")
    licensed = {"license", "text"} <= record.keys() and not is_free(str(record["license"]))
    abstract = "text" in record and str(record.get("source")).startswith("PubMed")
    if said is False or str(said).lower() == "false" or licensed or abstract:
        yield LICENCE


def _broken_names(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the names in a record say: a benchmark's row, or a row of lm-eval's samples."""
    names = record.keys()
    doc: Collection[str] = record["doc"] if isinstance(record.get("doc"), dict) else ()
    options = names & {"options", "choices", "option 1"}
    if ("question" in names and options) or "question" in doc or {"doc_id", "arguments"} <= names:
        yield QUESTION
    with_key = "answer" in names and ("explanation" in names or options)
    if with_key or {"answer", "explanation"} & set(doc) or {"doc_id", "target"} <= names:
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
    if _pa.types.is_list(kind) or _pa.types.is_large_list(kind):
        return [_sample(kind.value_type)]
    return ""


def _json_records(data: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    for record in _dicts(json.loads(data)):
        for rule in _broken(record):
            key = {QUESTION: b'"question"', LICENCE: b'"redistributable"'}.get(rule, b'"answer"')
            yield data.count(b"\n", 0, max(data.find(key), 0)) + 1, record
            break


def _jsonl_records(data: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, text in enumerate(data.split(b"\n"), start=1):
        if text.strip():
            yield from ((line, record) for record in _dicts(json.loads(text)))


def _csv_records(data: bytes, delimiter: str = ",") -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(data.decode(), newline=""), delimiter=delimiter)
    for record in reader:
        yield reader.line_num, record


def _tsv_records(data: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    return _csv_records(data, "\t")


def _no_records(_: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    return iter(())


_RECORDS = {
    ".json": _json_records,
    ".ipynb": _json_records,
    ".jsonl": _jsonl_records,
    ".csv": _csv_records,
    ".tsv": _tsv_records,
}
