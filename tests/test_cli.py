"""The `proteinlm` command: what it prints, what it refuses, and with which exit status."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proteinlm_ext import __version__
from proteinlm_ext.cli import main
from proteinlm_ext.paths import tasks_dir

HeuristicRun = Callable[..., dict[str, Any]]
HEURISTIC = ["eval", "--model", "heuristic", "--tasks", "proteinlmbench_sample"]


def fail(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = main(arguments)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return status, captured.err


@pytest.mark.parametrize("command", [[], ["eval"], ["tasks"], ["quickstart"], ["doctor"]])
def test_every_command_has_help_with_an_example(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert f"proteinlm {command[0] if command else 'quickstart'}" in text
    assert "example" in text or not command


def test_eval_takes_every_flag_of_lm_eval_run(capsys: pytest.CaptureFixture[str]) -> None:
    from lm_eval._cli.harness import HarnessCLI

    theirs = HarnessCLI()._subparsers.choices["run"]._option_string_actions
    with pytest.raises(SystemExit):
        main(["eval", "--help"])
    text = capsys.readouterr().out
    assert len(theirs) > 40
    assert [flag for flag in theirs if flag.startswith("--") and flag not in text] == []


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "quickstart" in capsys.readouterr().out


def test_an_unknown_command_or_flag_is_a_usage_error() -> None:
    for arguments in (["evil"], [*HEURISTIC, "--no_such_flag"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"proteinlm-ext {__version__}\n"


def test_tasks_lists_names_versions_and_protocols_then_the_suites(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["tasks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 28
    assert lines[14].split() == ["proteinlmbench", "v1.0", "letter", "log-likelihood", "proteinlm"]
    assert lines[0].endswith("  proteinlm_sft, proteinlm_sft_answers")
    suites = [re.split(r"  +", line) for line in lines[25:]]
    assert suites == [
        ["proteinlm_biology", "v1.0", "suite of 11 lm-eval tasks", "-"],
        ["proteinlm_general", "v1.0", "suite of 56 lm-eval tasks", "-"],
        ["proteinlm_hazard", "v1.0", "suite of 1 lm-eval task", "-"],
    ]


def test_tasks_path_is_the_include_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "--path"]) == 0
    assert capsys.readouterr().out == f"{tasks_dir()}\n"


def test_tasks_json_is_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {task["tag"] for task in listed} == {
        "proteinlm", "proteinlm_published", "proteinlm_sft, proteinlm_sft_answers",
        "proteinlm_sft, proteinlm_sft_loss", None,
    }  # fmt: skip
    assert all(Path(task["path"]).is_file() for task in listed)
    assert listed[-1]["protocol"] == "suite of 1 lm-eval task"


def test_a_misspelt_task_suggests_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["eval", "--model", "heuristic", "--tasks", "protienlmbench_clozee"]
    status, message = fail(arguments, capsys)
    assert status == 2
    assert "protienlmbench_clozee" in message
    assert "Did you mean proteinlmbench_cloze" in message


@pytest.mark.parametrize("shots", ["6", "-1"])
def test_more_shots_than_there_are_examples_are_refused(
    shots: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, message = fail([*HEURISTIC, f"--num_fewshot={shots}"], capsys)
    assert status == 2
    assert f"--num_fewshot {shots}" in message
    assert "5 fixed examples" in message


@pytest.mark.usefixtures("sample_as_benchmark")
def test_a_chat_api_asked_for_log_likelihoods_is_pointed_to_the_generative_task(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["eval", "--model", "local-chat-completions", "--tasks", "proteinlmbench"]
    status, message = fail(arguments, capsys)
    assert status == 2
    assert "proteinlmbench_gen" in message


@pytest.mark.usefixtures("sample_as_benchmark")
def test_a_limit_within_a_question_is_refused_for_rotations(
    capsys: pytest.CaptureFixture[str], heuristic_run: HeuristicRun
) -> None:
    arguments = ["eval", "--model", "heuristic", "--tasks", "proteinlmbench_perm"]
    status, message = fail([*arguments, "--limit", "7"], capsys)
    assert status == 2
    nearest = [int(word) for word in message.split() if word.isdigit()]
    assert len(nearest) == 2
    for limit in nearest:
        summary = heuristic_run("--tasks", "proteinlmbench_perm", "--limit", str(limit))
        assert summary["tasks"]["proteinlmbench_perm"]["num_questions"] in (1, 2)


def test_both_template_flags_at_once_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--no_chat_template", "--apply_chat_template"]
    status, message = fail([*HEURISTIC, *flags], capsys)
    assert status == 2
    assert "exclude each other" in message


def test_a_missing_benchmark_file_is_an_error_without_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROTEINLM_DATA", "/no/such/file.json")
    status, message = fail(["eval", "--model", "heuristic", "--tasks", "proteinlmbench"], capsys)
    assert status == 1
    assert "/no/such/file.json" in message


def test_metadata_names_the_data_and_what_to_do_with_cut_rows(
    tmp_path: Path, heuristic_run: HeuristicRun
) -> None:
    path = tmp_path / "cut.csv"
    path.write_text("question,option 1,option 2,answer\nq1,a,bb,option 2\nq2,a,b,option 3\n")
    metadata = json.dumps({"data": str(path), "truncated": "drop"})
    summary = heuristic_run("--tasks", "proteinlmbench", "--metadata", metadata)
    task = summary["tasks"]["proteinlmbench"]
    assert (task["num_questions"], task["provenance"]["rows"]) == (1, 2)
    assert task["provenance"]["complete"] is False
    results = json.loads(Path(summary["results_file"]).read_text())
    assert results["configs"]["proteinlmbench"]["metadata"]["provenance"]["questions"] == 1


def test_interrupting_gives_status_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("proteinlm_ext.catalog.list_tasks", interrupt)
    assert main(["tasks"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_the_console_script_runs_from_anywhere(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "proteinlm"), "tasks", "--path"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"{tasks_dir()}\n"


def test_the_doctor_reports_versions_tasks_and_data_but_no_token_value(tmp_path: Path) -> None:
    secret = "hf_" + "x" * 30
    environment = os.environ | {"HF_TOKEN": secret}
    command = [sys.executable, "-m", "proteinlm_ext", "doctor", "--json"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False
    )
    assert secret not in done.stdout + done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.returncode == 0
    assert checks["Hub token"]["finding"] == "set"
    assert checks["lm_eval sees tasks"]["finding"] == str(tasks_dir())
    assert "sha256 f2dce5c1" in checks["data"]["finding"]


def test_the_doctor_fails_when_the_hook_is_off_or_the_data_are_bad(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("[]")
    environment = os.environ | {"PROTEINLM_NO_AUTOLOAD": "1", "PROTEINLM_DATA": str(bad)}
    command = [sys.executable, "-m", "proteinlm_ext", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert len(failed) == 2
    assert "--include_path" in failed[0]
    assert "no rows" in failed[1]
