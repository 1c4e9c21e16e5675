"""Card metadata is judged offline: what is right passes, each fault gets one clear message."""

import copy
import json
import math
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from proteinlm_ext.errors import ProteinLMError
from proteinlm_hub import metadata_types
from proteinlm_hub.front_matter import load_yaml
from proteinlm_hub.metadata import (
    check_card,
    check_eval_results,
    check_eval_yaml,
    check_repo_name,
    require_valid,
)

HUB_PACKAGES = Path(__file__).parent / "hub"
GONE = object()
TEXT = "\n# Ours\n\nSee [the paper](https://arxiv.org/abs/2406.05540).\n"
RESULT = {
    "task": {"type": "text-generation"},
    "dataset": {
        "type": "acme/bench",
        "name": "Bench",
        "config": "evaluation",
        "split": "test",
        "revision": "0" * 40,
    },
    "metrics": [{"type": "accuracy", "name": "accuracy, 0-shot", "value": 41.5}],
    "source": {"url": "https://example.org/logs", "name": "logs"},
}
ADAPTER = {
    "language": ["en"],
    "license": "apache-2.0",
    "library_name": "peft",
    "pipeline_tag": "text-generation",
    "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "base_model_relation": "adapter",
    "datasets": ["acme/proteins"],
    "tags": ["protein", "lora"],
    "metrics": ["accuracy"],
    "model-index": [{"name": "ours", "results": [RESULT]}],
    "proteinlm": {"version": "0.1.0", "steps": 50},
}
MERGED = ADAPTER | {
    "library_name": "transformers",
    "base_model_relation": "finetune",
    "co2_eq_emissions": {"emissions": 12.5, "source": "NVML"},
}
DATASET = {
    "language": ["en", "zh"],
    "license": "cc-by-4.0",
    "pretty_name": "Protein text",
    "size_categories": ["n<1K"],
    "task_categories": ["question-answering"],
    "tags": ["protein"],
    "configs": [
        {
            "config_name": "function",
            "data_files": [
                {"split": "train", "path": "function/train-*.parquet"},
                {"split": "test", "path": ["function/test-*.parquet"]},
            ],
            "default": True,
        },
        {"config_name": "disease", "data_files": [{"split": "train", "path": "disease/*.parquet"}]},
    ],
    "dataset_info": [
        {
            "config_name": "function",
            "features": [
                {"name": "question", "dtype": "string"},
                {"name": "options", "list": "string"},
                {"name": "answer_index", "dtype": "int64"},
            ],
            "splits": [
                {"name": "train", "num_examples": 3, "num_bytes": 99},
                {"name": "test", "num_examples": 2},
            ],
        }
    ],
}
EVAL_RESULTS = [
    {
        "dataset": {"id": "acme/bench", "task_id": "bench", "revision": "a" * 40},
        "value": 41.5,
        "date": "2026-11-20T08:00:00Z",
        "source": {"url": "https://huggingface.co/acme/model", "name": "card", "org": "acme"},
        "notes": "0-shot, n = 944",
    },
    {"dataset": {"id": "acme/bench", "task_id": "bench_gen"}, "value": 30},
]
EVAL_YAML = {
    "name": "Bench",
    "description": "Accuracy in percent.",
    "evaluation_framework": "inspect-ai",
    "tasks": [
        {
            "id": "bench",
            "config": "function",
            "split": "test",
            "field_spec": {"input": "question", "target": "answer_index", "choices": "options"},
            "solvers": [{"name": "multiple_choice"}],
            "scorers": [{"name": "choice"}],
        }
    ],
}


def card(front: Any, text: str = TEXT) -> str:
    return f"---\n{dump(front)}---\n{text}"


def dump(data: Any) -> str:
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def changed(data: Any, place: str, value: Any) -> Any:
    """Return a copy in which the place, such as `a.0.b`, holds the value or is gone."""
    data = copy.deepcopy(data)
    *parents, last = [int(part) if part.isdigit() else part for part in place.split(".")]
    inner = data
    for part in parents:
        inner = inner[part]
    if value is GONE:
        del inner[last]
    else:
        inner[last] = value
    return data


def write_rows(file: Path, rows: int, answer: Any = 1) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    columns = {"question": ["q"] * rows, "options": [["x", "y"]] * rows}
    pq.write_table(pa.table(columns | {"answer_index": [answer] * rows}), file)


