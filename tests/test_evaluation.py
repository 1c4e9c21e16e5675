"""`proteinlm eval` writes what lm-eval writes, and checks a request before a model loads."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proteinlm_ext.benchmark import load_sample
from proteinlm_ext.cli import main

HeuristicRun = Callable[..., dict[str, Any]]
TASK = "proteinlmbench_sample"


def test_the_files_have_the_names_and_keys_of_lm_eval(
    heuristic_run: HeuristicRun, tmp_path: Path
) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    from proteinlm_ext.paths import tasks_dir

    printed = heuristic_run("--tasks", TASK, "--limit", "6")
    ours = json.loads(Path(printed["results_file"]).read_text())
    (samples_file,) = map(Path, printed["sample_files"])
    tracker = EvaluationTracker(output_path=str(tmp_path / "theirs"))
    theirs: Any = simple_evaluate(
        model="heuristic",
        model_args={"rule": "longest"},
        tasks=[TASK],
        task_manager=TaskManager(include_path=tasks_dir(), include_defaults=False),
        limit=6,
        evaluation_tracker=tracker,
    )
    samples = theirs.pop("samples")
    tracker.save_results_aggregated(results=theirs, samples=samples)
    tracker.save_results_samples(task_name=TASK, samples=samples[TASK])
    (file,) = (tmp_path / "theirs").glob("*/results_*.json")
    (their_samples,) = (tmp_path / "theirs").glob("*/samples_*.jsonl")
    written = json.loads(file.read_text())
    assert list(ours) == list(written)
    assert list(ours["config"]) == list(written["config"])
    assert ours["config"]["model"] == written["config"]["model"] == "heuristic"
    assert ours["model_source"] == written["model_source"]
    assert ours["results"] == written["results"]
    assert ours["task_hashes"] == written["task_hashes"]
    assert samples_file.read_bytes() == their_samples.read_bytes()
    assert samples_file.name.startswith(f"samples_{TASK}_")


def test_the_hash_of_the_data_and_no_explanation_are_in_the_output(
    heuristic_run: HeuristicRun, sample_as_benchmark: Path
) -> None:
    import hashlib

    printed = heuristic_run("--tasks", "proteinlmbench", "--limit", "3")
    results = json.loads(Path(printed["results_file"]).read_text())
    provenance = results["configs"]["proteinlmbench"]["metadata"]["provenance"]
    assert provenance["sha256"] == hashlib.sha256(sample_as_benchmark.read_bytes()).hexdigest()
    assert provenance["questions"] == 60
    explanation = json.loads(sample_as_benchmark.read_text())[0]["explanation"]
    assert explanation not in Path(printed["sample_files"][0]).read_text()


def test_a_run_leaves_no_memory_addresses_in_its_results(
    heuristic_run: HeuristicRun, sample_as_benchmark: Path
) -> None:
    printed = heuristic_run("--tasks", "proteinlmbench_gen,proteinlmbench_perm", "--limit", "6")
    text = Path(printed["results_file"]).read_text()
    assert " at 0x" not in text
    assert "proteinlm_ext.extract.strict_filter" in text


def test_two_runs_differ_in_nothing_but_time_and_place(heuristic_run: HeuristicRun) -> None:
    runs = []
    for _ in range(2):
        printed = heuristic_run("--tasks", TASK)
        results = json.loads(Path(printed["results_file"]).read_text())
        for key in ("date", "total_evaluation_time_seconds", "git_hash", "pretty_env_info"):
            del results[key]
        runs.append((results, Path(printed["sample_files"][0]).read_bytes()))
    assert runs[0] == runs[1]


def test_no_log_samples_writes_none(heuristic_run: HeuristicRun, tmp_path: Path) -> None:
    printed = heuristic_run("--tasks", TASK, "--no_log_samples")
    assert printed["sample_files"] == []
    assert not list(tmp_path.glob("**/samples_*"))


def test_predict_only_writes_outputs_and_claims_no_score(heuristic_run: HeuristicRun) -> None:
    printed = heuristic_run("--tasks", TASK, "--predict_only")
    assert printed["tasks"] == {}
    (samples,) = printed["sample_files"]
    assert len(Path(samples).read_text().splitlines()) == 60


def test_samples_select_questions(heuristic_run: HeuristicRun) -> None:
    printed = heuristic_run("--tasks", TASK, "--samples", json.dumps({TASK: [5, 0, 3]}))
    assert printed["tasks"][TASK]["num_questions"] == 3
    assert printed["tasks"][TASK]["num_available"] == 60
    samples = map(json.loads, Path(printed["sample_files"][0]).read_text().splitlines())
    questions = load_sample().questions
    logged = [(sample["doc_id"], sample["doc"]["id"]) for sample in samples]
    assert logged == [(number, questions[number].id) for number in (0, 3, 5)]


def test_few_shots_templates_and_instructions_reach_the_prompt(
    heuristic_run: HeuristicRun, sample_as_benchmark: Path
) -> None:
    arguments = ["--tasks", "proteinlmbench_gen", "--limit", "1", "--num_fewshot", "2"]
    arguments += ["--apply_chat_template", "--system_instruction", "You know proteins."]
    printed = heuristic_run(*arguments)
    assert printed["tasks"]["proteinlmbench_gen"]["protocol"].endswith("2-shot, chat template")
    prompt = json.loads(Path(printed["sample_files"][0]).read_text().splitlines()[0])
    context = prompt["arguments"]["gen_args_0"]["arg_0"]
    assert context.startswith("You know proteins.")
    assert context.count("Answer: ") == 5  # three instructions and two answered examples


def test_rotations_are_reported_by_question(
    heuristic_run: HeuristicRun, sample_as_benchmark: Path
) -> None:
    task = heuristic_run("--tasks", "proteinlmbench_perm")["tasks"]["proteinlmbench_perm"]
    assert task["num_questions"] == task["num_available"] == 60
    for score in task["scores"]:
        assert score["num_items"] == 60
        assert score["interval"]["method"] == "bootstrap over questions"
    letters = heuristic_run("--tasks", "proteinlmbench_perm", rule="A")["tasks"]
    by_metric = {s["metric"]: s["value"] for s in letters["proteinlmbench_perm"]["scores"]}
    assert by_metric["acc"] == pytest.approx(task["chance"])
    assert by_metric["acc_all_rotations"] == 0.0


def test_a_tag_runs_all_its_tasks(heuristic_run: HeuristicRun, sample_as_benchmark: Path) -> None:
    tasks = heuristic_run("--tasks", "proteinlm", "--limit", "6")["tasks"]
    assert len(tasks) == 6


def test_results_that_cannot_be_written_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """lm-eval itself only logs this."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    arguments = ["eval", "--model", "heuristic", "--tasks", TASK, "--limit", "2"]
    assert main([*arguments, "--output_path", str(blocked)]) == 1
    assert "Could not write" in capsys.readouterr().err


