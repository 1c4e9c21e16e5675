"""Benchmark files load whole and hashed in every format, or are refused with row and rule."""

from __future__ import annotations

import csv
import hashlib
import inspect
import io
import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import huggingface_hub
import huggingface_hub.file_download
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from hypothesis import given, settings
from hypothesis import strategies as st

from proteinlm_ext import benchmark
from proteinlm_ext.benchmark import (
    Benchmark,
    load_benchmark,
    load_for_harness,
    load_sample,
    load_sample_for_harness,
    read_file,
)
from proteinlm_ext.errors import DataError
from proteinlm_ext.summary import TaskSummary

Row = dict[str, Any]

SUFFIXES = [".json", ".jsonl", ".parquet", ".csv"]
TEXT_SUFFIXES = [".json", ".jsonl", ".csv"]
SECRET = "Because of the oxyanion hole"  # the explanation, which must not be seen anywhere


def row(question: str, choices: list[str], answer: int = 1, **more: Any) -> Row:
    """Build a row in the Hub's schema out of bare option texts."""
    options = [f"option {number}: {text}" for number, text in enumerate(choices, 1)]
    return {"question": question, "options": options, "answer": f"option {answer}", **more}


ROWS = [
    row("Which residue is the nucleophile of trypsin?", ["Ser195", "His57"], explanation=SECRET),
    row(
        'Which name, in German, means "holder"?',
        ["Hämoglobin", "cofactor: heme b", 'the "Q" ring, or Q-cycle'],
        2,
        explanation=SECRET,
    ),
    row("Which\nion binds calmodulin?", [*"KMNPQ", "Ca²⁺"], 6, explanation=SECRET),
]
EXPECTED = [
    (("Ser195", "His57"), 0),
    (("Hämoglobin", "cofactor: heme b", 'the "Q" ring, or Q-cycle'), 1),
    (("K", "M", "N", "P", "Q", "Ca²⁺"), 5),
]
TWO = ["option 1: zinc", "option 2: heme"]


def csv_text(rows: list[Row], width: int = 6, explanation: bool = True, end: str = "\n") -> str:
    """Write rows as the upstream CSV export does: bare texts, short rows filled with nothing."""
    columns = ["question", *(f"option {n}" for n in range(1, width + 1)), "answer"]
    sheet = io.StringIO(newline="")
    writer = csv.writer(sheet, lineterminator=end)
    writer.writerow([*columns, "explanation"] if explanation else columns)
    for entry in rows:
        texts = [option.split(": ", 1)[1] for option in entry["options"]]
        cells = [entry["question"], *texts, *[""] * (width - len(texts)), entry["answer"]]
        writer.writerow([*cells, entry.get("explanation", "")] if explanation else cells)
    return sheet.getvalue()


def encode(rows: list[Any], suffix: str) -> bytes:
    if suffix == ".parquet":
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), sink)
        return sink.getvalue()
    if suffix == ".csv":
        return csv_text(rows).encode()
    if suffix == ".jsonl":
        return "".join(json.dumps(entry) + "\n" for entry in rows).encode()
    return json.dumps(rows, indent=2).encode()


def write(folder: Path, content: Any, suffix: str = ".json") -> Path:
    """Write rows, text or bytes as a benchmark file."""
    path = folder / f"questions{suffix}"
    if isinstance(content, str):
        content = content.encode()
    path.write_bytes(content if isinstance(content, bytes) else encode(content, suffix))
    return path


