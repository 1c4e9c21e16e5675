"""Contract of every task YAML. lm-eval skips a broken one in silence, so these tests must not."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

from proteinlm_ext import catalog
from proteinlm_ext.benchmark import load_sample
from proteinlm_ext.fewshot import EXAMPLES

TASKS = ROOT / "tasks"
FILES = sorted((TASKS / "proteinlmbench").glob("*.yaml"))
ANNOTATION = sorted(path.stem for path in (TASKS / "proteinlm_sft").glob("*.yaml"))
SUITES = sorted(path.stem for path in (TASKS / "proteinlm_suites").glob("*.yaml"))
NAMES = [path.stem for path in FILES]
LIKELIHOOD = [
    "proteinlmbench", "proteinlmbench_cloze", "proteinlmbench_perm", "proteinlmbench_choices_only",
    "proteinlmbench_sample", "proteinlmbench_sample_cloze",
]  # fmt: skip
PUBLISHED = ["proteinlmbench_paper", "proteinlmbench_opencompass", "proteinlmbench_scienceeval"]
GENERATIVE = ["proteinlmbench_gen", "proteinlmbench_cot", *PUBLISHED]

LoadTasks = Callable[..., dict[str, Any]]


def test_the_eleven_tasks_of_the_documentation_are_there() -> None:
    assert sorted(NAMES) == sorted([*LIKELIHOOD, *GENERATIVE])


def test_lm_eval_indexes_every_yaml_file_under_its_file_name() -> None:
    assert [task.name for task in catalog.list_tasks()] == [*ANNOTATION, *sorted(NAMES), *SUITES]
    assert len([*NAMES, *ANNOTATION, *SUITES]) == len(list(TASKS.glob("**/*.yaml")))


@pytest.mark.parametrize(
    "broken", ["task: [unclosed", "task: x\ninclude: _no_such_yaml", "no_task: here"]
)
def test_a_broken_yaml_is_missing_from_the_index(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison above can fail: lm-eval drops such a file without a word."""
    (tmp_path / "broken.yaml").write_text(broken)
    monkeypatch.setattr(catalog, "tasks_dir", lambda: tmp_path)
    assert catalog.list_tasks() == []


@pytest.mark.parametrize("name", NAMES)
def test_a_task_loads_through_the_harness_and_holds_every_question(
    name: str, load_tasks: LoadTasks
) -> None:
    task = load_tasks(name)[name]
    questions = load_sample().questions
    expected = {
        "proteinlmbench_perm": sum(len(question.choices) for question in questions),
        "proteinlmbench_scienceeval": sum(question.answer < 6 for question in questions),
    }
    assert len(task.eval_docs) == expected.get(name, len(questions))
    assert set(task.eval_docs.features) >= {"id", "row_hash", "question", "choices", "answer"}
    assert "explanation" not in task.eval_docs.features


@pytest.mark.parametrize("name", NAMES)
def test_a_task_renders_every_option_count(name: str, load_tasks: LoadTasks) -> None:
    task = load_tasks(name)[name]
    counts = Counter(len(doc["choices"]) for doc in task.eval_docs)
    # ScienceEval leaves out golds beyond the sixth, the sample's nine-option questions among them.
    assert set(counts) >= {*range(2, 11)} - ({9} if name == "proteinlmbench_scienceeval" else set())
    for doc in task.eval_docs:
        prompt = task.fewshot_context(doc, num_fewshot=0)
        assert "{{" not in prompt
        assert (doc["question"] in prompt) == (name != "proteinlmbench_choices_only")


@pytest.mark.parametrize("name", LIKELIHOOD)
def test_letters_or_texts_follow_the_number_of_options(name: str, load_tasks: LoadTasks) -> None:
    task = load_tasks(name)[name]
    for doc in task.eval_docs:
        choices = task.doc_to_choice(doc)
        letters = list("ABCDEFGHIJ")[: len(doc["choices"])]
        assert choices == (doc["choices"] if name.endswith("cloze") else letters)
        assert task.doc_to_target(doc) == doc["answer"]


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_is_one_that_the_task_computes(name: str, load_tasks: LoadTasks) -> None:
    task = load_tasks(name)[name]
    doc = task.eval_docs[0]
    if task.OUTPUT_TYPE == "multiple_choice":
        results: list[Any] = [(-float(place), False) for place in range(len(doc["choices"]))]
    else:
        results = ["A"]
    assert set(task.process_results(doc, results)) == set(task.aggregation())
    assert set(task.higher_is_better()) == set(task.aggregation())


@pytest.mark.parametrize("name", NAMES)
def test_a_task_has_the_metrics_of_the_documentation(name: str, load_tasks: LoadTasks) -> None:
    expected = {"acc"}
    if name.endswith("cloze"):
        expected = {"acc", "acc_norm", "acc_bytes"}
    elif name == "proteinlmbench_perm":
        expected = {"acc", "acc_all_rotations"}
    elif name in PUBLISHED:
        expected = {"acc", "acc_answered", "invalid_rate"}
    elif name in GENERATIVE:
        expected = {"exact_match", "invalid_rate"}
    assert set(load_tasks(name)[name].aggregation()) == expected


