"""The tasks over a built dataset: their YAML, prompts and losses as in training, whole runs."""

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lm_eval
import pickers
import pytest
import tiny_models
from annotation_rows import ENZYMES, TEXTS, protein_row, write_all
from conftest import ROOT
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

from proteinlm_ext.catalog import list_tasks
from proteinlm_ext.cli import main
from proteinlm_ext.comparison import compare
from proteinlm_ext.neighbours import Neighbour
from proteinlm_ext.paths import tasks_dir
from proteinlm_ext.runs import load_run
from proteinlm_ext.summary import summarise
from proteinlm_ext.summary_text import to_table
from proteinlm_sft.templates import prompt_completion

FOLDER = ROOT / "tasks" / "proteinlm_sft"
CONFIGS = [*TEXTS, "enzyme_cot"]
ANSWERS = [f"proteinlm_sft_{config}" for config in CONFIGS]
LOSSES = [f"{name}_loss" for name in ANSWERS]
TEXT = {"rougeL", "bleu", "has_opening", "empty_rate"}
LOSS = {"nats_per_byte", "row_nats_per_byte"}
METRICS = {name: TEXT if name in ANSWERS else LOSS for name in [*ANSWERS, *LOSSES]} | {
    "proteinlm_sft_disease": TEXT | {"term_f1"},
    "proteinlm_sft_tissue_specificity": TEXT | {"term_f1"},
    "proteinlm_sft_enzyme_cot": TEXT | {"ec1", "ec2", "ec3", "ec4", "ec_invalid"},
}
NEAR = Neighbour(id="function:Q00000", accession="Q00000", identity=0.95, coverage=1.0)
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

pytestmark = pytest.mark.usefixtures("one_thread", "near")


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one row have a neighbour, without a search."""
    monkeypatch.setattr("proteinlm_ext.neighbours.nearest", lambda *_: {"function:P00001": NEAR})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model whose tokenizer has a chat template."""
    folder = tmp_path_factory.mktemp("model")
    vocabulary = tiny_models.VOCABULARY + 2
    tiny_models.save_model(folder, "llama", vocab_size=vocabulary, max_position_embeddings=2048)
    marks = ["<|im_start|>", "<|im_end|>"]
    tiny_models.save_tokenizer(folder, chat_template=CHATML, additional_special_tokens=marks)
    return folder


def manager(dataset: Path, **metadata: Any) -> TaskManager:
    metadata = {"sft_data": str(dataset)} | metadata
    return TaskManager(include_path=tasks_dir(), include_defaults=False, metadata=metadata)


def load(dataset: Path, name: str, **metadata: Any) -> Any:
    return manager(dataset, **metadata).load([name])["tasks"][name]


# --- the YAML -----------------------------------------------------------------------------------


def test_every_config_has_a_task_for_answers_and_one_for_loss() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == sorted([*ANSWERS, *LOSSES])
    listed = {task.name: task for task in list_tasks() if task.name.startswith("proteinlm_sft")}
    assert {name: task.tag for name, task in listed.items()} == (
        dict.fromkeys(ANSWERS, "proteinlm_sft, proteinlm_sft_answers")
        | dict.fromkeys(LOSSES, "proteinlm_sft, proteinlm_sft_loss")
    )


def test_the_tags_name_the_tasks(dataset: Path) -> None:
    found = manager(dataset)
    for tag, names in (("", [*ANSWERS, *LOSSES]), ("_answers", ANSWERS), ("_loss", LOSSES)):
        (members,) = (found.load([f"proteinlm_sft{tag}"])["tasks"],)
        assert set(members) == set(names)


@pytest.mark.parametrize("name", [*ANSWERS, *LOSSES])
def test_a_task_holds_the_rows_of_its_config_and_has_the_documented_metrics(
    name: str, dataset: Path
) -> None:
    task = load(dataset, name)
    config = name.removeprefix("proteinlm_sft_").removesuffix("_loss")
    assert {doc["config"] for doc in task.eval_docs} == {config}
    assert set(task.aggregation()) == set(task.higher_is_better()) == METRICS[name]
    doc = task.eval_docs[0]
    results = [(-3.0, False)] if name in LOSSES else [doc["output"]]
    assert set(task.process_results(doc, results)) == METRICS[name]
    assert task.fewshot_context(doc, num_fewshot=0) == doc["prompt"]
    assert task.doc_to_target(doc) == doc["output"]
    assert task.get_config("num_fewshot") == 0


@pytest.mark.parametrize("name", ANSWERS)
def test_generation_stops_at_the_end_of_text_and_nowhere_else(name: str, dataset: Path) -> None:
    options = load(dataset, name).config.generation_kwargs
    assert options["until"] == ["<|endoftext|>"]
    assert (options["do_sample"], options["temperature"]) == (False, 0.0)
    assert options["max_gen_toks"] == (1024 if name.endswith("disease") else 512)