def refusal(path: Path | str, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        load_benchmark(str(path), **options)
    return str(caught.value)


def warnings(caplog: pytest.LogCaptureFixture) -> str:
    records = [r for r in caplog.records if r.name == "proteinlm_ext" and r.levelname == "WARNING"]
    return "\n".join(record.getMessage() for record in records)


@pytest.fixture(autouse=True)
def _no_configured_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROTEINLM_DATA", raising=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that the generated examples of one test may share."""
    return tmp_path_factory.mktemp("generated")


# Formats.


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_every_question_with_its_options_and_key(
    tmp_path: Path, suffix: str
) -> None:
    loaded = load_benchmark(str(write(tmp_path, ROWS, suffix)))
    assert [question.question for question in loaded.questions] == [r["question"] for r in ROWS]
    assert [(question.choices, question.answer) for question in loaded.questions] == EXPECTED


@pytest.mark.parametrize("suffix", SUFFIXES[1:])
def test_all_formats_give_equal_questions_ids_and_hashes(tmp_path: Path, suffix: str) -> None:
    reference = load_benchmark(str(write(tmp_path, ROWS, ".json")))
    loaded = load_benchmark(str(write(tmp_path, ROWS, suffix)))
    assert loaded.questions == reference.questions
    assert [q.id for q in loaded.questions] == [q.id for q in reference.questions]
    assert [q.row_hash for q in loaded.questions] == [q.row_hash for q in reference.questions]
    assert loaded.sha256 != reference.sha256


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_row_of_a_sound_file_is_dropped(tmp_path: Path, suffix: str) -> None:
    rows = [row(f"Which subunit is number {n}?", ["alpha", "beta"]) for n in range(25)]
    loaded = load_benchmark(str(write(tmp_path, rows, suffix)))
    assert len(loaded.questions) == loaded.num_rows == 25
    assert (loaded.dropped, loaded.reported) == ((), ())


@pytest.mark.parametrize("suffix", TEXT_SUFFIXES)
def test_byte_order_mark_is_accepted(tmp_path: Path, suffix: str) -> None:
    plain = load_benchmark(str(write(tmp_path, ROWS, suffix)))
    marked = load_benchmark(str(write(tmp_path, b"\xef\xbb\xbf" + encode(ROWS, suffix), suffix)))
    assert marked.questions == plain.questions


def test_windows_line_ends_are_accepted_in_csv_and_jsonl(tmp_path: Path) -> None:
    plain = load_benchmark(str(write(tmp_path, ROWS, ".csv")))
    assert read_file(write(tmp_path, csv_text(ROWS, end="\r\n"), ".csv")).questions == (
        plain.questions
    )
    lines = encode(ROWS, ".jsonl").replace(b"\n", b"\r\n")
    assert read_file(write(tmp_path, lines, ".jsonl")).questions == plain.questions


def test_non_ascii_text_need_not_be_escaped_in_json(tmp_path: Path) -> None:
    plain = load_benchmark(str(write(tmp_path, ROWS)))
    raw = write(tmp_path, json.dumps(ROWS, ensure_ascii=False))
    assert load_benchmark(str(raw)).questions == plain.questions


def test_unicode_line_separator_does_not_split_a_jsonl_row(tmp_path: Path) -> None:
    text = json.dumps(row("Which\u2028ion?", ["zinc", "iron"]), ensure_ascii=False)
    (question,) = load_benchmark(str(write(tmp_path, text, ".jsonl"))).questions
    assert question.question == "Which\u2028ion?"


def test_blank_lines_of_csv_and_jsonl_are_no_rows(tmp_path: Path) -> None:
    for suffix in (".csv", ".jsonl"):
        rows = [ROWS[0], ROWS[1]]
        content = encode(rows, suffix).replace(b"\n", b"\n\n") + b"\n"
        assert load_benchmark(str(write(tmp_path, content, suffix))).num_rows == 2


@pytest.mark.parametrize("explanation", [True, False])
@pytest.mark.parametrize("width", [6, 8, 10])
def test_csv_may_have_any_number_of_options_and_no_explanation(
    tmp_path: Path, width: int, explanation: bool
) -> None:
    path = write(tmp_path, csv_text(ROWS, width, explanation), ".csv")
    loaded = load_benchmark(str(path))
    assert [(question.choices, question.answer) for question in loaded.questions] == EXPECTED
    assert loaded.num_padding == 3 * width - 11


def test_case_of_the_suffix_does_not_matter(tmp_path: Path) -> None:
    assert load_benchmark(str(write(tmp_path, ROWS, ".json").rename(tmp_path / "A.JSON")))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_explanation_reaches_neither_benchmark_nor_document(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, ROWS, suffix)
    if suffix != ".parquet":
        assert SECRET in path.read_text(encoding="utf-8")
    loaded = load_benchmark(str(path))
    provenance: dict[str, Any] = {}
    documents = load_for_harness(data=str(path), provenance=provenance)["test"].to_list()
    assert SECRET not in f"{loaded!r} {loaded.provenance()} {provenance} {documents}"
    assert not any("explanation" in document for document in documents)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_source_and_sha256_are_those_of_the_file(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, ROWS, suffix)
    loaded = load_benchmark(str(path))
    assert loaded.source == f"questions{suffix}"
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


# Where the file is named.


def test_environment_variable_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROTEINLM_DATA", str(write(tmp_path, ROWS, ".csv")))
    assert load_benchmark().source == "questions.csv"


def test_argument_goes_before_the_environment_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROTEINLM_DATA", str(tmp_path / "absent.json"))
    assert load_benchmark(str(write(tmp_path, ROWS))).num_rows == 3


def test_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path, ROWS)
    assert load_benchmark("~/questions.json").num_rows == 3


# Padding.


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
@pytest.mark.parametrize("padding", ["nan", "option {}: nan"])
def test_trailing_nan_options_are_dropped_counted_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str, padding: str
) -> None:
    rows = [ROWS[0] | {"options": ROWS[0]["options"] + [padding.format(n) for n in range(3, 7)]}]
    loaded = load_benchmark(str(write(tmp_path, rows, suffix)))
    assert loaded.questions[0].choices == EXPECTED[0][0]
    assert loaded.num_padding == loaded.provenance()["padding_removed"] == 4
    assert f"questions{suffix}: removed 4 trailing options" in warnings(caplog)