def write_dataset(folder: Path) -> Path:
    write_rows(folder / "function/train-00000-of-00001.parquet", 3)
    write_rows(folder / "function/test-00000-of-00001.parquet", 2)
    write_rows(folder / "disease/train-00000-of-00001.parquet", 4)
    (folder / "manifest.json").write_text("{}")
    (folder / "README.md").write_text(card(DATASET))
    (folder / "eval.yaml").write_text(dump(EVAL_YAML))
    return folder


def write_adapter(folder: Path, base: str = ADAPTER["base_model"]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text("{}")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    (folder / "README.md").write_text(card(ADAPTER | {"base_model": base}))
    (folder / ".eval_results").mkdir(exist_ok=True)
    (folder / ".eval_results/proteinlm.yaml").write_text(dump(EVAL_RESULTS))
    return folder


def only(faults: list[str]) -> str:
    assert len(faults) == 1, faults
    return faults[0]


@pytest.mark.parametrize(
    ("front", "kind"),
    [
        (ADAPTER, "model"),
        (MERGED, "model"),
        (ADAPTER, "card"),
        (DATASET, "dataset"),
        (DATASET, "overlay"),
        (DATASET, "card"),
        (changed(DATASET, "configs", GONE) | {"dataset_info": []}, "benchmark"),
        (ADAPTER | {"base_model": ["acme/one", "acme/two"]}, "model"),
        (
            ADAPTER
            | {
                "license": "other",
                "license_name": "acme-1.0",
                "license_link": "https://example.org/l",
            },
            "model",
        ),
    ],
)
def test_a_right_card_has_no_fault(front: dict[str, Any], kind: str) -> None:
    assert check_card(card(front), None, kind) == []


MODEL_FAULTS: list[tuple[str, Any, str]] = [
    ("language", ["english"], "language[0]: 'english' is no code of a language"),
    ("language", ["xq"], "'xq' is no code of a language"),
    ("language", [False], "language[0]: input should be a valid string, not False"),
    ("language", [], "language: value should have at least 1 item"),
    ("language", GONE, "language is missing"),
    ("license", "apache2", "'apache2' is no licence that the Hub knows; near it: apache-2.0"),
    ("license", "Apache-2.0", "'Apache-2.0' is no licence"),
    ("license", GONE, "license is missing"),
    ("license", "other", "license_name and license_link have to say which"),
    ("license_name", "ours", "license_name and license_link go with 'other'"),
    ("base_model", None, "base_model is None; leave the key out"),
    ("base_model", "None", "base_model is 'None'"),
    ("base_model", [], "base_model: value should have at least 1 item"),
    ("base_model", "/home/me/SmolLM2", "base_model[0]: '/home/me/SmolLM2' is no OWNER/NAME"),
    ("base_model", "./out/final", "'./out/final' is no OWNER/NAME"),
    ("base_model", "../models/final", "'../models/final' is no OWNER/NAME"),
    ("base_model", "~/models", "'~/models' is no OWNER/NAME"),
    ("base_model", "C:\\models\\final", "is no OWNER/NAME"),
    ("base_model", "SmolLM2-135M", "'SmolLM2-135M' is no OWNER/NAME"),
    ("base_model_relation", "lora", "base_model_relation: input should be 'adapter', 'merge'"),
    ("base_model_relation", "finetune", "library_name 'peft' and base_model_relation"),
    ("base_model_relation", GONE, "base_model_relation is missing"),
    ("datasets", [None], "datasets[0] is None"),
    ("datasets", ["data/train.jsonl/x"], "'data/train.jsonl/x' is no OWNER/NAME"),
    ("datasets", "acme/proteins", "datasets: input should be a valid list"),
    ("library_name", "pefft", "'pefft' is no library that the Hub knows; near it: peft"),
    ("library_name", "transformers", "library_name 'transformers' and base_model_relation"),
    ("library_name", GONE, "library_name is missing"),
    ("pipeline_tag", "text2text", "'text2text' is no pipeline tag"),
    ("pipeline_tag", ["text-generation"], "pipeline_tag: input should be a valid string"),
    ("tags", ["protein", 7], "tags[1]: input should be a valid string, not 7"),
    ("tags", ["protein", ""], "tags[1]: '' is no name"),
    ("tags", "protein", "tags: input should be a valid list"),
    ("licence", "mit", "licence is an unknown key; in a card, keys of our own go under"),
    ("trained_on", "h100", "trained_on is an unknown key"),
    ("proteinlm", ["steps"], "proteinlm: input should be a valid dictionary"),
    ("proteinlm.steps", math.nan, "proteinlm.steps is nan, which is no number"),
    ("proteinlm.loss", None, "proteinlm.loss is None"),
    ("co2_eq_emissions", {"emissions": -1, "source": "NVML"}, "greater than or equal to 0"),
    ("model-index", [], "model-index: list should have at least 1 item"),
    ("model-index.0.results", [], "model-index[0].results: list should have at least 1 item"),
    ("model-index.0.results.0.metrics", [], "metrics: list should have at least 1 item"),
    ("model-index.0.results.0.dataset.config", None, "dataset.config is None; leave the key out"),
    ("model-index.0.results.0.dataset.config", 5, "config: input should be a valid string"),
    ("model-index.0.results.0.dataset.type", "data/b.json/x", "dataset.type: 'data/b.json/x' is"),
    ("model-index.0.results.0.dataset.name", GONE, "dataset.name is missing"),
    ("model-index.0.results.0.task.type", "quiz", "task.type: 'quiz' is no pipeline tag"),
    ("model-index.0.results.0.metrics.0.value", "41.5", "value: input should be a valid number"),
    ("model-index.0.results.0.metrics.0.value", True, "value: input should be a valid number"),
    ("model-index.0.results.0.metrics.0.value", math.inf, "value is inf, which is no number"),
    ("model-index.0.results.0.metrics.0.stderr", 1.5, "metrics[0].stderr is an unknown key"),
    ("model-index.0.results.0.source.url", "http://a.b/c", "'http://a.b/c' is no https link"),
    ("model-index.0.results.0.source.org", "acme", "model-index does not come back the same"),
]


@pytest.mark.parametrize(("place", "value", "message"), MODEL_FAULTS)
def test_a_fault_in_a_models_front_matter_gets_one_message(
    place: str, value: Any, message: str
) -> None:
    fault = only(check_card(card(changed(ADAPTER, place, value)), None, "model"))
    assert fault.startswith("README.md: ")
    assert message in fault


DATASET_FAULTS: list[tuple[str, Any, str]] = [
    ("configs", GONE, "configs is missing"),
    ("configs.0.config_name", "data", "'data' is a name that datasets' push_to_hub refuses"),
    ("configs.0.config_name", "a/b", "'a/b' is no name of a configuration"),
    ("configs.0.config_name", GONE, "configs[0].config_name is missing"),
    ("configs.1.config_name", "function", "configuration 'function' is there 2 times"),
    ("configs.1.default", True, "default: True is there 2 times"),
    ("configs.0.data_files", "function/*", "data_files: input should be a valid list"),
    ("configs.0.data_files.0.split", "train-1", "'train-1' is no name of a split"),
    ("configs.0.data_files.0.split", "all", "'all' is no name of a split"),
    ("configs.0.data_files.1.split", "train", "split 'train' is there 2 times"),
    ("configs.0.data_files.0.path", "../x.parquet", "'../x.parquet' leads out of the repository"),
    ("configs.0.data_files.0.path", [""], "'' is no pattern of files"),
    ("configs.0.data_files.0.path", "a**.parquet", "'a**.parquet' is no pattern of files"),
    ("configs.0.data_files.0.path", "/x.parquet", "'/x.parquet' leads out of the repository"),
    ("size_categories", ["small"], "'small' is no size_categories of the Hub"),
    ("task_categories", ["quiz"], "task_categories[0]: 'quiz' is no pipeline tag"),
    ("dataset_info.0.splits.0.num_examples", -1, "greater than or equal to 0"),
    ("dataset_info.0.splits.0.num_examples", "3", "num_examples: input should be a valid integer"),
    ("library_name", "peft", "library_name is an unknown key"),
]


@pytest.mark.parametrize(("place", "value", "message"), DATASET_FAULTS)
def test_a_fault_in_a_datasets_front_matter_gets_one_message(
    place: str, value: Any, message: str
) -> None:
    assert message in only(check_card(card(changed(DATASET, place, value)), None, "dataset"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# A card\n", "does not begin with a block of YAML"),
        ("\ufeff---\nlicense: mit\n---\n", "does not begin with a block of YAML"),
        ("---\n- mit\n---\n", "the front matter is no mapping"),
        ("---\n\n---\n", "the text is None"),
        ("---\nlicense: [mit\n---\n", "expected ',' or ']'"),
        ("---\nlicense: mit\nlicense: apache-2.0\n---\n", "the key 'license' is there twice"),
        ("---\na:\n  b: 1\n  b: 2\n---\n", "the key 'b' is there twice"),
        (
            "---\nx: !!python/object/apply:numpy.float64 [1]\n---\n",
            "could not determine a constructor",
        ),
        ("---\ndate: 2026-02-30\n---\n", "day is out of range"),
        ("---\ndate: 2026-02-03\n---\n", "date is a date to YAML; put '2026-02-03' in quotes"),
        ("---\n1: x\n---\n", "the key 1 is no text"),
        ("---\n? [a]\n: b\n---\n", "found unhashable key"),
        ("---\nx: &x [*x]\n---\n", "maximum recursion depth"),
        ("---\nx: !!set {a}\n---\n", "of the YAML type set"),
    ],
)
def test_yaml_that_the_hub_refuses_gets_one_message(text: str, message: str) -> None:
    assert message in only(check_card(text, None, "model"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[More Information Needed]", "is a place of a template that was not filled"),
        ("More information needed.", "is a place of a template that was not filled"),
        ("Trained for {{ steps }} steps.", "'{{' is a piece of a Jinja template"),
        ("{% if x %}", "'{%' is a piece of a Jinja template"),
        ("```\n{{ steps }}\n```", "'{{' is a piece of a Jinja template"),
        ("| Energy | None |", "'None' is the value None"),
        ("Seed: None.", "'None' is the value None"),
        ("Loss nan after", "'nan' is the value NaN"),
        ("[x](http://example.org)", "'http://example.org)' is a link without encryption"),
        ("[x](ftp://example.org/x)", "neither https nor a file"),
        ("[x](file:///etc/passwd)", "neither https nor a file"),
        ("[x](//example.org)", "neither https nor a file"),
        ("[x]()", "the link '' is neither"),
        ("[x](/data/x.json)", "leads out of the repository"),
        ("[x](a/../../x.json)", "leads out of the repository"),
        ("![loss](loss.svg)", "the link 'loss.svg' leads to a file that is not there"),
        (
            "[![badge](badge.svg)](https://example.org)",
            "the link 'badge.svg' leads to a file that is",
        ),
        ('<img width="9" src="loss.svg">', "the link 'loss.svg' leads to a file that is not there"),
        ("[note]: /x\n", "leads out of the repository"),
    ],
)
def test_a_fault_in_the_text_is_named_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    written = card(ADAPTER, f"\n# Ours\n\n{text}\n")
    line = written.splitlines().index("# Ours") + 3 + text.startswith("```")
    fault = only(check_card(written, tmp_path, "model"))
    assert message in fault
    assert fault.startswith(f"README.md:{line}: ")


@pytest.mark.parametrize(
    "text",
    [
        "None of the rows were dropped.",
        "`None` and\n\n```python\nx = None  # [x](missing.svg)\n```\n",
        '- a list\n  ```json\n  {"x": NaN}\n  ```\n',
        "```bibtex\n@article{a, title = {{A Title}}}\n```",
        "[part](#part), [site](https://example.org/a_(b)), [^1]\n\n[^1]: A footnote.",
        "nanobodies, banana, None-the-less",
        "![loss](pictures/loss%20curve.svg?raw=true#top)",
    ],
)
def test_a_right_text_has_no_fault(tmp_path: Path, text: str) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/loss curve.svg").touch()
    assert check_card(card(ADAPTER, f"\n{text}\n"), tmp_path, "model") == []


def test_a_linked_file_is_looked_for_only_where_all_files_are(tmp_path: Path) -> None:
    write_adapter(tmp_path)
    written = card(ADAPTER, "[recipe](recipe.yaml)\n")
    assert "'recipe.yaml' leads to a file" in only(check_card(written, tmp_path, "model"))
    (tmp_path / "manifest.json").unlink()
    assert check_card(written, tmp_path, "model") == []


@pytest.mark.parametrize(("write", "kind"), [(write_dataset, "dataset"), (write_adapter, "model")])
def test_a_right_folder_is_valid(tmp_path: Path, write: Any, kind: str) -> None:
    require_valid(write(tmp_path), kind)


def test_a_card_alone_needs_no_data_files(tmp_path: Path) -> None:
    assert check_card(card(DATASET), tmp_path, "dataset") == []


DATA_FAULTS: list[tuple[str, Any, str]] = [
    ("configs.1.data_files.0.path", "disease/x*.parquet", "'disease/x*.parquet' matches no file"),
    (
        "configs.0.data_files.1.path",
        "function/*.parquet",
        "train-00000-of-00001.parquet is in split train too",
    ),
    ("configs.1.data_files.0.path", "manifest.json", "split train: no Parquet"),
    ("configs.1.data_files.0.path", "disease", "split train: no Parquet"),
    ("dataset_info.0.splits.0.num_examples", 4, "num_examples is {'train': 4, 'test': 2}, the"),
    ("dataset_info.0.splits.1", GONE, "num_examples is {'train': 3}, the files have {'train': 3,"),
    ("dataset_info.0.features.2", GONE, "features are ['question', 'options'], split train has"),
    ("dataset_info.0.config_name", "disorder", "there is no such configuration"),
    ("dataset_info.0.download_size", 1, "download_size is 1, the files have "),
    ("size_categories", ["1K<n<10K"], "size_categories is ['1K<n<10K']; 9 rows are n<1K"),
    ("license_link", "LICENSE", "license_name and license_link go with"),
]


@pytest.mark.parametrize(("place", "value", "message"), DATA_FAULTS)
def test_a_card_that_its_data_files_contradict_is_refused(
    tmp_path: Path, place: str, value: Any, message: str
) -> None:
    folder = write_dataset(tmp_path)
    (folder / "README.md").write_text(card(changed(DATASET, place, value)))
    with pytest.raises(ProteinLMError) as error:
        require_valid(folder, "dataset")
    faults = str(error.value).splitlines()[1:]
    assert any(message in fault for fault in faults), faults


def test_the_licence_of_other_is_a_link_or_a_file(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path)
    other = {"license": "other", "license_name": "mixed", "license_link": "LICENSE"}
    written = card(DATASET | other)
    assert "license_link 'LICENSE' is neither" in only(check_card(written, folder, "dataset"))
    (folder / "LICENSE").touch()
    assert check_card(written, folder, "dataset") == []


EVAL_RESULT_FAULTS: list[tuple[str, Any, str]] = [
    ("0.dataset", GONE, "[0].dataset is missing"),
    ("0.dataset.id", "bench", "[0].dataset.id: 'bench' is no OWNER/NAME"),
    ("0.dataset.task_id", GONE, "[0].dataset.task_id is missing"),
    ("0.dataset.task_id", "", "[0].dataset.task_id: '' is no name"),
    ("0.dataset.revision", "main", "'main' is no commit (40 hex digits)"),
    ("0.dataset.config", "evaluation", "[0].dataset.config is an unknown key"),
    ("0.value", GONE, "[0].value is missing"),
    ("0.value", "41.5", "[0].value: input should be a valid number, not '41.5'"),
    ("0.value", 101, "less than or equal to 100"),
    ("0.value", -0.5, "greater than or equal to 0"),
    ("0.value", math.nan, "[0].value is nan"),
    ("0.date", "yesterday", "'yesterday' is no ISO 8601 date"),
    ("0.source", {"name": "card"}, "[0].source.url is missing"),
    ("0.source.url", "http://example.org", "is no https link"),
    ("0.stderr", 1.6, "[0].stderr is an unknown key"),
    ("0.notes", None, "[0].notes is None"),
    ("1", EVAL_RESULTS[0], "is there 2 times"),
]


@pytest.mark.parametrize(("place", "value", "message"), EVAL_RESULT_FAULTS)
def test_a_fault_in_eval_results_gets_one_message(place: str, value: Any, message: str) -> None:
    fault = only(check_eval_results(dump(changed(EVAL_RESULTS, place, value))))
    assert fault.startswith(".eval_results/proteinlm.yaml: ")
    assert message in fault


def test_the_date_of_a_result_has_to_be_in_quotes() -> None:
    written = dump(EVAL_RESULTS).replace("'2026-11-20T08:00:00Z'", "2026-11-20T08:00:00Z")
    assert "put '2026-11-20 08:00:00+00:00' in quotes" in only(check_eval_results(written))


def test_an_eval_yaml_that_is_no_yaml_is_told() -> None:
    assert "eval.yaml: while parsing" in only(check_eval_yaml("name: [x"))
    assert "results.yaml: while parsing" in only(check_eval_results("- value: [1", "results.yaml"))


def test_eval_results_have_to_be_a_list() -> None:
    assert "should be a valid list" in only(check_eval_results(dump(EVAL_RESULTS[0])))
    assert check_eval_results(dump(EVAL_RESULTS)) == []


EVAL_YAML_FAULTS: list[tuple[str, Any, str]] = [
    ("evaluation_framework", "lm-evaluation-harness", "is no evaluation framework that the Hub"),
    ("evaluation_framework", "mteb", "evaluation_framework has to be 'inspect-ai'"),
    ("evaluation_framework", GONE, "evaluation_framework is missing"),
    ("version", "1", "version is an unknown key"),
    ("tasks", [], "tasks: list should have at least 1 item"),
    ("tasks.0.id", GONE, "tasks[0].id is missing"),
    ("tasks.0.split", "train", "tasks[0].split: input should be 'test', not 'train'"),
    ("tasks.0.field_spec", GONE, "tasks[0].field_spec is missing"),
    ("tasks.0.field_spec.target", "literal:A", "'literal:A' is a constant"),
    ("tasks.0.field_spec.choices", GONE, "field_spec.choices names its column"),
    ("tasks.0.field_spec.answer", "x", "tasks[0].field_spec.answer is an unknown key"),
    ("tasks.0.solvers", [], "tasks[0].solvers: list should have at least 1 item"),
    ("tasks.0.solvers.0.name", "mcq", "solvers[0].name: input should be 'prompt_template'"),
    ("tasks.0.scorers.0.name", "exact", "multiple_choice needs the scorer 'choice'"),
    ("tasks.0.epochs", 0, "tasks[0].epochs: input should be greater than or equal to 1"),
    ("tasks.0.epoch_reducer", "sum", "'sum' is no reducer of inspect-ai"),
    ("tasks.0.num_fewshot", 5, "tasks[0].num_fewshot is an unknown key"),
    ("tasks", [EVAL_YAML["tasks"][0]] * 2, "task 'bench' is there 2 times"),
]


@pytest.mark.parametrize(("place", "value", "message"), EVAL_YAML_FAULTS)
def test_a_fault_in_eval_yaml_gets_one_message(place: str, value: Any, message: str) -> None:
    assert message in only(check_eval_yaml(dump(changed(EVAL_YAML, place, value))))


def test_inspect_ai_reads_what_is_called_right() -> None:
    hf_task = pytest.importorskip("inspect_ai._eval.task.hf").HFTask
    assert check_eval_yaml(dump(EVAL_YAML)) == []
    assert hf_task.model_validate(EVAL_YAML["tasks"][0]).id == "bench"


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("tasks.0.config", "default", "task bench: no configuration 'default' with a split 'test'"),
        ("tasks.0.config", "disease", "no configuration 'disease' with a split 'test'"),
        ("tasks.0.field_spec.input", "stem", "task bench: no column 'stem'"),
        ("tasks.0.field_spec.target", "question", "'question' is string, not an integer (from 0)"),
    ],
)
def test_eval_yaml_has_to_agree_with_the_files_beside_it(
    tmp_path: Path, place: str, value: Any, message: str
) -> None:
    folder = write_dataset(tmp_path)
    (folder / "eval.yaml").write_text(dump(changed(EVAL_YAML, place, value)))
    assert message in only(check_card(card(DATASET), folder, "dataset"))


