"""A model's card has the numbers of its sources, each of which must be there and be of the run."""

import copy
import getpass
import json
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from carded import BASE, RULES, Sources, make_record, save_evaluations, save_record, save_sources
from saved_runs import ROWS, STANDARD, change_results, right, run_rule, write_data

from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_ext.runs import load_run
from proteinlm_hub import card_sources
from proteinlm_hub.front_matter import read_front_matter
from proteinlm_hub.metadata import check_card, check_eval_results
from proteinlm_hub.render import render, to_files, write_card

GOLDEN = Path(__file__).parent / "golden" / "model_card.md"
OURS, ANATOMY, VIROLOGY = "proteinlmbench", "mmlu_anatomy", "mmlu_virology"
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_evaluations(tmp_path_factory.mktemp("private-evaluations"))


@pytest.fixture
def sources(tmp_path: Path, evaluations: Path) -> Sources:
    return save_sources(tmp_path, evaluations)


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory, evaluations: Path) -> dict[str, Any]:
    return save_sources(tmp_path_factory.mktemp("private-card"), evaluations).collect()


def readme(card: dict[str, Any]) -> str:
    return to_files(card)["README.md"]


def read_tables(text: str) -> list[list[dict[str, str]]]:
    """Return all tables of a Markdown text, rows by column."""
    tables: list[list[dict[str, str]]] = []
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, _, *rows = ([c.strip() for c in line[1:-1].split("|")] for line in block.splitlines())
        tables.append([dict(zip(head, row, strict=True)) for row in rows])
    return tables


def find_table(text: str, *columns: str) -> list[dict[str, str]]:
    (found,) = [t for t in read_tables(text) if t and set(columns) <= set(t[0])]
    return found


def edit_record(sources: Sources, change: Change) -> None:
    record = make_record(sources.data)
    change(record)
    save_record(sources.run, record)


# --- what the card says -------------------------------------------------------------------------