@pytest.mark.parametrize("cells", [",,,", "nan,nan,nan,nan", "nan,nan,,", "option 3: nan,nan,,"])
def test_trailing_csv_cells_that_are_empty_or_nan_are_padding(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, cells: str
) -> None:
    header = "question,option 1,option 2,option 3,option 4,option 5,option 6,answer\n"
    path = write(tmp_path, f"{header}Which metal?,zinc,iron,{cells},option 2\n", ".csv")
    loaded = load_benchmark(str(path))
    assert (loaded.questions[0].choices, loaded.num_padding) == (("zinc", "iron"), 4)
    assert "removed 4 trailing options" in warnings(caplog)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nan_between_two_options_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    rows = [row("What is a missing value?", ["null", "nan", *"KMNP"], 2)]
    loaded = load_benchmark(str(write(tmp_path, rows, suffix)))
    assert loaded.questions[0].choices == ("null", "nan", *"KMNP")
    assert loaded.num_padding == 0
    assert warnings(caplog) == ""


def test_empty_csv_cell_between_two_options_is_refused(tmp_path: Path) -> None:
    text = "question,option 1,option 2,option 3,answer\nWhich metal?,zinc,,iron,option 1\n"
    assert "row 1: empty text: option 2" in refusal(write(tmp_path, text, ".csv"))


# Refusals: each names the file, the row, the rule and the value.

DEFECTS = {
    "gold outside the options": ({"answer": "option 3"}, "gold outside the options", "option 3 of"),
    "gold before the options": ({"answer": "option 0"}, "gold outside the options", "option 0 of"),
    "gold points at padding": (
        {"options": [*TWO, "option 3: nan"], "answer": "option 3"},
        "gold outside the options",
        "option 3 of 2",
    ),
    "one option": ({"options": ["option 1: zinc"]}, "2 to 10 options", "1 options"),
    "one option and padding": ({"options": ["zinc", "nan"]}, "2 to 10 options", "1 options"),
    "eleven options": ({"options": [*"ACDEFGHIKLM"]}, "2 to 10 options", "11 options"),
    "answer is a letter": ({"answer": "C"}, "unparsable answer", "'C'"),
    "answer is a bare number": ({"answer": "3"}, "unparsable answer", "'3'"),
    "answer without number": ({"answer": "option x"}, "unparsable answer", "'option x'"),
    "answer is null": ({"answer": None}, "unparsable answer", "None"),
    "answer is no text": ({"answer": 3}, "unparsable answer", "3"),
    "question is empty": ({"question": ""}, "empty text", "question ''"),
    "question is white space": ({"question": " \t "}, "empty text", r"question ' \t '"),
    "option is empty": ({"options": ["option 1: ", "heme"]}, "empty text", "option 1"),
    "last option is empty": ({"options": [*TWO, "option 3:"]}, "empty text", "option 3"),
    "options in one text": ({"options": "zinc, heme"}, "options not a list", "'zinc, heme'"),
    "options are null": ({"options": None}, "options not a list", "None"),
    "option number is off": (
        {"options": ["option 1: zinc", "option 3: heme"]},
        "option number",
        "'option 3: heme' stands at position 2",
    ),
    "option is null": ({"options": ["zinc", None, "heme"]}, "not a text", "option 2 is None"),
    "option is a number": ({"options": ["zinc", 2]}, "not a text", "option 2 is 2"),
    "column too many": ({"source": "UniProt"}, "wrong columns", "unknown ['source']"),
}


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
@pytest.mark.parametrize("name", DEFECTS)
def test_defect_is_refused_with_file_row_rule_and_value(
    tmp_path: Path, name: str, suffix: str
) -> None:
    change, rule, value = DEFECTS[name]
    bad = {"question": "Which cofactor?", "options": TWO, "answer": "option 1"} | change
    path = write(tmp_path, [*ROWS, bad], suffix)
    message = refusal(path)
    assert str(path) in message
    assert f"row 4: {rule}: " in message
    assert value in message.split(rule, 1)[1]
    assert message.count("row ") == 1
    assert refusal(path, truncated="drop") == message


@pytest.mark.parametrize("missing", ["question", "options", "answer"])
def test_missing_column_is_refused(tmp_path: Path, missing: str) -> None:
    bad = {key: value for key, value in ROWS[1].items() if key != missing}
    path = write(tmp_path, [ROWS[0], bad])
    assert f"row 2: wrong columns: missing ['{missing}']" in refusal(path)
    assert str(path) in refusal(path)