def test_metadata_beside_the_card_is_checked_too(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path)
    (folder / ".eval_results/proteinlm.yaml").write_text("- value: 1\n")
    (folder / ".eval_results/notes.yml").write_text("")
    (folder / ".eval_results/binary.yaml").write_bytes(b"\xff\x00")
    (folder / "pull_request").mkdir()
    (folder / "pull_request/eval.yaml").write_text("name: x\nname: y\n")
    faults = check_card(card(ADAPTER), folder, "model")
    assert [fault.split(":")[0].split(" of ")[0] for fault in faults] == [
        ".eval_results/binary.yaml",
        ".eval_results/notes.yml",
        ".eval_results/proteinlm.yaml",
        "pull_request/eval.yaml",
    ]


def test_the_adapter_and_its_card_name_one_base(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path, "acme/other")
    fault = only(check_card(card(ADAPTER), folder, "model"))
    assert "adapter_config.json: its base model is 'acme/other'" in fault
    (folder / "adapter_config.json").write_text("{")
    assert "adapter_config.json cannot be read" in only(check_card(card(ADAPTER), folder, "model"))
    (folder / "adapter_config.json").unlink()
    assert "but adapter_config.json is missing" in only(check_card(card(ADAPTER), folder, "model"))


def test_a_merged_model_has_no_adapter_beside_it(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path)
    assert "adapter_config.json is there" in only(check_card(card(MERGED), folder, "model"))
    (folder / "adapter_config.json").unlink()
    assert check_card(card(MERGED), folder, "model") == []


