"""A comparison in each format: the same numbers, well formed, and no text of a question."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from saved_runs import ROWS, STANDARD, run_lm_eval, run_rule, write_data

from proteinlm_ext.comparison import Comparison, compare
from proteinlm_ext.comparison_tables import comparison_tables, render, task_names
from proteinlm_ext.runs import SavedRun, SavedTask, load_run
from proteinlm_ext.stats import DEPENDENCE
from proteinlm_ext.summary import Score
from proteinlm_ext.tables import Table, to_data

TASK = "proteinlmbench"
RULES = ("longest", "A", "B")
FORMATS = ("text", "md", "latex", "csv", "json")
TITLES = ["Scores", "Differences from longest", "Suites, differences from longest", "Slices",
          "Published, not comparable"]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[SavedRun]:
    folder = tmp_path_factory.mktemp("runs")
    return [load_run(run_lm_eval(folder / rule, rule)) for rule in RULES]


@pytest.fixture(scope="module")
def comparison(runs: list[SavedRun]) -> Comparison:
    """Return three runs of four tasks, of which one run has other prompts on one task."""
    base, second, third = runs
    samples = tuple({**s, "prompt_hash": "new"} for s in third.tasks["mmlu_anatomy"].samples)
    anatomy = replace(third.tasks["mmlu_anatomy"], samples=samples, num_fewshot=5)
    third = replace(third, tasks=third.tasks | {"mmlu_anatomy": anatomy}, remarks=("50% & more",))
    return compare([base, second, third])


@pytest.fixture(scope="module")
def like_the_paper(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Return a run on 944 questions under the paper's protocol."""
    folder = tmp_path_factory.mktemp("paper")
    rows = [(f"Which is fold {n}?", ["a helix", "salt"], n % 2) for n in range(944)]
    data = write_data(folder / "944.json", rows)
    run = load_run(run_rule(folder, "A", tasks="proteinlmbench_paper", data=data))
    tasks = {name: replace(task, departures=()) for name, task in run.tasks.items()}
    return compare([replace(run, tasks=tasks)])


def table(comparison: Comparison, title: str) -> Table:
    (found,) = [t for t in comparison_tables(comparison) if t.title == title]
    return found


def cells(table: Table) -> list[dict[str, str]]:
    return [dict(zip(table.header, row, strict=True)) for row in table.rows]


# --- what the tables say ------------------------------------------------------------------------


def test_every_row_has_a_cell_for_every_column(
    comparison: Comparison, like_the_paper: Comparison
) -> None:
    for tables in (comparison_tables(comparison), comparison_tables(like_the_paper)):
        for found in tables:
            assert found.rows
            assert {len(row) for row in found.rows} == {len(found.header)}
            assert set(found.left) <= set(found.header)
    assert [found.title for found in comparison_tables(comparison)] == TITLES


def test_scores_stand_by_task_ours_first_and_run_by_run(comparison: Comparison) -> None:
    tasks = [TASK, "mmlu_anatomy", "mmlu_astronomy", "mmlu_virology"]
    assert task_names(comparison) == tasks
    rows = cells(table(comparison, "Scores"))
    assert [(row["task"], row["run"]) for row in rows] == [
        (f"{task} v1.0", rule) for task in tasks for rule in RULES
    ]


def test_the_runs_of_a_metric_stand_together(tmp_path: Path) -> None:
    runs = [
        load_run(run_rule(tmp_path / rule, rule, tasks="proteinlmbench_gen"), rule)
        for rule in ("A", "B")
    ]
    rows = cells(table(compare(runs), "Scores"))
    assert [(row["metric"], row["run"]) for row in rows] == [
        ("exact_match (strict)", "A"), ("exact_match (strict)", "B"),
        ("exact_match (flexible)", "A"), ("exact_match (flexible)", "B"),
    ]  # fmt: skip