@pytest.mark.parametrize("bad", [["Which cofactor?"], "Which cofactor?", 7, None])
def test_row_that_is_no_object_is_refused(tmp_path: Path, bad: Any) -> None:
    path = write(tmp_path, [ROWS[0], bad])
    assert f"row 2: a row is an object: {bad!r}" in refusal(path)
    assert str(path) in refusal(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_duplicate_id_is_refused_with_both_rows(tmp_path: Path, suffix: str) -> None:
    identity = load_benchmark(str(write(tmp_path, [ROWS[1]]))).questions[0].id
    path = write(tmp_path, [*ROWS, ROWS[1] | {"answer": "option 1"}], suffix)
    assert f"row 4: duplicate id: {identity}, the same as row 2" in refusal(path)
    assert str(path) in refusal(path)


@pytest.mark.parametrize("question", [None, 3, 2.5, ["Which?"], {"text": "Which?"}])
def test_question_that_is_no_text_is_refused(tmp_path: Path, question: Any) -> None:
    path = write(tmp_path, [ROWS[0], ROWS[1] | {"question": question}])
    message = refusal(path)
    assert str(path) in message
    assert "row 2: " in message
    assert repr(question) in message


def test_missing_and_binary_parquet_questions_are_refused(tmp_path: Path) -> None:
    for value in (None, b"Which?"):
        path = write(tmp_path, [ROWS[0] | {"question": value}], ".parquet")
        assert f"{value!r}" in refusal(path)


@pytest.mark.parametrize(
    "change",
    [
        {"question": "Which \ud800 helix?"},
        {"options": ["zinc \udfff", "heme"]},
        {"answer": f"option {'9' * 5000}"},
        {"options": [f"option {'9' * 5000}: zinc", "heme"]},
    ],
    ids=["surrogate in question", "surrogate in option", "huge answer", "huge option number"],
)
def test_value_that_cannot_be_hashed_or_counted_is_refused(tmp_path: Path, change: Row) -> None:
    path = write(tmp_path, [ROWS[0], ROWS[1] | change])
    assert "row 2: " in refusal(path)
    assert str(path) in refusal(path)


def test_refusal_lists_ten_defects_and_counts_the_rest(tmp_path: Path) -> None:
    rows = [row(f"Chain {n}?", ["heavy", "light"]) | {"answer": "?"} for n in range(14)]
    message = refusal(write(tmp_path, [*ROWS, *rows]))
    assert "14 defects in 17 rows" in message
    assert "row 13: " in message
    assert "row 14: " not in message
    assert "and 4 more" in message


@pytest.mark.parametrize(
    "header",
    [
        "question,option 1,answer",
        "question,option 1,option 3,answer",
        "question,option 2,option 1,answer",
        "option 1,option 2,question,answer",
        "question,option 1,option 2",
        "question,option 1,option 2,explanation,answer",
        "question,option 1,option 2,answer,source",
        "id,question,option 1,option 2,answer",
        "Question,Option 1,Option 2,Answer",
        "question;option 1;option 2;answer",
        "question,options,answer,explanation",
        "Which metal?,zinc,iron,option 1",
        "",
    ],
)
def test_any_other_csv_header_is_refused_with_the_expected_one(tmp_path: Path, header: str) -> None:
    path = write(tmp_path, f"{header}\nWhich metal?,zinc,iron,option 1\n", ".csv")
    message = refusal(path)
    assert str(path) in message
    assert "question, option 1 .. option k, answer[, explanation]" in message
    found = header or "Which metal?,zinc,iron,option 1"
    assert f"the CSV header is {found.split(',')}" in message


@pytest.mark.parametrize(
    ("line", "cells"), [("Which metal?,zinc,iron", 3), ("Which metal, then?,zinc,iron,option 1", 5)]
)
def test_ragged_csv_row_is_refused(tmp_path: Path, line: str, cells: int) -> None:
    good = "question,option 1,option 2,answer\nWhich ion?,zinc,iron,option 1\n"
    path = write(tmp_path, f"{good}{line}\n", ".csv")
    message = refusal(path)
    assert str(path) in message
    assert f"row 2 has {cells} cells, the header 4" in message


def test_open_quote_in_csv_is_refused_with_its_line(tmp_path: Path) -> None:
    text = 'question,option 1,option 2,answer\n"Which metal?,zinc,iron,option 1\n'
    path = write(tmp_path, text, ".csv")
    assert str(path) in refusal(path)
    assert "line 2" in refusal(path)


@pytest.mark.parametrize("suffix", TEXT_SUFFIXES)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("start", [b"\n\n", b"\n\n\xc3\xa4 and more"])
def test_undecodable_byte_is_refused_with_line_and_value(
    tmp_path: Path, suffix: str, mark: bytes, start: bytes
) -> None:
    path = write(tmp_path, mark + start + b"\xe9ne zinc finger", suffix)
    message = refusal(path)
    assert str(path) in message
    assert ": line 3: " in message
    assert r"b'\xe9'" in message


def test_utf_16_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps(ROWS).encode("utf-16"))
    assert f"{path} is not a benchmark file: line 1: " in refusal(path)


@pytest.mark.parametrize(
    ("suffix", "content", "said"),
    [
        (".json", "", "line 1 column 1"),
        (".json", "question,answer", "line 1 column 1"),
        (".json", '[\n{"question": }]', "line 2 column"),
        (".json", '{"question": "Which metal?"}', "expected a JSON list of rows, found dict"),
        (".json", "null", "expected a JSON list of rows, found NoneType"),
        (".jsonl", '[]\n{"question": }', "line 2 is not JSON"),
        (".parquet", "", "Parquet"),
        (".parquet", "question,answer and more", "Parquet"),
    ],
)
def test_content_that_is_not_of_its_format_is_refused_with_the_place(
    tmp_path: Path, suffix: str, content: str, said: str
) -> None:
    path = write(tmp_path, content, suffix)
    message = refusal(path)
    assert f"{path} is not a benchmark file: " in message
    assert said in message


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_bottomless_json_is_refused(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, "[" * 100_000, suffix)
    assert str(path) in refusal(path)