def test_results_that_the_client_would_join_are_refused() -> None:
    shots = changed(RESULT, "dataset.args", {"num_fewshot": 5})
    joined = changed(ADAPTER, "model-index.0.results", [RESULT, shots])
    assert "result (task, dataset, config" in only(check_card(card(joined), None, "model"))
    twice = changed(ADAPTER, "model-index.0.results.0.metrics", RESULT["metrics"] * 2)
    assert "metric (type, name)" in only(check_card(card(twice), None, "model"))
    apart = [*RESULT["metrics"], {"type": "accuracy", "name": "accuracy, 5-shot", "value": 44}]
    right = changed(ADAPTER, "model-index.0.results.0.metrics", apart)
    assert check_card(card(right), None, "model") == []


@pytest.mark.parametrize(
    ("repository", "base", "licence", "begins"),
    [
        ("acme/protein-8b", "meta-llama/Llama-3.1-8B-Instruct", "llama3.1", "Llama"),
        ("acme/protein-1b-Llama", "meta-llama/Llama-3.2-1B", "llama3.2", "Llama"),
        ("acme/llama-protein", "meta-llama/Llama-3.3-70B-Instruct", "llama3.3", "Llama"),
        ("acme/protein", "meta-llama/Llama-4-Scout-17B-16E", "other", "Llama"),
        ("acme/Llama-protein", "meta-llama/Meta-Llama-3-8B", "llama3", "Llama-3"),
        ("acme/protein", "acme/unnamed", "llama3.2", "Llama"),
        ("acme/protein", ["acme/x", "mirror/Meta-Llama-3.1-8B"], "llama3.1", "Llama"),
    ],
)
def test_a_model_made_from_llama_has_to_be_called_so(
    repository: str, base: Any, licence: str, begins: str
) -> None:
    fault = only(check_repo_name(repository, base, licence))
    assert f"begins with '{begins}'" in fault
    assert "section 1.b.i of https://" in fault
    suggested = fault.rsplit(" ", 1)[1]
    assert check_repo_name(suggested, base, licence) == []