def test_a_score_carries_what_it_needs_to_be_defended(comparison: Comparison) -> None:
    row = cells(table(comparison, "Scores"))[1]
    assert row == {
        "task": "proteinlmbench v1.0",
        "metric": "acc",
        "run": "A",
        "n": "12",
        "score": "50.0",
        "95% interval": "25.4 to 74.6",
        "chance": "29.9",
        "longest": "41.7",
        "p(chance)": "0.115",
        "protocol": "letter log-likelihood, 0-shot, no chat template",
    }
    notes = table(comparison, "Scores").notes
    assert notes[0].startswith("longest, A, B: data: questions.json, 12 questions, sha256 ")
    assert notes[-1] == DEPENDENCE


def test_a_difference_comes_with_interval_before_p(comparison: Comparison) -> None:
    found = table(comparison, "Differences from longest")
    assert found.header.index("95% interval") < found.header.index("p")
    row = next(r for r in cells(found) if (r["task"], r["run"]) == (TASK, "A"))
    assert row == {
        "task": TASK, "metric": "acc", "run": "A", "n": "12", "difference": "+8.3",
        "95% interval": "-29.7 to +44.0", "only run": "3", "only baseline": "2", "p": "0.688",
        "p (Holm)": "1.000", "detectable": "-", "note": "",
    }  # fmt: skip
    assert "against longest, paired by question" in found.notes[0]


def test_a_pair_that_is_not_tested_says_why_and_has_no_numbers(comparison: Comparison) -> None:
    rows = cells(table(comparison, "Differences from longest"))
    (row,) = [r for r in rows if (r["task"], r["run"]) == ("mmlu_anatomy", "B")]
    assert row.pop("note") == (
        "not tested: few-shot 5 against 0, prompts differ on 5 of 5 documents"
    )
    assert {row.pop(name) for name in ("task", "metric", "run")} == {"mmlu_anatomy", "acc", "B"}
    assert set(row.values()) == {"-"}


def test_suites_say_how_many_tasks_they_pool(comparison: Comparison) -> None:
    rows = cells(table(comparison, "Suites, differences from longest"))
    assert {(r["suite"], r["run"]): (r["tasks"], r["n"], r["note"]) for r in rows} == {
        ("proteinlm_biology", "A"): ("2 of 11", "11", ""),
        ("proteinlm_biology", "B"): ("1 of 11", "6", "not in it: mmlu_anatomy"),
        ("proteinlm_general", "A"): ("1 of 56", "5", ""),
        ("proteinlm_general", "B"): ("1 of 56", "5", ""),
    }


def test_slices_stand_run_by_run_and_only_for_our_questions(comparison: Comparison) -> None:
    rows = cells(table(comparison, "Slices"))
    assert {row["task"] for row in rows} == {"proteinlmbench acc"}
    assert [row["run"] for row in rows[:6]] == [*RULES, *RULES]
    slice_column = next(name for name in rows[0] if name.startswith("slice"))
    longest = [r for r in rows if r["run"] == "longest"]
    values = {r[slice_column]: r["value"] for r in longest}
    assert values["acc_gold_longest"] == "100.0"
    assert values["acc_gold_not_longest"] == "0.0"


def test_publications_are_listed_apart_with_the_reason(comparison: Comparison) -> None:
    rows = cells(table(comparison, "Published, not comparable"))
    paper = rows[0]
    assert paper["published protocol"] == "paper"
    assert (paper["models"], paper["best"]) == ("18", "62.2 InternLM2-Protein-7B")
    assert paper["not comparable with"] == f"{TASK} of longest, A, B"
    assert paper["why"].endswith("this run: letter log-likelihood")
    assert sum(int(row["models"]) for row in rows) == 45


def test_publications_under_the_same_protocol_stand_beside_the_run(
    like_the_paper: Comparison,
) -> None:
    rows = cells(table(like_the_paper, "Published under the same protocol"))
    assert len(rows) == 18
    assert rows[0]["published model"] == "InternLM2-Protein-7B"
    assert (rows[0]["n"], rows[0]["score"], rows[0]["difference"]) == ("944", "62.2", "-12.2")
    low, high = map(float, rows[0]["95% interval"].split(" to "))
    assert low < -12.2 < high < 0
    assert rows[0]["p"] == "<0.001"
    assert all(row["source"] for row in rows)
    apart = cells(table(like_the_paper, "Published, not comparable"))
    assert "paper" not in {row["published protocol"] for row in apart}
    assert len(apart) == 4