def test_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    sound = encode(ROWS, ".parquet")
    footer = len(sound) - 8
    for damaged in (
        sound[:-50],
        sound[:200] + sound[250:],
        sound[:4] + bytes(60) + sound[64:],
        sound[: footer - 100] + b"\xff" * 100 + sound[footer:],
    ):
        path = write(tmp_path, damaged, ".parquet")
        assert str(path) in refusal(path)


def test_parquet_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, [{"sequence": "MKV", "label": 1}], ".parquet")
    message = refusal(path)
    assert str(path) in message
    assert "wrong columns: missing ['question', 'options', 'answer']" in message
    assert "unknown ['sequence', 'label']" in message


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".json", "[]"),
        (".jsonl", ""),
        (".jsonl", "\n\n"),
        (".csv", "question,option 1,option 2,answer\n"),
        (".parquet", None),
    ],
)
def test_file_without_rows_is_refused(tmp_path: Path, suffix: str, content: str | None) -> None:
    if content is None:
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(ROWS).slice(0, 0), sink)
        path = write(tmp_path, sink.getvalue(), suffix)
    else:
        path = write(tmp_path, content, suffix)
    assert refusal(path) == f"{path} holds no rows."


@pytest.mark.parametrize("suffix", [".txt", ".tsv", ".json.gz", ""])
def test_unknown_suffix_is_refused_with_the_known_ones(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, json.dumps(ROWS), suffix)
    message = refusal(path)
    assert f"{path} ends in {path.suffix!r}" in message
    for known in SUFFIXES:
        assert known in message


@pytest.mark.parametrize("name", ["absent.json", "absent/questions.json", "", "x\0y.json"])
def test_missing_file_is_refused_with_both_ways_to_name_one(tmp_path: Path, name: str) -> None:
    path = f"{tmp_path}/{name}"
    message = refusal(path)
    assert path.rstrip("/") in message
    assert "PROTEINLM_DATA" in message
    assert "--metadata" in message


@pytest.mark.parametrize("name", ["~nobody-of-that-name/x.json", f"{'x' * 5000}.json"])
def test_impossible_path_is_refused_like_a_missing_file(name: str) -> None:
    assert name[:20] in refusal(name)


def test_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    path = write(tmp_path, ROWS)
    monkeypatch.setattr(Path, "open", deny)
    monkeypatch.setattr(Path, "read_bytes", deny)
    assert str(path) in refusal(path)


# Any file gives a benchmark or a DataError.

SCALARS = st.none() | st.booleans() | st.integers() | st.floats()
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)  # with lone surrogates
ODD = st.recursive(
    SCALARS | ANY_TEXT | st.sampled_from(["nan", "option 1", "option 7", "option 3: nan", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=2),
    max_leaves=4,
)


@st.composite
def mutated_rows(draw: st.DrawFn) -> list[Any]:
    """Take the sound rows and delete or replace keys, options or whole rows."""
    rows: list[Any] = [entry | {"options": [*entry["options"]]} for entry in ROWS]
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, 2))
        entry = rows[at]
        kind = draw(st.sampled_from(["delete", "replace", "add", "option", "row", "copy"]))
        if kind == "row" or not isinstance(entry, dict):
            rows[at] = draw(ODD)
        elif kind == "copy":
            rows[at] = rows[draw(st.integers(0, 2))]
        elif kind == "add":
            rows[at] = entry | {draw(ANY_TEXT): draw(ODD)}
        elif kind == "option" and isinstance(entry.get("options"), list):
            options = [*entry["options"]]
            options[draw(st.integers(0, len(options) - 1)) if options else 0 :] = [draw(ODD)]
            rows[at] = entry | {"options": options}
        else:
            key = draw(st.sampled_from(["question", "options", "answer", "explanation"]))
            rows[at] = {name: value for name, value in entry.items() if name != key}
            if kind == "replace":
                rows[at][key] = draw(ODD)
    return rows


def load_or_refuse(path: Path, truncated: str = "refuse") -> Benchmark | None:
    """Load a file, or check that the refusal names it; any other error escapes."""
    try:
        loaded, message = load_benchmark(str(path), truncated=truncated), ""
    except DataError as error:
        loaded, message = None, str(error)
    if loaded is None:
        assert str(path) in message
        return None
    assert len(loaded.questions) + len(loaded.dropped) == loaded.num_rows
    assert len({question.id for question in loaded.questions}) == len(loaded.questions)
    for question in loaded.questions:
        assert question.question.strip()
        assert 2 <= len(question.choices) <= 10
        assert all(choice.strip() for choice in question.choices)
        assert 0 <= question.answer < len(question.choices)
    return loaded