@pytest.mark.parametrize(
    ("repository", "base", "licence"),
    [
        ("acme/Llama-protein-8B", "meta-llama/Llama-3.1-8B-Instruct", "llama3.1"),
        ("acme/Llama3-protein", "meta-llama/Meta-Llama-3-8B", "llama3"),
        ("acme/protein", "meta-llama/Llama-2-7b-hf", "llama2"),  # no such rule before Llama 3
        ("acme/protein", "google/gemma-2-2b", "gemma"),
        ("acme/protein", "Qwen/Qwen2.5-3B-Instruct", "qwen-research"),
        ("acme/protein", "HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0"),
        ("acme/protein", "TinyLlama/TinyLlama-1.1B-Chat-v1.0", "apache-2.0"),
        ("acme/protein", "openlm-research/open_llama_3b_v2", "apache-2.0"),
    ],
)
def test_other_names_are_free(repository: str, base: str, licence: str) -> None:
    assert check_repo_name(repository, base, licence) == []


@pytest.mark.parametrize(
    "repository", ["protein", "a/b/c", "acme/..", "/srv/protein", "acme/x.git"]
)
def test_a_repository_needs_an_owner_and_a_name(repository: str) -> None:
    assert repr(repository) in only(check_repo_name(repository, "acme/x", "mit"))