@pytest.mark.parametrize("name", GENERATIVE)
def test_every_filter_pipeline_reads_a_plain_answer(name: str, load_tasks: LoadTasks) -> None:
    task = load_tasks(name)[name]
    task.build_all_requests(limit=3, rank=0, world_size=1)
    answer = r"The correct option is 2. \boxed{B}" + "\nAnswer: B"
    for instance in task.instances:
        instance.resps.append(answer)
    task.apply_filters()
    read = "2" if name == "proteinlmbench_paper" else "B"
    for instance in task.instances:
        assert set(instance.filtered_resps.values()) == {read}


@pytest.mark.parametrize("name", GENERATIVE)
def test_generation_stops_at_the_end_of_text_and_nowhere_else(
    name: str, load_tasks: LoadTasks
) -> None:
    """An empty list makes OpenAI-compatible servers fail with HTTP 500."""
    assert load_tasks(name)[name].config.generation_kwargs["until"] == ["<|endoftext|>"]


@pytest.mark.parametrize("name", NAMES)
def test_only_cot_and_the_published_protocols_fix_zero_shots(
    name: str, load_tasks: LoadTasks
) -> None:
    fixed = name == "proteinlmbench_cot" or name in PUBLISHED
    assert load_tasks(name)[name].get_config("num_fewshot") == (0 if fixed else None)


@pytest.mark.parametrize("name", [*LIKELIHOOD, "proteinlmbench_gen"])
def test_few_shot_examples_are_a_fixed_prefix_shared_by_all_questions(
    name: str, load_tasks: LoadTasks
) -> None:
    task = load_tasks(name)[name]
    docs = [task.eval_docs[0], task.eval_docs[50]]
    prefixes = set()
    for doc in docs:
        bare = task.fewshot_context(doc, num_fewshot=0)
        full = task.fewshot_context(doc, num_fewshot=5)
        assert full.endswith(bare)
        prefixes.add(full.removesuffix(bare))
    assert len(prefixes) == 1
    shown = [example["question"] in prefixes.pop() for example in EXAMPLES[:1]]
    assert shown == [name != "proteinlmbench_choices_only"]


def test_no_few_shot_example_is_ever_evaluated(load_tasks: LoadTasks) -> None:
    evaluated = set(load_tasks("proteinlmbench")["proteinlmbench"].eval_docs["question"])
    assert len(EXAMPLES) == 5
    assert not evaluated & {example["question"] for example in EXAMPLES}


def test_the_choices_only_task_withholds_the_question_in_its_examples_too(
    load_tasks: LoadTasks,
) -> None:
    task = load_tasks("proteinlmbench_choices_only")["proteinlmbench_choices_only"]
    prompt = task.fewshot_context(task.eval_docs[0], num_fewshot=5)
    assert not any(example["question"] in prompt for example in EXAMPLES)
    assert task.eval_docs[0]["question"] not in prompt


def test_tags_name_our_protocols_and_the_published_ones() -> None:
    tags = {task.name: task.tag for task in catalog.list_tasks()}
    ours = {name for name, tag in tags.items() if tag == "proteinlm"}
    assert {name for name, tag in tags.items() if tag == "proteinlm_published"} == set(PUBLISHED)
    assert ours == {*LIKELIHOOD, "proteinlmbench_gen", "proteinlmbench_cot"} - {
        "proteinlmbench_sample",
        "proteinlmbench_sample_cloze",
    }


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_every_version_has_a_line_in_the_changelog_of_the_tasks(path: Path) -> None:
    version = re.search(r"^  version: (\S+)$", path.read_text(), re.MULTILINE)
    assert version is not None
    changelog = (TASKS / "proteinlmbench" / "README.md").read_text().partition("## Changelog")[2]
    assert re.search(rf"`{path.stem}` .*{re.escape(version[1])}", changelog)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_yaml_names_only_functions_of_the_package(path: Path) -> None:
    """No code lies beside the YAML, and nothing asks for trust_remote_code or unsafe_code."""
    text = path.read_text()
    assert all(name.startswith("proteinlm_ext.") for name in re.findall(r"!function (\S+)", text))
    assert "unsafe_code" not in text
    assert "trust_remote_code" not in text
    assert not list(path.parent.glob("*.py"))


def test_the_data_of_every_task_but_the_samples_come_from_the_one_loader() -> None:
    loaders = set(re.findall(r"custom_dataset: !function (\S+)", "".join(_texts())))
    assert loaders == {
        "proteinlm_ext.benchmark.load_for_harness",
        "proteinlm_ext.benchmark.load_sample_for_harness",
        "proteinlm_ext.published.load_opencompass",
    }


def _texts() -> list[str]:
    return [path.read_text() for path in (TASKS / "proteinlmbench").iterdir() if path.is_file()]


def test_the_shared_templates_are_plain_yaml_apart_from_functions() -> None:
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: str(node.value))
    templates = sorted((TASKS / "proteinlmbench").glob("_*_yaml"))
    assert len(templates) == 5
    for template in templates:
        assert isinstance(yaml.load(template.read_text(), Loader=Loader), dict)  # noqa: S506