def test_metrics_that_are_no_share_stand_in_their_own_unit(runs: list[SavedRun]) -> None:
    def scaled(task: SavedTask) -> SavedTask:
        score = Score(metric="bleu", filter="none", value=12.5, num_items=5, interval=None)
        samples = tuple({**s, "bleu": 10 * s["acc"]} for s in task.samples)
        return replace(task, samples=samples, summary=replace(task.summary, scores=(score,)))

    two = [
        replace(run, tasks={"mmlu_anatomy": scaled(run.tasks["mmlu_anatomy"])}) for run in runs[1:]
    ]
    (row,) = cells(table(compare(two), "Differences from A"))
    assert (row["difference"], row["detectable"]) == ("-2", "-")
    assert cells(table(compare(two), "Scores"))[0]["score"] == "12.5"


# --- the formats --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_no_format_holds_a_text_of_a_question(form: str, comparison: Comparison) -> None:
    text = render(comparison, form)
    assert TASK in text
    for question, options, _ in ROWS:
        assert question not in text
        assert max(options, key=len) not in text


@pytest.mark.parametrize("form", FORMATS)
def test_a_format_is_the_same_in_every_run(form: str, comparison: Comparison) -> None:
    assert render(comparison, form) == render(comparison, form)


@pytest.mark.parametrize("form", FORMATS)
def test_lines_have_no_trailing_blanks(form: str, comparison: Comparison) -> None:
    text = render(comparison, form)
    assert [line for line in text.splitlines() if line != line.rstrip()] == []
    assert not text.endswith("\n")


def test_text_is_titled_tables_with_their_notes(comparison: Comparison) -> None:
    text = render(comparison, "text")
    places = [text.index(f"[{title}]\n\n") for title in TITLES]
    assert places == sorted(places)
    assert f"\n\n{DEPENDENCE}\n\n" in text
    assert text.splitlines()[-1] == "B: 50% & more."


def test_markdown_tables_are_well_formed(comparison: Comparison) -> None:
    text = render(comparison, "md")
    blocks = [b for b in text.split("\n\n") if b.startswith("|")]
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == TITLES
    assert len(blocks) == len(TITLES)
    for block, found in zip(blocks, comparison_tables(comparison), strict=True):
        lines = block.splitlines()
        assert len(lines) == len(found.rows) + 2
        assert re.fullmatch(r"(\|:?-+:?)+\|", lines[1])
        for line, row in zip([lines[0], *lines[2:]], [found.header, *found.rows], strict=True):
            assert line.startswith("|")
            assert line.endswith("|")
            assert [cell.strip() for cell in line[1:-1].split("|")] == list(row)


def test_latex_is_balanced_and_escaped(comparison: Comparison) -> None:
    text = render(comparison, "latex")
    for name in ("table", "tabular"):
        begins, ends = text.count(f"\\begin{{{name}}}"), text.count(f"\\end{{{name}}}")
        assert begins == ends == len(TITLES)
    for rule in ("toprule", "midrule", "bottomrule"):
        assert text.count(f"\\{rule}") == len(TITLES)
    captions = re.findall(r"\\caption\{(.*)\}\n", text)
    assert [caption.partition(".")[0] for caption in captions] == TITLES
    body = [line for line in text.splitlines() if not line.startswith("% ")]
    for line in body:
        bare = re.sub(r"\\[%&_#$<>]", "", line)
        assert not re.search(r"[%_#$<>]", bare), line
        assert "&" not in bare or bare.endswith(r"\\")
        assert bare.count("{") == bare.count("}")
    assert text.splitlines()[-1] == "% B: 50% & more."