@pytest.mark.parametrize(
    ("base", "licence", "words", "notice"),
    [
        ("meta-llama/Llama-2-7b-hf", "llama2", None, "Llama 2 is licensed under the LLAMA 2"),
        ("meta-llama/Meta-Llama-3-8B", "llama3", "Built with Meta Llama 3", "Meta Llama 3 is"),
        ("meta-llama/Llama-3.1-8B", "llama3.1", "Built with Llama", "Llama 3.1 is licensed"),
        (
            "google/gemma-2-2b",
            "gemma",
            "https://ai.google.dev/gemma/prohibited_use_policy",
            "Gemma is provided under",
        ),
    ],
)
def test_the_licence_of_the_base_asks_for_words_and_files(
    tmp_path: Path, base: str, licence: str, words: str | None, notice: str
) -> None:
    folder = write_adapter(tmp_path, base)
    front = ADAPTER | {"base_model": base, "license": licence}
    faults = check_card(card(front), folder, "model")
    assert [fault.split()[0] for fault in faults] == ["README.md"] * bool(words) + [
        "LICENSE",
        "NOTICE",
    ]
    sentence = faults[-1].split("'")[1]
    assert sentence.startswith(notice)
    (folder / "LICENSE.txt").touch()
    (folder / "NOTICE").write_text(f"  {sentence},\n Copyright\n")
    assert check_card(card(front, f"\n**{words or ''}**\n"), folder, "model") == []