def test_a_yaml_names_only_functions_of_the_package() -> None:
    texts = [path.read_text() for path in FOLDER.iterdir() if path.suffix != ".md"]
    named = re.findall(r"!function (\S+)", "".join(texts))
    assert named
    assert all(name.startswith("proteinlm_ext.") for name in named)
    assert not list(FOLDER.glob("*.py"))


def test_every_version_has_a_line_in_the_changelog_of_the_tasks() -> None:
    changelog = (FOLDER / "README.md").read_text().partition("## Changelog")[2]
    for task in list_tasks():
        if task.name.startswith("proteinlm_sft"):
            assert re.search(rf"`{task.name}` .*{re.escape(task.version)}", changelog)


# --- prompts as in training ---------------------------------------------------------------------


@pytest.mark.parametrize("residues", ["spaced", "joined"])
def test_with_the_chat_template_prompt_and_target_are_the_tokens_of_training(
    residues: str, dataset: Path, chat_model: Path
) -> None:
    from lm_eval.models.huggingface import HFLM

    model: Any = HFLM(pretrained=str(chat_model), device="cpu")
    tokenizer = model.tokenizer
    task = load(dataset, "proteinlm_sft_function_loss", residues=residues)
    row = protein_row("function", "P00000", TEXTS["function"] + " ")
    if residues == "joined":
        row["input"] = re.sub(
            "<seq> (.*) </seq>", lambda m: f"<seq> {m[1].replace(' ', '')} </seq>", row["input"]
        )
    parts = prompt_completion(row)
    prompt = tokenizer.apply_chat_template(
        parts["prompt"], tokenize=False, add_generation_prompt=True
    )
    doc = task.eval_docs[0]
    context = task.fewshot_context(
        doc, 0, apply_chat_template=True, fewshot_as_multiturn=True,
        chat_template=model.apply_chat_template,
    )  # fmt: skip
    assert context == prompt
    before, target = model._encode_pair(context, task.doc_to_target(doc))
    whole = tokenizer.apply_chat_template(
        [*parts["prompt"], *parts["completion"]], return_dict=False
    )
    last = max(
        place for place, token in enumerate(whole)
        if token == tokenizer.convert_tokens_to_ids("<|im_end|>")
    )  # fmt: skip
    assert before + target == whole[:last]
    assert tokenizer.decode(target) == "\n" + doc["output"]  # the break ends the chat prompt