def test_a_run_is_saved_even_if_its_summary_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("proteinlm_ext.evaluation.summarise", fail)
    arguments = ["eval", "--model", "heuristic", "--tasks", TASK, "--limit", "2"]
    with pytest.raises(ZeroDivisionError):
        main([*arguments, "--output_path", str(tmp_path)])
    assert len(list(tmp_path.glob("*/results_*.json"))) == 1
    assert len(list(tmp_path.glob("*/samples_*.jsonl"))) == 1


@pytest.mark.usefixtures("sample_as_benchmark")
@pytest.mark.parametrize("name", ["paper", "opencompass", "scienceeval"])
def test_a_rule_can_be_scored_under_every_published_protocol(
    name: str, heuristic_run: HeuristicRun
) -> None:
    task = heuristic_run("--tasks", f"proteinlmbench_{name}")["tasks"][f"proteinlmbench_{name}"]
    assert task["scores"][0]["value"] == pytest.approx(task["longest"])


def test_our_model_works_where_the_hook_is_off(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "proteinlm_ext", "eval", "--model", "heuristic"]
    environment = os.environ | {"PROTEINLM_NO_AUTOLOAD": "1"}
    done = subprocess.run(
        [*command, "--tasks", TASK], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "data: sample, 60 questions" in done.stdout