def test_latex_rows_have_a_cell_for_every_column(comparison: Comparison) -> None:
    tabular = re.compile(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end", re.DOTALL)
    tabulars = tabular.findall(render(comparison, "latex"))
    assert len(tabulars) == len(TITLES)
    for columns, content in tabulars:
        rows = [line for line in content.splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)}


def test_names_with_marks_of_latex_are_escaped_in_captions_too(runs: list[SavedRun]) -> None:
    base, other = replace(runs[0], name="a_b~c^d{e}\\f"), runs[1]
    caption = re.findall(r"\\caption\{(Differences.*)\}\n", render(compare([base, other]), "latex"))
    escaped = r"a\_b\textasciitilde{}c\^{}d\{e\}\textbackslash{}f"
    assert caption[0].count(escaped) == 2


def test_csv_holds_one_row_a_score_with_shares(comparison: Comparison) -> None:
    rows = list(csv.reader(io.StringIO(render(comparison, "csv"))))
    assert {len(row) for row in rows} == {len(rows[0])}
    records = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    assert len(records) == len(RULES) * (1 + len(STANDARD))
    by_run = {(r["task"], r["run"]): r for r in records}
    base, second = by_run[TASK, "longest"], by_run[TASK, "A"]
    assert (float(second["score"]), second["n"], second["version"]) == (0.5, "12", "1.0")
    assert (base["baseline"], base["difference"], base["p"]) == ("", "", "")
    found = next(c for c in comparison.contrasts if (c.task, c.run) == (TASK, "A"))
    assert found.difference is not None
    assert (second["test"], second["detectable"]) == ("mid-p McNemar", "")
    names = ("difference", "difference_low", "difference_high", "only_run", "only_baseline", "p",
             "p_holm")  # fmt: skip
    assert [float(second[name]) for name in names] == [
        found.difference.value, *found.difference.interval[:2], 3, 2, found.difference.p_value,
        found.adjusted_p,
    ]  # fmt: skip
    untested = by_run["mmlu_anatomy", "B"]
    assert (untested["difference"], untested["p"]) == ("", "")
    assert untested["note"] == "few-shot 5 against 0, prompts differ on 5 of 5 documents"
    assert (untested["baseline"], untested["score"]) == ("longest", "0.4")


def test_json_holds_everything_that_the_tables_say(comparison: Comparison) -> None:
    def refuse(constant: str) -> Any:
        raise AssertionError(constant)

    data = json.loads(render(comparison, "json"), parse_constant=refuse)
    assert data["baseline"] == "longest"
    assert [run["name"] for run in data["runs"]] == list(RULES)
    assert data["remarks"] == ["B: 50% & more"]
    for run, loaded in zip(data["runs"], comparison.runs, strict=True):
        assert run["settings"] == loaded.settings
        for name, task in loaded.tasks.items():
            own = {"num_fewshot": task.num_fewshot, "results_file": task.results_file.name}
            expected = json.loads(json.dumps(to_data(task.summary)))
            assert run["tasks"][name] == expected | own
    assert len(data["contrasts"]) == len(comparison.contrasts) == 8
    for written, found in zip(data["contrasts"], comparison.contrasts, strict=True):
        assert (written["task"], written["run"], written["note"]) == (
            found.task, found.run, found.note
        )  # fmt: skip
        assert written["adjusted_p"] == found.adjusted_p
        if found.difference is None:
            assert written["difference"] is None
        else:
            interval = written["difference"]["interval"]
            assert list(interval.values()) == list(found.difference.interval)
    assert len(data["suites"]) == 4
    assert len(data["published"]) == 45 * len(RULES)
    assert data["published"][0]["score"]["model"] == "InternLM2-Protein-7B"
    assert data["published"][0]["reason"].startswith("published under the paper's protocol")


def test_json_is_never_written_with_a_number_that_json_lacks(runs: list[SavedRun]) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        render(compare([replace(runs[0], settings={"batch_size": float("nan")})]), "json")


def test_json_holds_no_path_of_the_machine(comparison: Comparison) -> None:
    assert str(comparison.runs[0].tasks[TASK].results_file.parent) not in render(comparison, "json")