@pytest.mark.parametrize(
    ("model", "template", "warned"), [("hf", False, 1), ("hf", True, 0), ("retrieval", False, 0)]
)
def test_a_forgotten_chat_template_is_said_once(
    model: str, template: bool, warned: int, dataset: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from lm_eval.config.evaluate_config import EvaluatorConfig

    from proteinlm_ext.request import check_request

    names = ["proteinlm_sft_function", "proteinlm_sft_ptm"]
    tasks = manager(dataset).load(names)["tasks"]
    config = EvaluatorConfig(model=model, tasks=names, apply_chat_template=template)
    with caplog.at_level(logging.WARNING, "proteinlm_ext"):
        check_request(config, tasks)
    assert caplog.text.count("trained on these rows as chats") == warned


# --- runs ---------------------------------------------------------------------------------------


def test_without_data_the_command_names_the_flag(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["eval", "--model", "retrieval", "--tasks", "proteinlm_sft_function"]
    assert main(command) == 2
    message = capsys.readouterr().err
    assert '--metadata \'{"sft_data": "DIR"}\'' in message
    assert "Traceback" not in message


def test_a_chat_api_is_pointed_to_the_tasks_that_it_can_run(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = json.dumps({"sft_data": str(dataset)})
    command = ["eval", "--model", "local-chat-completions", "--metadata", data]
    assert main([*command, "--tasks", "proteinlm_sft_ptm_loss", "--apply_chat_template"]) == 2
    assert "--tasks proteinlm_sft_answers" in capsys.readouterr().err


def test_a_model_runs_through_the_command(
    dataset: Path, chat_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "eval", "--model", "hf", "--model_args", f"pretrained={chat_model},dtype=float32",
        "--tasks", "proteinlm_sft_function,proteinlm_sft_enzyme_cot,proteinlm_sft_enzyme_cot_loss",
        "--metadata", json.dumps({"sft_data": str(dataset)}), "--apply_chat_template",
        "--gen_kwargs", "max_gen_toks=4", "--batch_size", "1", "--device", "cpu",
        "--output_path", str(tmp_path), "--json",
    ]  # fmt: skip
    assert main(command) == 0
    printed = json.loads(capsys.readouterr().out)
    tasks = printed["tasks"]
    assert {name: task["num_questions"] for name, task in tasks.items()} == dict.fromkeys(tasks, 3)
    loss, row_loss = tasks["proteinlm_sft_enzyme_cot_loss"]["scores"]
    assert loss["interval"]["low"] <= loss["value"] <= loss["interval"]["high"]
    assert row_loss["value"] > 0
    assert tasks["proteinlm_sft_function"]["num_hits"] == 1
    bins = tasks["proteinlm_sft_function"]["identity"]["rougeL,none"]
    assert [part["num_rows"] for part in bins] == [2, 0, 0, 0, 1]
    results = json.loads(Path(printed["results_file"]).read_text())
    # The results file of lm-eval has the same values as our summary.
    aggregated = results["results"]["proteinlm_sft_enzyme_cot_loss"]
    assert aggregated["nats_per_byte,none"] == pytest.approx(loss["value"])
    assert aggregated["row_nats_per_byte,none"] == pytest.approx(row_loss["value"])
    provenance = results["configs"]["proteinlm_sft_function"]["metadata"]["provenance"]
    assert provenance["source"] == "lamps/function/test"


def evaluate(
    dataset: Path, output: Path, write: Callable[[dict[str, Any]], str], *names: str
) -> dict[str, Any]:
    """Let a picker write the answers, save the run, and return it with its samples."""
    results: Any = lm_eval.simple_evaluate(
        model=pickers.Picker(lambda _: 0, write), tasks=[*names], task_manager=manager(dataset)
    )
    tracker = EvaluationTracker(output_path=str(output))
    tracker.general_config_tracker.model_name_sanitized = "picker"
    saved = {key: value for key, value in results.items() if key != "samples"}
    tracker.save_results_aggregated(results=saved, samples=results["samples"])
    for name in names:
        tracker.save_results_samples(task_name=name, samples=results["samples"][name])
    return results


def test_right_outputs_have_full_marks_in_the_summary_and_the_table(
    dataset: Path, tmp_path: Path
) -> None:
    results = evaluate(dataset, tmp_path, lambda doc: doc["output"], *ANSWERS, *LOSSES)
    summaries = summarise(results, results["samples"])
    for summary in summaries:
        values = {score.metric: score.value for score in summary.scores}
        assert set(values) == METRICS[summary.task]
        if summary.task in LOSSES:
            assert values == pytest.approx({"nats_per_byte": 1, "row_nats_per_byte": 1})
            continue
        assert values.pop("bleu") == pytest.approx(100)
        assert values.pop("empty_rate") == values.pop("ec_invalid", 0) == 0
        assert set(values.values()) == {1.0}
    lines = to_table(summaries).splitlines()
    (row,) = (line.split() for line in lines if line.startswith("proteinlm_sft_enzyme_cot v1.0 ")
              and " ec4 " in line)  # fmt: skip
    assert row[3:5] == ["3", "100.0"]
    assert row[8:10] == ["-", "-"]  # neither chance nor the longest option
    near = [line.split() for line in lines if line.startswith("proteinlm_sft_function rougeL")]
    assert [row[2:5] for row in near] == [["no", "hit", "2"], [">=90%", "1", "100.0"]]
    assert "proteinlm_sft_function: 1 of 3 rows have a similar training protein (MMseqs2)" in lines
    assert not any("proteinlm_sft_function has_opening" in line for line in lines)


def test_the_interval_of_an_enzymes_score_counts_proteins(dataset: Path, tmp_path: Path) -> None:
    name = "proteinlm_sft_enzyme_cot"
    results = evaluate(dataset, tmp_path, lambda _: ENZYMES[0]["output"], name)
    (summary,) = summarise(results, results["samples"])
    scores = {score.metric: score for score in summary.scores}
    assert scores["ec4"].value == pytest.approx(2 / 3)
    assert scores["ec4"].interval is not None
    assert scores["ec4"].interval.method == "bootstrap over proteins"
    assert scores["ec3"].value == 1.0


def test_runs_are_compared_row_by_row_whether_or_not_neighbours_were_known(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "proteinlm_sft_function"
    evaluate(dataset, tmp_path / "right", lambda doc: doc["output"], name)
    monkeypatch.setattr("proteinlm_ext.neighbours.nearest", lambda *_: {})
    evaluate(dataset, tmp_path / "wrong", lambda _: "The moon.", name)
    runs = [load_run(tmp_path / rule, rule) for rule in ("wrong", "right")]
    found = {contrast.metric: contrast for contrast in compare(runs).contrasts}
    difference = found["rougeL"].difference
    assert difference is not None
    assert difference.num_questions == 3
    assert difference.value > 0.7
    assert found["bleu"].difference is None
    assert "cannot be paired" in found["bleu"].note
    # What is read back from the files is what the run itself said.
    assert [score.metric for score in runs[1].tasks[name].summary.scores] == [
        "rougeL", "bleu", "has_opening", "empty_rate",
    ]  # fmt: skip
    assert runs[1].tasks[name].summary.num_hits == 1
