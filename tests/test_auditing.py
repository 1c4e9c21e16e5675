"""The audit of a whole file: row numbers, figures, gates, and reports that never change."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from proteinlm_ext.audit_report import to_json, to_jsonl, to_markdown, to_text, write_audit
from proteinlm_ext.auditing import Audit, audit, failed_gates, gold_length_ranks, gold_positions
from proteinlm_ext.checks import usable_rows
from proteinlm_ext.errors import DataError, ProteinLMError, UsageError
from proteinlm_ext.paths import data_file
from proteinlm_ext.questions import parse_rows

NAMES = ["audit.jsonl", "audit.md", "baselines.svg", "gold_position.svg", "gold_length_rank.svg",
         "audit.json"]  # fmt: skip


def row(number: int, choices: list[str], answer: int, **more: Any) -> dict[str, Any]:
    options = [f"option {n}: {text}" for n, text in enumerate(choices, start=1)]
    asked = f"What does the invented protein Qrx{number} bind?"
    return {"question": asked, "options": options, "answer": f"option {answer}", **more}


ROWS = [
    row(n, [f"zinc {n}", f"iron and sulfur {n}", f"heme {n}", f"a lipid {n}"], 1 + n % 4)
    for n in range(20)
]
BROKEN = [
    "no object",
    row(20, ["zinc", "zinc", "iron"], 3, explanation="It binds iron."),
    row(21, ["zinc", "iron"], 9),
    row(22, ["zinc", "iron", "All of the above"], 1),
]


def write(folder: Path, rows: Any, name: str = "mine.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


@pytest.fixture
def sound(tmp_path: Path) -> Audit:
    return audit(write(tmp_path, ROWS))


# What is in an audit.


def test_a_defective_file_is_audited_with_its_row_numbers(tmp_path: Path) -> None:
    found = audit(write(tmp_path, BROKEN + ROWS))
    assert (found.num_rows, found.num_questions, found.num_explanations) == (24, 22, 1)
    rows = {check.name: [f.row for f in check.findings] for check in found.checks}
    assert rows["schema"] == [1, 3]
    assert rows["duplicate_options"] == [2]
    assert rows["all_or_none_of_the_above"] == [4]
    assert rows["unusual_option_count"] == [2, 4]
    assert [(r.row, r.id is None, r.clean) for r in found.rows[:5]] == [
        (1, True, False), (2, False, False), (3, True, False), (4, False, False), (5, False, True),
    ]  # fmt: skip
    assert found.rows[3].flags == ("unusual_option_count", "all_or_none_of_the_above")


@pytest.mark.parametrize("rows", [[], ["no object"], [row(1, ["zinc"], 1)]])
def test_a_file_without_a_question_is_audited_without_baselines(
    rows: list[Any], tmp_path: Path
) -> None:
    found = audit(write(tmp_path, rows))
    assert found.baselines == ()
    assert "0 questions" in found.skipped["logistic"]
    assert [path.name for path in write_audit(found, tmp_path / "out")] == [
        "audit.jsonl", "audit.md", "audit.json",
    ]  # fmt: skip
    assert "svg" not in to_markdown(found)


def test_few_questions_have_rules_but_no_logistic_model(tmp_path: Path) -> None:
    found = audit(write(tmp_path, ROWS[:9]))
    assert "longest" in {baseline.name for baseline in found.baselines}
    assert found.skipped == {"logistic": "9 questions, 10 are needed"}
    assert "logistic was not measured: 9 questions" in to_text(found)


def test_every_format_gives_the_same_audit(tmp_path: Path, sound: Audit) -> None:
    lines = tmp_path / "mine.jsonl"
    lines.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    cells = [[r["question"], *(o.split(": ")[1] for o in r["options"]), r["answer"]] for r in ROWS]
    head = ["question", "option 1", "option 2", "option 3", "option 4", "answer"]
    table = tmp_path / "mine.csv"
    table.write_text("\n".join(",".join(line) for line in [head, *cells]), encoding="utf-8")
    for path in (lines, table):
        found = audit(path)
        assert (found.checks, found.baselines, found.rows) == (
            sound.checks, sound.baselines, sound.rows,
        )  # fmt: skip


def test_a_file_that_is_not_there_or_no_benchmark_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="could be read at"):
        audit(tmp_path / "none.json")
    with pytest.raises(DataError, match="not a benchmark file"):
        audit(write(tmp_path, {"rows": []}))


# Figures.


def entries(rows: list[Any]) -> Any:
    return usable_rows(rows, parse_rows(rows))


def test_positions_are_tested_against_those_that_each_question_has() -> None:
    rows = [row(n, ["a", "b"], 1) for n in range(30)] + [
        row(n, ["a", "b", "c"], 3) for n in range(30, 60)
    ]
    found = gold_positions(entries(rows))
    assert found["observed"] == [30, 0, 30]
    assert found["expected"] == [25, 25, 10]
    # (30 - 25)^2 / 25 + 25 + (30 - 10)^2 / 10 = 66 on two degrees of freedom: exp(-33)
    assert found["p_value"] == pytest.approx(4.658886e-15)


def test_rare_last_positions_are_pooled_and_a_single_cell_has_no_test() -> None:
    wide = [row(n, ["a", "b"], 1 + n % 2) for n in range(20)] + [row(99, list("abcdef"), 6)]
    # Cells A and the rest: (10 - 10.17)^2 / 10.17 + (11 - 10.83)^2 / 10.83 = 0.0053
    assert gold_positions(entries(wide))["p_value"] == pytest.approx(0.9420, abs=1e-4)
    assert gold_positions(entries(wide[:2]))["p_value"] is None
    assert gold_positions([])["observed"] == []


def test_length_ranks_count_rows_of_the_commonest_size_with_ties_by_position() -> None:
    rows = [
        row(1, ["long text", "mid", "s"], 1),
        row(2, ["aa", "bb", "cc"], 2),
        row(3, ["a", "longest of two"], 2),
    ]
    assert gold_length_ranks(entries(rows)) == {"options": 3, "questions": 2, "counts": [1, 1, 0]}


def test_numbers_in_explanations_are_compared_with_the_key(tmp_path: Path) -> None:
    said = "Option 2 is the correct answer."
    rows = [row(n, ["zinc", "iron"], 1 + n % 2, explanation=said) for n in range(3)]
    found = audit(write(tmp_path, rows))
    assert found.figures["explanation_numbers"] == {"named": 3, "right": 1}


# Gates.


@pytest.mark.parametrize(
    ("gate", "sentence"),
    [
        ("duplicate_options", "duplicate_options: 1 rows"),
        ("schema>1", "schema>1: 2 rows"),
        ("schema > 2", None),
        ("marked_option", None),
        ("longest>0.2", "longest>0.2: 0.227"),
        ("longest>0.3", None),
        ("any", "any: schema, unusual_option_count, "),
    ],
)
def test_a_gate_fails_above_its_limit(gate: str, sentence: str | None, tmp_path: Path) -> None:
    failed = failed_gates(audit(write(tmp_path, BROKEN + ROWS)), [gate])
    assert [text[: len(sentence or "")] for text in failed] == ([sentence] if sentence else [])


def test_a_sound_file_passes_any(sound: Audit) -> None:
    assert failed_gates(sound, ["any", "schema", "longest>0.25"]) == []


@pytest.mark.parametrize(
    "gate",
    ["duplicates", "longest", "longest>40", "any>3", "E>0.3", "schema>=1", ">3", "schema>-1"],
)
def test_a_gate_that_names_nothing_measured_is_refused(gate: str, sound: Audit) -> None:
    with pytest.raises(UsageError, match=r"is no gate.*duplicate_options.*longest.*any"):
        failed_gates(sound, [gate])


@pytest.mark.parametrize("gate", ["any", "schema", "marked_option > 3"])
def test_a_file_without_rows_passes_no_gate(gate: str, tmp_path: Path) -> None:
    empty = audit(write(tmp_path, []))
    assert failed_gates(empty, [gate]) == ["no question can be scored"]
    assert failed_gates(empty, []) == []


def test_a_gate_on_a_skipped_baseline_says_why_it_was_not_measured(tmp_path: Path) -> None:
    few = audit(write(tmp_path, ROWS[:9]))
    why = r"is no gate.*logistic was not measured: 9 questions, 10 are needed\."
    with pytest.raises(UsageError, match=why):
        failed_gates(few, ["logistic>0.3"])


# Reports.


def test_json_has_its_documented_shape(tmp_path: Path) -> None:
    report = json.loads(to_json(audit(write(tmp_path, BROKEN + ROWS))))
    assert set(report) == {"definitions", "data", "baselines", "checks", "figures"}
    assert report["data"]["file"] == "mine.json"
    assert set(report["baselines"]["longest"]) == {"accuracy", "low", "high", "n", "method"}
    assert set(report["baselines"]["logistic"]) >= {"spread"}
    assert report["checks"]["schema"]["count"] == 2
    assert report["checks"]["schema"]["rows"][0] == {
        "row": 1, "id": None, "detail": "a row is an object",
    }  # fmt: skip


def test_json_lines_have_one_line_a_row(tmp_path: Path) -> None:
    lines = to_jsonl(audit(write(tmp_path, BROKEN))).splitlines()
    assert [json.loads(line)["row"] for line in lines] == [1, 2, 3, 4]
    first = {"row": 1, "id": None, "row_hash": None, "flags": ["schema"]}
    assert json.loads(lines[0]) == first | {"selfcontained": False, "clean": False}


def test_text_and_page_show_every_baseline_and_check(sound: Audit) -> None:
    for report in (to_text(sound), to_markdown(sound)):
        for name in [*(b.name for b in sound.baselines), *(c.name for c in sound.checks)]:
            assert name in report
        assert "Always choosing the longest option is right in 25.0%, guessing in 25.0%" in report
    assert "](gold_position.svg)" in to_markdown(sound)


def test_files_are_written_whole_with_the_json_last(sound: Audit, tmp_path: Path) -> None:
    files = write_audit(sound, tmp_path / "deep" / "out")
    assert [path.name for path in files] == NAMES
    assert sorted(path.name for path in files[0].parent.iterdir()) == sorted(NAMES)
    for path in files:
        if path.suffix == ".svg":
            assert path.read_text(encoding="utf-8").rstrip().endswith("</svg>")


def test_text_holds_what_intervals_mean_and_the_length_ranks(tmp_path: Path) -> None:
    rows = [
        row(1, ["long text", "mid", "s"], 1),
        row(2, ["aa", "bb", "cc"], 2),
        row(3, ["a", "longest of two"], 2),
    ]
    text = to_text(audit(write(tmp_path, rows)))
    assert "Intervals: wilson; chance: where 95% of guessers score; logistic: a bootstrap" in text
    assert (
        "The right option by length, from the longest: 1, 1, 0 of the 2 questions with 3 options."
    ) in text


def test_an_audit_without_questions_removes_the_pictures_of_an_earlier_one(
    sound: Audit, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    write_audit(sound, folder)
    (folder / "mine.svg").write_text("kept")
    files = write_audit(audit(write(tmp_path, [])), folder)
    assert sorted(folder.iterdir()) == sorted([*files, folder / "mine.svg"])


@pytest.mark.parametrize("rows", [[], ROWS])
def test_a_report_that_cannot_be_written_is_an_error(rows: list[Any], tmp_path: Path) -> None:
    blocked = write(tmp_path, rows)
    with pytest.raises(ProteinLMError, match=f"Could not write {blocked}/audit.jsonl"):
        write_audit(audit(blocked), blocked)


def test_two_audits_write_the_same_bytes(tmp_path: Path) -> None:
    path = write(tmp_path, BROKEN + ROWS)
    first = [file.read_bytes() for file in write_audit(audit(path), tmp_path / "first")]
    assert first == [file.read_bytes() for file in write_audit(audit(path), tmp_path / "second")]


def test_the_order_of_the_rows_changes_no_baseline_and_no_figure(tmp_path: Path) -> None:
    shuffled = [(BROKEN + ROWS)[place] for place in np.random.default_rng(5).permutation(24)]
    first = audit(write(tmp_path, BROKEN + ROWS))
    second = audit(write(tmp_path, shuffled))
    assert (first.baselines, first.figures) == (second.baselines, second.figures)


def test_no_text_of_the_file_stands_in_a_report(tmp_path: Path) -> None:
    rows = [
        row(n, [f"XSECRETX {n}", f"XSECRETX {n}"], 1, explanation="XSECRETX") for n in range(12)
    ]
    found = audit(write(tmp_path, ["XSECRETX", *rows]))
    folder = tmp_path / "out"
    assert "XSECRETX" not in str(asdict(found)) + to_text(found)
    for path in write_audit(found, folder):
        assert "XSECRETX" not in path.read_text(encoding="utf-8")


def test_the_bundled_sample_is_clean() -> None:
    found = audit(data_file("sample.json"))
    assert failed_gates(found, ["schema", "duplicate_options", "marked_option", "unseen_text",
                                "encoding_damage", "longest>0.3"]) == []  # fmt: skip


def test_the_real_file_shows_what_is_known_of_it(real_benchmark: Path) -> None:
    found = audit(real_benchmark)
    counts = {check.name: check.count for check in found.checks}
    assert counts["schema"] == counts["protein_sequence"] == counts["non_english"] == 0
    assert counts["duplicate_options"] == 1
    assert 165 <= counts["unseen_text"] <= 250
    assert 480 <= counts["explanation_leaks_key"] <= 500
    assert found.figures["option_counts"]["6"] == 555
    assert to_json(found) == to_json(audit(real_benchmark))
