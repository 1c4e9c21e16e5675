"""Requests are resolved without the slow index, and checked before a model loads."""

from pathlib import Path
from typing import Any

import pytest
from lm_eval.config.evaluate_config import EvaluatorConfig

from proteinlm_ext.cli import main
from proteinlm_ext.errors import UsageError
from proteinlm_ext.request import check_request, resolve_tasks


def test_only_our_folder_is_indexed_for_our_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexing all of lm-eval takes ten seconds."""
    from lm_eval.tasks import TaskManager

    seen: list[Any] = []
    original = TaskManager.__init__

    def watch(self: Any, *args: Any, **kwargs: Any) -> None:
        seen.append(kwargs["include_defaults"])
        original(self, *args, **kwargs)

    monkeypatch.setattr(TaskManager, "__init__", watch)
    _, names = resolve_tasks(["proteinlmbench,proteinlmbench_cloze"], None, {})
    assert names == ["proteinlmbench", "proteinlmbench_cloze"]
    assert seen == [False]


def test_patterns_and_yaml_files_are_tasks_too(tmp_path: Path) -> None:
    _, names = resolve_tasks(["proteinlmbench_sampl*"], None, {})
    assert names == ["proteinlmbench_sample", "proteinlmbench_sample_cloze"]
    own = tmp_path / "own.yaml"
    own.write_text("task: own\n")
    assert resolve_tasks([str(own)], None, {})[1] == [str(own)]


def test_no_task_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="No task given"):
        resolve_tasks([""], None, {})


@pytest.mark.usefixtures("sample_as_benchmark")
@pytest.mark.parametrize(
    ("task", "model_args", "template", "warned"),
    [
        ("proteinlmbench_paper", "pretrained=some/model", False, False),
        ("proteinlmbench_paper", "pretrained=some/model-Chat", False, True),
        ("proteinlmbench_paper", "pretrained=some/model", True, True),
        ("proteinlmbench_paper", "pretrained=some/model-chat", True, False),
        ("proteinlmbench_paper", "pretrained=01-ai/Yi-6B-Chat", False, False),
        ("proteinlmbench_paper", "pretrained=01-ai/Yi-6B-Chat", True, True),
        ("proteinlmbench_paper", "pretrained=chat-lab/model", False, False),
        ("proteinlmbench_scienceeval", "pretrained=m", False, True),
        ("proteinlmbench_scienceeval", "pretrained=m", True, False),
    ],
)
def test_a_departure_from_a_published_prompt_format_is_said(
    task: str, model_args: str, template: bool, warned: bool, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    arguments = ["eval", "--model", "heuristic", "--model_args", f"rule=longest,{model_args}"]
    arguments += ["--tasks", task, "--limit", "2", "--output_path", str(tmp_path), "--json"]
    assert main([*arguments, *(["--apply_chat_template"] if template else [])]) == 0
    assert (f"{task}: the p" in caplog.text) == warned


@pytest.mark.usefixtures("sample_as_benchmark")
def test_shots_for_a_zero_shot_protocol_are_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ["eval", "--model", "heuristic", "--tasks", "proteinlmbench_cot", "--limit", "1"]
    assert main([*arguments, "--num_fewshot", "2", "--output_path", str(tmp_path)]) == 0
    assert "proteinlmbench_cot is zero-shot by definition" in caplog.text


@pytest.mark.slow
def test_a_name_that_is_nobodys_is_looked_up_everywhere_and_refused() -> None:
    with pytest.raises(UsageError, match=r"Unknown task: sciqq\. Did you mean sciq"):
        resolve_tasks(["sciqq"], None, {})


SAMPLE = "proteinlmbench_sample"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "0"], "--limit 0 selects nothing"),
        (["--limit=-3"], "--limit -3 selects nothing"),
        (["--samples", '{"proteinlmbench_cloze": [0]}'], "names proteinlmbench_cloze, but"),
        (["--samples", '{"proteinlmbench_sample": []}'], "numbers from 0 to 59, got []"),
        (["--samples", '{"proteinlmbench_sample": [60]}'], "numbers from 0 to 59, got [60]"),
        (["--samples", '{"proteinlmbench_sample": [-1]}'], "numbers from 0 to 59"),
        (["--samples", "[1]"], "is not a mapping"),
        (["--samples", "no.json"], "is not a mapping"),
        (["--log_samples", "--no_log_samples"], "exclude each other"),
        (["--wandb_args", "project=x"], "lm_eval run"),
        (["--model", "heuristik"], "Did you mean heuristic"),
        (["--model_args", "rule=best"], "the rules are longest"),
    ],
)
def test_a_request_that_cannot_work_is_a_usage_error(
    arguments: list[str], message: str, tmp_path: Path, capsys: Any
) -> None:
    command = ["eval", "--model", "heuristic", "--tasks", SAMPLE, "--output_path", str(tmp_path)]
    assert main([*command, *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err


def test_a_model_that_is_not_there_is_an_error_without_traceback(
    tmp_path: Path, capsys: Any
) -> None:
    arguments = ["--model", "hf", "--model_args", "pretrained=/no/such/model"]
    command = ["eval", "--tasks", SAMPLE, "--output_path", str(tmp_path), "--no_chat_template"]
    assert main([*command, *arguments]) == 1
    message = capsys.readouterr().err
    assert "could not be loaded" in message
    assert "Traceback" not in message


@pytest.mark.usefixtures("sample_as_benchmark")
def test_a_chat_api_needs_the_chat_template(capsys: Any) -> None:
    arguments = ["eval", "--model", "local-chat-completions", "--tasks", "proteinlmbench_gen"]
    assert main(arguments) == 2
    assert "add --apply_chat_template" in capsys.readouterr().err


@pytest.mark.usefixtures("sample_as_benchmark")
def test_samples_that_cut_a_question_name_the_missing_rotations(capsys: Any) -> None:
    arguments = ["eval", "--model", "heuristic", "--tasks", "proteinlmbench_perm"]
    assert main([*arguments, "--samples", '{"proteinlmbench_perm": [0, 1]}']) == 2
    assert "Missing from --samples: [2, 3, 4, 5]" in capsys.readouterr().err


def test_a_task_written_in_python_passes_the_checks() -> None:
    """Such a task has a configuration, but no list of columns."""

    class PythonTask:
        def get_config(self, key: str) -> Any:
            return {"output_type": "generate_until"}.get(key)

    config = EvaluatorConfig(model="hf", tasks=["own"], num_fewshot=7)
    check_request(config, {"own": PythonTask()})


def test_tasks_are_separated_by_blanks_or_commas() -> None:
    for requested in (["proteinlmbench", SAMPLE], [f"proteinlmbench, {SAMPLE}"]):
        assert resolve_tasks(requested, None, {})[1] == ["proteinlmbench", SAMPLE]
    assert resolve_tasks(SAMPLE, None, {})[1] == [SAMPLE]


def test_a_config_file_sets_what_the_command_line_does_not(tmp_path: Path, capsys: Any) -> None:
    import json

    config = tmp_path / "run.yaml"
    config.write_text(
        f"model: heuristic\nmodel_args: {{rule: shortest}}\ntasks: {SAMPLE}\nlimit: 4\n"
        f"output_path: {tmp_path / 'from_file'}\nlog_samples: false\n"
    )
    assert main(["eval", "--config", str(config), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert Path(printed["results_file"]).is_relative_to(tmp_path / "from_file")
    assert printed["sample_files"] == []
    assert printed["tasks"][SAMPLE]["num_questions"] == 4
    assert main(["eval", "--config", str(config), "--json", "--limit", "6"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"][SAMPLE]["num_questions"] == 6


@pytest.mark.slow
def test_a_group_in_the_users_folder_may_mix_our_tasks_with_lm_evals(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"group: mine\ntask: [{SAMPLE}, proteinlmbench_cloze]\n")
    manager, names = resolve_tasks(["mine"], [str(tmp_path)], {})
    assert names == ["mine"]
    assert "sciq" in manager.all_tasks