@settings(max_examples=250, deadline=None, derandomize=True)
@given(mutated_rows(), st.sampled_from([".json", ".jsonl"]), st.sampled_from(["refuse", "drop"]))
def test_mutated_rows_give_a_benchmark_or_a_data_error(
    folder: Path, rows: list[Any], suffix: str, truncated: str
) -> None:
    loaded = load_or_refuse(write(folder, rows, suffix), truncated)
    if loaded:
        assert loaded.num_rows == len(rows) == 3
        assert truncated == "drop" or not loaded.dropped


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(
        st.lists(
            st.text(max_size=5) | st.sampled_from(["zinc", "option 2", "nan", "option 7"]),
            min_size=5,
            max_size=5,
        ),
        max_size=3,
    )
)
def test_any_csv_cells_give_a_benchmark_or_a_data_error(
    folder: Path, records: list[list[str]]
) -> None:
    sheet = io.StringIO(newline="")
    writer = csv.writer(sheet, quoting=csv.QUOTE_ALL)
    writer.writerows([["question", "option 1", "option 2", "option 3", "answer"], *records])
    loaded = load_or_refuse(write(folder, sheet.getvalue(), ".csv"))
    assert loaded is None or loaded.num_rows == len(records)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.sampled_from(SUFFIXES),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), st.binary(max_size=3)), max_size=3),
    st.binary(max_size=40),
    st.booleans(),
)
def test_random_bytes_give_a_benchmark_or_a_data_error(
    folder: Path, suffix: str, cuts: list[tuple[float, int, bytes]], noise: bytes, damage: bool
) -> None:
    content = encode(ROWS, suffix) if damage else noise
    for place, length, patch in cuts if damage else []:
        at = int(place * len(content))
        content = content[:at] + patch + content[at + length :]
    load_or_refuse(write(folder, content, suffix))


# Rows that an export has cut off.


def cut_export(folder: Path, suffix: str = ".csv") -> Path:
    """Write four rows, of which the second and fourth ask for a seventh and tenth option."""
    sound = [row(f"Which chain is {n}?", [*"ACDEFG"]) for n in (1, 3)]
    lost = [row(f"Which chain is {n}?", [*"ACDEFG"], gold) for n, gold in ((2, 7), (4, 10))]
    return write(folder, [sound[0], lost[0], sound[1], lost[1]], suffix)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_cut_off_gold_is_refused_with_a_hint(tmp_path: Path, suffix: str) -> None:
    path = cut_export(tmp_path, suffix)
    message = refusal(path)
    assert str(path) in message
    assert "row 2: gold cut off: option 7, but the file holds 6 options" in message
    assert "row 4: gold cut off: option 10, but the file holds 6 options" in message
    assert '"truncated": "drop"' in message


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_cut_off_rows_are_dropped_on_request_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    loaded = load_benchmark(str(cut_export(tmp_path, suffix)), truncated="drop")
    assert [question.question for question in loaded.questions] == [
        "Which chain is 1?",
        "Which chain is 3?",
    ]
    assert f"questions{suffix} is incomplete: 2 of 4" in warnings(caplog)
    assert "row 2: gold cut off: option 7" in warnings(caplog)
    assert "row 4: gold cut off: option 10" in warnings(caplog)
    provenance = loaded.provenance()
    assert (provenance["questions"], provenance["rows"]) == (2, 4)
    assert provenance["complete"] is False
    assert [entry[:5] for entry in provenance["dropped"]] == ["row 2", "row 4"]


def test_dropped_rows_make_the_summary_say_incomplete(tmp_path: Path) -> None:
    provenance: dict[str, Any] = {}
    load_for_harness(str(cut_export(tmp_path)), "drop", provenance)
    summary = TaskSummary(
        task="proteinlmbench",
        version="1",
        protocol="",
        kind="",
        num_questions=2,
        num_available=2,
        chance=None,
        longest=None,
        scores=(),
        provenance=provenance,
    )
    assert "proteinlmbench: INCOMPLETE data, 2 of 4 questions" in summary.remarks


def test_dropping_changes_nothing_in_a_whole_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(write(tmp_path, ROWS))
    assert load_benchmark(path, truncated="drop") == load_benchmark(path)
    assert load_benchmark(path, truncated="drop").provenance()["complete"] is True
    assert "incomplete" not in caplog.text


def test_dropping_does_not_hide_another_defect(tmp_path: Path) -> None:
    text = cut_export(tmp_path).read_text(encoding="utf-8")
    path = write(tmp_path, text + "Which chain is 5?,A,C,D,E,F,G,G,\n", ".csv")
    message = refusal(path, truncated="drop")
    assert "row 5: unparsable answer: 'G'" in message
    assert "gold cut off" not in message
    assert '"truncated"' not in message
    assert "row 2: gold cut off" in refusal(path)


def test_dropping_does_not_hide_another_defect_of_the_same_row(tmp_path: Path) -> None:
    bad = row(" ", [*"ACDEFG"], 7)
    path = write(tmp_path, [*ROWS, bad])
    assert "row 4: empty text: question ' '" in refusal(path, truncated="drop")


def test_gold_beyond_a_short_row_is_not_dropped(tmp_path: Path) -> None:
    path = write(tmp_path, [*ROWS, row("Which metal?", ["zinc", "iron"], 3)], ".csv")
    message = refusal(path, truncated="drop")
    assert "row 4: gold outside the options: option 3 of 2" in message
    assert '"truncated"' not in message


def test_file_whose_every_row_is_cut_off_is_refused_even_on_request(tmp_path: Path) -> None:
    path = write(tmp_path, [row("Which metal?", ["zinc", "iron"], 3)])
    assert str(path) in refusal(path, truncated="drop")