@pytest.mark.parametrize(
    ("base", "stated", "right"),
    [
        ("meta-llama/Llama-3.1-8B", "apache-2.0", "llama3.1"),
        ("google/gemma-3-1b-it", "mit", "gemma"),
        ("Qwen/Qwen2.5-72B-Instruct", "apache-2.0", "qwen"),
    ],
)
def test_a_base_models_licence_cannot_be_replaced(base: str, stated: str, right: str) -> None:
    front = ADAPTER | {"base_model": base, "license": stated}
    text = "\nBuilt with Llama. Built with Qwen. ai.google.dev/gemma/prohibited_use_policy\n"
    fault = only(check_card(card(front, text), None, "model"))
    assert f"license is {stated!r}, but ['{base}'] is under {right!r}" in fault


def test_a_folder_without_a_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProteinLMError, match=r"README.md of .* cannot be read"):
        require_valid(tmp_path, "model")


PLAIN = st.recursive(
    st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(
        st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_characters="\x7f\x85")
    ).filter(lambda text: text not in {"None", "null", "nan", "NaN"}),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(PLAIN)
def test_all_that_json_has_is_read_as_it_was_written(data: Any) -> None:
    assert load_yaml(dump(data), "x") == data


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_breaks_the_check(front: str, text: str) -> None:
    for kind in ("model", "dataset", "card"):
        faults = check_card(f"---\n{front}\n---\n{text}", None, kind)
        assert faults  # keys are missing, whatever else is wrong
        assert all(faults)