def test_the_card_is_the_golden_one(
    card: dict[str, Any], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    card = copy.deepcopy(card)
    for (run,) in card["evaluation"]["runs"].values():  # what depends on the day and on versions
        run |= {"date": "2026-11-20", "transformers_version": "5", "lm_eval_version": "0.4"}
        for task in run["tasks"].values():
            task |= {"hash": "9" * 64, "results": {"results.json": "8" * 64}}
    text = readme(card)
    if request.config.getoption("--update-golden"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")
    assert len(re.findall(r"^```\w*$", text, re.MULTILINE)) == text.count("```") == 2 * 6


def test_scores_in_the_card_are_those_of_the_answers(card: dict[str, Any]) -> None:
    rows = {OURS: ROWS, ANATOMY: STANDARD[ANATOMY], VIROLOGY: STANDARD[VIROLOGY]}
    said = {
        (row["task"].split()[0], row["run"]): (row["score"], row["n"])
        for row in find_table(readme(card), "score", "longest", "chance")
        if row["metric"] == "acc"
    }
    expected = {
        (task, run): (f"{100 * sum(right(rule, found)) / len(found):.1f}", str(len(found)))
        for task, found in rows.items()
        for run, rule in RULES.items()
    }
    assert said == expected


def test_differences_are_of_the_answers_and_have_interval_and_test(card: dict[str, Any]) -> None:
    found = find_table(readme(card), "metric", "difference", "95% interval", "p", "p (Holm)")
    (tuned,) = [row for row in found if (row["task"], row["run"]) == (OURS, "tuned")]
    better = sum(right("longest")) - sum(right("shortest"))
    assert float(tuned["difference"]) == pytest.approx(100 * better / len(ROWS), abs=0.05)
    low, high = map(float, tuned["95% interval"].split(" to "))
    assert low < float(tuned["difference"]) < high
    assert float(tuned["p"]) <= float(tuned["p (Holm)"]) <= 1


def test_a_significant_loss_is_told_in_words_with_its_interval(
    sources: Sources, tmp_path: Path
) -> None:
    rows = [(f"Which is fold {n}?", ["a helix", "salt"], 1) for n in range(20)]
    data = write_data(tmp_path / "twenty.json", rows)
    runs = [f"{rule}={run_rule(tmp_path / rule, rule, data=data)}" for rule in ("shortest", "A")]
    text = readme(sources.collect(*runs))
    assert re.search(r"lower than shortest by 100.0 percentage points \(-100.0 to -\d\d.\d\)", text)
    assert "No standard benchmark was run" in text


def test_a_run_in_two_results_files_has_a_command_for_each(
    sources: Sources, tmp_path: Path
) -> None:
    for rule in ("shortest", "longest"):
        run_rule(tmp_path / rule, rule, data=write_data(tmp_path / "data.json"))
        metadata = ("--metadata", json.dumps({"data": str(write_data(tmp_path / "mine.json"))}))
        run_rule(tmp_path / rule, rule, *metadata, tasks="proteinlmbench_perm")
    card = sources.collect(*(f"{rule}={tmp_path / rule}" for rule in ("shortest", "longest")))
    commands = re.findall(
        r"^```\n(proteinlm eval .*?)\n```$", readme(card), re.MULTILINE | re.DOTALL
    )
    assert [
        re.findall(r"rule=(\w+)|--tasks ([\w,]+)|--metadata (.*)", said) for said in commands
    ] == [
        found
        for rule in ("longest", "shortest")
        for found in (
            [(rule, "", ""), ("", "proteinlmbench", "")],
            [
                (rule, "", ""),
                ("", "proteinlmbench_perm", ""),
                ("", "", '\'{"data": "mine.json"}\''),
            ],
        )
    ]
    assert str(tmp_path) not in readme(card)


def test_where_nothing_is_significant_no_change_is_claimed(card: dict[str, Any]) -> None:
    small = copy.deepcopy(card)
    small["evaluation"]["changes"] = []
    assert "No difference from `base` is significant at 5%" in readme(small)
    assert "Standard benchmarks, for what the training cost elsewhere: mmlu_anatomy" in readme(card)


def test_training_facts_are_those_of_the_record(card: dict[str, Any]) -> None:
    text = readme(card)
    for fact in (
        "| steps | 8 of 8, 0.5 epochs |",
        "| tokens | 617 read, 50 with loss |",
        "| training loss | 2.5 at step 1, 1.75 at step 8 |",
        "| validation loss | 3.125 before, 2.375 at step 8, best 2.25 at step 4 |",
        "| hardware | Abacus, 2 cores, no accelerator |",
        "| energy | not measured |\n| session 2 |",
        "| energy | 4 kJ |",
        "| throughput | 123 tokens a second |",
        "| Lamps | function | train | 2 | CC-BY-4.0 |",
        "searched for 944 questions",
        "3 with the words of a question",
        "no organism or keyword was left out",
    ):
        assert fact in text


def test_the_hub_takes_metadata_and_text(sources: Sources) -> None:
    write_card(sources.model, sources.collect(author="A. Lamp", languages=("en", "zh")))
    shutil.copy(sources.run / "loss.svg", sources.model)
    text = (sources.model / "README.md").read_text()
    assert check_card(text, sources.model, "model") == []
    front, _ = read_front_matter(text)
    assert front["library_name"] == "peft"
    assert (front["base_model"], front["base_model_relation"]) == (BASE, "adapter")
    assert (front["license"], front["language"]) == ("apache-2.0", ["en", "zh"])
    assert "model-index" not in front
    assert "author = {A. Lamp}" in text
    assert not (sources.model / ".eval_results").exists()


def test_scores_on_the_benchmark_of_the_hub_are_in_both_of_its_forms(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = load_run(sources.evaluations / "tuned")
    data = run.tasks[OURS].summary.provenance["sha256"]
    monkeypatch.setattr(card_sources, "HUB_SHA256", data)
    files = to_files(sources.collect())
    percent = 100 * sum(right("longest")) / len(ROWS)
    assert check_card(files["README.md"], None, "model") == []
    front, _ = read_front_matter(files["README.md"])
    (result,) = front["model-index"][0]["results"]
    assert result["dataset"]["type"] == "tsynbio/ProteinLMBench"
    assert result["metrics"][0]["value"] == pytest.approx(percent, abs=1e-4)
    assert "proteinlmbench acc, v" in result["metrics"][0]["name"]
    assert check_eval_results(files[".eval_results/proteinlm.yaml"]) == []
    (entry,) = yaml.safe_load(files[".eval_results/proteinlm.yaml"])
    assert entry["dataset"]["task_id"] == OURS
    assert entry["value"] == pytest.approx(percent, abs=1e-4)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", entry["date"])  # a text: unquoted it were a date
    assert "n 12, 95% interval" in entry["notes"]


def test_a_licence_that_asks_for_words_gets_them(sources: Sources) -> None:
    edit_record(sources, lambda record: record["base_model"].update(license="llama3.2"))
    files = to_files(sources.collect(repo="acme/Llama-lamps", base="meta-llama/Llama-3.2-1B"))
    assert "Built with Llama" in files["README.md"]
    assert check_card(files["README.md"], None, "model") == []


def test_no_question_path_host_user_or_row_id_is_in_the_card(
    card: dict[str, Any], evaluations: Path
) -> None:
    said = json.dumps(card, ensure_ascii=False) + "".join(to_files(card).values())
    private = {"private-", str(evaluations.parent), "function:P00001"}
    private |= {f"/{getpass.getuser()}/", socket.gethostname()}
    asked = {text for question, options, _ in ROWS for text in (question, *options)}
    private |= {text for text in asked if " " in text}
    assert len(private) > 30
    assert [text for text in private if text in said] == []


# --- what is missing ----------------------------------------------------------------------------


def places(value: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    """Yield where keys are; of a list the first item stands for all."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from places(inner, *path, key)
    elif isinstance(value, list) and value:
        yield from places(value[0], *path, 0)


def test_a_key_that_is_taken_away_is_named_and_never_left_blank(card: dict[str, Any]) -> None:
    whole = to_files(card)
    # Mappings that are shown as they are: an entry less is a shorter list.
    shown = ("settings", "versions", "files", "arguments", "inputs", "tasks", "removed", "invalid",
             "runs", "results")  # fmt: skip
    silent: list[tuple[Any, ...]] = []
    named: list[tuple[Any, str]] = []
    for *parents, key in places(card):
        inner = changed = copy.deepcopy(card)
        for parent in parents:
            inner = inner[parent]
        del inner[key]
        try:
            if to_files(changed) != whole and not set(shown) & {*parents}:
                silent.append((*parents, key))
        except ProteinLMError as error:
            named.append((key, str(error)))
    assert silent == []
    assert [found for found in named if str(found[0]) not in found[1]] == []
    assert len(named) > 120


@pytest.mark.parametrize("value", [None, float("nan"), "[More Information Needed]"])
def test_a_value_that_is_none_is_no_text(card: dict[str, Any], value: Any) -> None:
    with pytest.raises(ProteinLMError, match=r"model.md.j2: a source is missing: line \d+"):
        readme(card | {"generator": value} if value else card | {"repo": "a/b", "name": value})


def test_a_name_that_the_template_needs_is_named() -> None:
    with pytest.raises(ProteinLMError, match="'run' is undefined"):
        render("model.md.j2", {})


def test_rows_of_ones_own_have_the_licence_that_is_said(sources: Sources) -> None:
    edit_record(sources, lambda r: r["data"]["sources"][0]["files"][0].update(sha256="f" * 64))
    card = sources.collect(data_license="CC0-1.0")
    assert card["licences"]["f" * 64] == ["CC0-1.0"]
    assert set(map(tuple, card["licences"].values())) == {("CC0-1.0",), ("CC-BY-4.0",)}


RECORD_KEYS = (
    "artefacts", "base_model", "code", "data", "decontamination", "epochs", "hardware", "losses",
    "name", "packing", "recipe", "sessions", "split", "steps", "tokens", "versions",
)  # fmt: skip


@pytest.mark.parametrize("key", RECORD_KEYS)
def test_a_record_without_a_section_is_refused(sources: Sources, key: str) -> None:
    edit_record(sources, lambda record: record.pop(key))
    with pytest.raises(ProteinLMError, match=rf"training_run.json lacks '{key}'"):
        sources.collect()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: (s.run / "training_run.json").unlink(), "status None, not 'finished'"),
        (lambda s: edit_record(s, lambda r: r.update(status="stopped")), "'stopped', not"),
        (lambda s: (s.run / "loss.svg").unlink(), "loss.svg is missing"),
        (lambda s: (s.run / "loss.svg").write_text("<svg/>"), "loss.svg is missing, or not"),
        (lambda s: (s.run / "log.jsonl").write_text("{}"), "log.jsonl is missing, or not"),
        (lambda s: (s.model / "adapter_model.safetensors").write_bytes(b"x"), "not of this run"),
        (lambda s: (s.model / "more.bin").write_bytes(b"x"), "more.bin is not of this run"),
        (lambda s: (s.model / "adapter_model.safetensors").unlink(), "holds no weights"),
        (lambda s: edit_record(s, lambda r: r["base_model"].update(license=None)), "the licence"),
        (lambda s: edit_record(s, lambda r: r["base_model"].update(name="final")), "--base OWNER"),
        (
            lambda s: edit_record(
                s, lambda r: r["data"]["sources"][0]["files"][0].update(sha256="f" * 64)
            ),
            "No dataset of --data has train-00000-of-00001.parquet of Lamps ",
        ),
        (lambda s: (s.data / "manifest.json").unlink(), "manifest.json"),
        (lambda s: shutil.rmtree(s.model), "model holds no weights"),
    ],
)
def test_a_source_that_is_missing_or_of_another_run_is_refused(
    sources: Sources, spoil: Callable[[Sources], Any], message: str
) -> None:
    spoil(sources)
    with pytest.raises(ProteinLMError, match=re.escape(message)):
        sources.collect()


def test_weights_of_an_export_that_the_record_notes_are_taken(sources: Sources) -> None:
    (sources.model / "adapter_model.safetensors").rename(sources.model / "model.safetensors")
    (sources.model / "adapter_config.json").unlink()
    record = make_record(sources.data)
    weights = record["artefacts"].pop("final/adapter_model.safetensors")
    record["exports"] = {"merged": {"files": {"model.safetensors": weights}}}
    save_record(sources.run, record)
    text = readme(sources.collect())
    front, _ = read_front_matter(text)
    assert (front["library_name"], front["base_model_relation"]) == ("transformers", "finetune")
    assert "AutoModelForCausalLM as AutoModel" in text


def test_rows_of_this_package_and_of_the_hub_need_no_dataset(sources: Sources) -> None:
    def rename(record: dict[str, Any]) -> None:
        (source,) = record["data"]["sources"]
        strange = [file | {"sha256": "f" * 64} for file in source["files"]]
        record["data"]["sources"] = [
            source | {"path": name, "files": strange} for name in ("acme/texts",)
        ]

    edit_record(sources, rename)
    text = readme(sources.collect())
    assert "| acme/texts | function | train | 2 | see its card |" in text
    assert read_front_matter(text)[0]["datasets"] == ["acme/texts"]


def test_a_limited_run_is_refused(sources: Sources, tmp_path: Path) -> None:
    limited = run_rule(tmp_path / "limited", "A", "--limit", "3")
    with pytest.raises(UsageError, match="--limit"):
        sources.collect(*sources.results("base"), f"tuned={limited}")


def test_a_baseline_alone_is_no_evaluation(sources: Sources) -> None:
    with pytest.raises(UsageError, match="base=DIR tuned=DIR"):
        sources.collect(*sources.results("base"))
    with pytest.raises(UsageError, match="base=DIR tuned=DIR"):
        sources.collect(subject="nobody")


def test_the_weights_that_were_evaluated_are_compared_where_they_still_are(
    sources: Sources, tmp_path: Path
) -> None:
    tuned = Path(shutil.copytree(sources.evaluations / "tuned", tmp_path / "tuned"))
    results = [*sources.results("base"), f"tuned={tuned}"]
    assert "were not there any more" in readme(sources.collect(*results))

    def evaluated(folder: Path) -> None:
        change_results(
            tuned, lambda said: said["config"].update(model_args=f"pretrained={folder},dtype=auto")
        )

    evaluated(sources.model)
    text = readme(sources.collect(*results))
    assert "evaluated as `tuned` had the sha256 of files of this run" in text
    assert "--model_args dtype=auto,pretrained=model " in text
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.safetensors").write_bytes(b"of another model")
    evaluated(other)
    with pytest.raises(ProteinLMError, match=r"other/model.safetensors is not of this run"):
        sources.collect(*results)


def test_the_snippet_runs(
    card: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from trained import save_chat_model

    folder = save_chat_model(tmp_path / "whole")
    text = readme(card | {"relation": "finetune", "repo": str(folder)})
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(snippet.replace("=100", "=3"), "snippet", "exec"), {})  # noqa: S102
    assert capsys.readouterr().out