@pytest.mark.parametrize("value", ["Drop", "keep", "", "yes", None, True, ["drop"]])
def test_any_other_value_of_truncated_is_refused(tmp_path: Path, value: Any) -> None:
    message = refusal(write(tmp_path, ROWS), truncated=value)
    assert repr(value) in message
    assert '"refuse"' in message
    assert '"drop"' in message


# The pinned Hub file.

SOFT_ROWS = [
    *ROWS,
    ROWS[0] | {"answer": "option 2"},
    row("Which cofactor?", ["heme", " "]),
    {"question": "Which helix?", "options": ["option 1: pi", "option 5: alpha"]}
    | {"answer": "option 2"},
]


def pin(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Make the file at `path` the pinned one."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(benchmark, "HUB_SHA256", digest)


def serve(monkeypatch: pytest.MonkeyPatch, answer: Path | Exception) -> list[dict[str, Any]]:
    """Put a download that returns or raises `answer` in place; return the arguments it gets."""
    calls: list[dict[str, Any]] = []
    signature = inspect.signature(huggingface_hub.hf_hub_download)

    def download(*args: Any, **kwargs: Any) -> str:
        calls.append(dict(signature.bind(*args, **kwargs).arguments))
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return calls


def unavailable() -> HfHubHTTPError:
    request = httpx2.Request("GET", "https://hub.invalid/questions.json")
    return HfHubHTTPError("503 Server Error", response=httpx2.Response(503, request=request))


def test_pinned_revision_and_hash_are_full_hex_digests() -> None:
    assert benchmark.HUB_REPO == "tsynbio/ProteinLMBench"
    for value, digits in ((benchmark.HUB_REVISION, 40), (benchmark.HUB_SHA256, 64)):
        assert len(value) == digits
        assert set(value) <= set("0123456789abcdef")


def test_download_asks_for_the_pinned_file_and_is_called_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, ROWS)
    pin(monkeypatch, path)
    calls = serve(monkeypatch, path)
    loaded = load_benchmark()
    assert loaded.source == "hub"
    assert loaded.num_rows == 3
    (call,) = calls
    assert call["repo_id"] == benchmark.HUB_REPO
    assert call["filename"] == "ProteinLMBench.json"
    assert call["repo_type"] == "dataset"
    assert call["revision"] == benchmark.HUB_REVISION


def test_empty_environment_variable_means_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, ROWS)
    pin(monkeypatch, path)
    monkeypatch.setenv("PROTEINLM_DATA", "")
    assert serve(monkeypatch, path) == []
    assert load_benchmark().source == "hub"


def test_local_file_is_read_without_asking_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = serve(monkeypatch, OSError("offline"))
    assert load_benchmark(str(write(tmp_path, ROWS))).source == "questions.json"
    assert calls == []


def test_download_with_another_hash_is_refused_with_both_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, ROWS)
    serve(monkeypatch, path)
    with pytest.raises(DataError) as caught:
        load_benchmark()
    message = str(caught.value)
    assert hashlib.sha256(path.read_bytes()).hexdigest() in message
    assert benchmark.HUB_SHA256 in message
    assert str(path) in message


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(LocalEntryNotFoundError("no copy is cached\nand more"), id="not cached"),
        pytest.param(OSError("Network is unreachable"), id="no network"),
        pytest.param(TimeoutError(), id="no words"),
        pytest.param(unavailable(), id="server error"),
        pytest.param(httpx2.ProxyError("403 Forbidden"), id="proxy"),
        pytest.param(httpx2.ReadTimeout("timed out"), id="time-out in the download"),
    ],
)
def test_unreachable_hub_is_one_line_naming_both_ways_to_a_local_copy(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    calls = serve(monkeypatch, error)
    with pytest.raises(DataError) as caught:
        load_benchmark()
    message = str(caught.value)
    assert benchmark.HUB_REPO in message
    assert "PROTEINLM_DATA=PATH" in message
    assert """--metadata '{"data": "PATH"}'""" in message
    assert str(error).split("\n")[0] in message
    assert len(message.splitlines()) == 1
    assert len(calls) == 1


def test_soft_defects_of_the_pinned_file_are_only_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "proteinlm_ext")
    path = write(tmp_path, SOFT_ROWS)
    pin(monkeypatch, path)
    loaded = load_benchmark(str(path))
    assert loaded.source == "hub"
    assert len(loaded.questions) == loaded.num_rows == 6
    assert [(defect.row, defect.rule) for defect in loaded.reported] == [
        (4, "duplicate id"),
        (5, "empty text"),
        (6, "option number"),
    ]
    assert loaded.questions[5].choices == ("pi", "alpha")
    assert loaded.provenance()["complete"] is True
    assert loaded.provenance()["reported"] == [
        "row 4: duplicate id", "row 5: empty text", "row 6: option number",
    ]  # fmt: skip
    for rule in ("duplicate id", "empty text", "option number"):
        assert rule in caplog.text


def test_soft_defects_of_any_other_file_are_refused(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, SOFT_ROWS))
    assert "3 defects in 6 rows" in message
    assert "row 4: duplicate id: " in message
    assert "row 5: empty text: option 2" in message
    assert "row 6: option number: 'option 5: alpha' stands at position 2" in message