@given(st.floats(0, 100), st.text("abc -", min_size=1).filter(str.strip))
def test_any_percentage_with_any_notes_is_a_result(value: float, notes: str) -> None:
    results = changed(changed(EVAL_RESULTS, "0.value", value), "0.notes", notes)
    assert check_eval_results(dump(results)) == []


def test_the_tables_are_sorted_and_small() -> None:
    tables = dict(metadata_types.TABLES)
    assert set(tables.pop("sources")) == {
        f"@huggingface/{n}" for n in ("hub", "languages", "tasks")
    }
    for ids in tables.values():
        assert ids == sorted(set(ids))
        assert all(isinstance(name, str) for name in ids)
    assert "apache-2.0" in tables["licences"]
    assert "text-generation" in tables["pipeline_tags"]
    assert {"peft", "transformers"} <= set(tables["libraries"])
    assert "inspect-ai" in tables["evaluation_frameworks"]
    assert {"en", "zh"} <= set(tables["languages"])


@pytest.mark.skipif(
    not (HUB_PACKAGES / "node_modules/@huggingface/tasks").is_dir(),
    reason="`npm ci --prefix tests/hub` installs the Hub's own data",
)
def test_the_tables_are_the_hubs_own() -> None:
    made = subprocess.run(
        ["node", HUB_PACKAGES / "generate_tables.mjs"], capture_output=True, text=True, check=True
    )
    assert json.loads(made.stdout) == metadata_types.TABLES
