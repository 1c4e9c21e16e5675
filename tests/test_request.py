"""Requests are resolved without the slow index, and checked before a model loads."""

from pathlib import Path
from typing import Any

import pytest

from proteinlm_ext.cli import main
from proteinlm_ext.errors import UsageError
from proteinlm_ext.request import resolve_tasks


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