@pytest.mark.parametrize(
    "change", [{"answer": "C"}, {"answer": "option 9"}, {"options": ["zinc"]}, {"question": None}]
)
def test_hard_defects_are_refused_even_in_the_pinned_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Row
) -> None:
    path = write(tmp_path, [*ROWS, row("Which metal?", ["zinc", "iron"]) | change])
    pin(monkeypatch, path)
    assert "row 4: " in refusal(path)


# What lm-eval gets.


def test_harness_gets_five_columns_of_one_split(tmp_path: Path) -> None:
    path = write(tmp_path, ROWS)
    splits = load_for_harness(data=str(path))
    assert list(splits) == ["test"]
    columns = ["id", "row_hash", "question", "choices", "answer"]
    assert sorted(splits["test"].column_names) == sorted(columns)
    questions = load_benchmark(str(path)).questions
    assert splits["test"].to_list() == [question.to_doc() for question in questions]


def test_harness_provenance_is_filled_in_place(tmp_path: Path) -> None:
    path = write(tmp_path, ROWS, ".csv")
    provenance: dict[str, Any] = {}
    load_for_harness(data=str(path), provenance=provenance)
    assert provenance == {
        "source": "questions.csv",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "questions": 3,
        "rows": 3,
        "complete": True,
        "dropped": [],
        "padding_removed": 7,
        "reported": [],
        "oddities": {},
    }
    assert json.loads(json.dumps(provenance)) == provenance


def test_provenance_counts_what_is_odd(tmp_path: Path) -> None:
    rows = [
        *ROWS,
        row("Which metal?", ["zinc", "Zinc"]),
        row("Which?", ["A (correct answer)", "B"]),
    ]
    provenance = load_benchmark(str(write(tmp_path, rows))).provenance()
    assert provenance["oddities"] == {"identical options": 1, "option marked as correct": 1}


def test_harness_ignores_all_other_metadata(tmp_path: Path) -> None:
    path = str(write(tmp_path, ROWS))
    model_args = {"revision": "main", "dtype": "float16", "pretrained": "a/model", "version": 1.0}
    provenance: dict[str, Any] = {}
    noisy = load_for_harness(data=path, provenance=provenance, trust_remote_code=True, **model_args)
    assert noisy["test"].to_list() == load_for_harness(data=path)["test"].to_list()
    assert provenance == load_benchmark(path).provenance()


def test_revision_in_the_metadata_does_not_reach_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, ROWS)
    pin(monkeypatch, path)
    calls = serve(monkeypatch, path)
    load_for_harness(revision="refs/pr/1", pretrained="a/model")
    assert [call["revision"] for call in calls] == [benchmark.HUB_REVISION]


def test_harness_passes_truncated_on(tmp_path: Path) -> None:
    path = str(cut_export(tmp_path))
    with pytest.raises(DataError, match="gold cut off"):
        load_for_harness(data=path)
    with pytest.raises(DataError, match="maybe"):
        load_for_harness(data=path, truncated="maybe")
    provenance: dict[str, Any] = {}
    splits = load_for_harness(data=path, truncated="drop", provenance=provenance)
    assert splits["test"].num_rows == provenance["questions"] == 2
    assert (provenance["rows"], provenance["complete"]) == (4, False)


def test_harness_reads_the_environment_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROTEINLM_DATA", str(write(tmp_path, ROWS)))
    assert load_for_harness()["test"].num_rows == 3


@pytest.mark.parametrize("data", [3, True, ["questions.json"], {"path": "questions.json"}])
def test_data_that_is_no_path_is_refused(data: Any) -> None:
    with pytest.raises(DataError):
        load_for_harness(data=data)


def test_sample_ignores_every_way_to_name_other_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROTEINLM_DATA", str(tmp_path / "absent.json"))
    calls = serve(monkeypatch, OSError("offline"))
    provenance: dict[str, Any] = {}
    splits = load_sample_for_harness(
        provenance=provenance, data=str(tmp_path / "absent.csv"), truncated="maybe", revision="x"
    )
    assert list(splits) == ["test"]
    assert splits["test"].to_list() == [question.to_doc() for question in load_sample().questions]
    assert provenance == load_sample().provenance()
    assert calls == []


def test_sample_is_whole_and_says_so() -> None:
    provenance = load_sample().provenance()
    content = (Path(benchmark.__file__).parent / "data" / "sample.json").read_bytes()
    assert provenance["source"] == "sample"
    assert provenance["sha256"] == hashlib.sha256(content).hexdigest()
    assert provenance["questions"] == provenance["rows"] == 60
    assert provenance["complete"] is True
    assert provenance["padding_removed"] == 0


# The real questions, where they are at hand.


def test_real_questions_load_whole(real_benchmark: Path) -> None:
    loaded = load_benchmark(str(real_benchmark))
    assert len(loaded.questions) == loaded.num_rows == 600
    assert len({question.id for question in loaded.questions}) == 600
    counts = Counter(len(question.choices) for question in loaded.questions)
    assert counts == {6: 555, 4: 31, 3: 12, 2: 1, 5: 1}
    assert loaded.provenance()["complete"] is True
