"""The log of a run holds one entry a step, also after a kill."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from proteinlm_ext.errors import ProteinLMError
from proteinlm_train.step_log import StepLog, read_log


def begin(folder: Path, step: int) -> StepLog:
    callback = StepLog(folder / "log.jsonl")
    state = SimpleNamespace(global_step=step, is_world_process_zero=True)
    callback.on_train_begin(None, state, None)
    return callback


def at(step: int) -> Any:
    return SimpleNamespace(global_step=step, is_world_process_zero=True)


def test_training_and_validation_of_a_step_are_one_entry(tmp_path: Path) -> None:
    callback = begin(tmp_path, 0)
    callback.on_log(None, at(2), None, {"loss": 1.5})
    callback.on_log(None, at(2), None, {"eval_loss": 1.25})
    assert read_log(tmp_path / "log.jsonl") == [{"step": 2, "loss": 1.5, "eval_loss": 1.25}]


def test_a_session_that_goes_on_drops_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    callback = begin(tmp_path, 0)
    for step in (1, 2, 3, 4):
        callback.on_log(None, at(step), None, {"loss": float(step)})
    callback = begin(tmp_path, 2)
    assert [entry["step"] for entry in read_log(tmp_path / "log.jsonl")] == [1, 2]
    callback.on_log(None, at(3), None, {"loss": 30.0})
    assert [entry["loss"] for entry in read_log(tmp_path / "log.jsonl")] == [1.0, 2.0, 30.0]


def test_a_line_that_a_kill_cut_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps({"step": 1, "loss": 2.0}) + '\n{"step": 2, "lo')
    assert read_log(path) == [{"step": 1, "loss": 2.0}]


def test_a_line_that_is_no_entry_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for damaged in ('{"step": 2, "lo', "[1]", '{"loss": 1.0}'):
        path.write_text('{"step": 1}\n' + damaged + '\n{"step": 3}\n')
        with pytest.raises(ProteinLMError, match=r"log\.jsonl: line 2 is damaged"):
            read_log(path)


def test_at_the_end_every_step_has_one_line_with_sorted_keys(tmp_path: Path) -> None:
    callback = begin(tmp_path, 0)
    for logs in ({"loss": 1.5}, {"eval_loss": 1.25}):
        callback.on_log(None, at(2), None, logs)
    callback.on_log(None, at(3), None, {"loss": 1.0})
    callback.on_train_end(None, at(3), None)
    assert (tmp_path / "log.jsonl").read_text().splitlines() == [
        '{"eval_loss": 1.25, "loss": 1.5, "step": 2}',
        '{"loss": 1.0, "step": 3}',
    ]


def test_every_line_is_json_also_where_a_gradient_exploded(tmp_path: Path) -> None:
    callback = begin(tmp_path, 0)
    callback.on_log(None, at(1), None, {"loss": 1.0, "grad_norm": float("inf")})
    assert (tmp_path / "log.jsonl").read_text() == '{"grad_norm": null, "loss": 1.0, "step": 1}\n'


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    callback = StepLog(tmp_path / "log.jsonl")
    state = SimpleNamespace(global_step=1, is_world_process_zero=False)
    callback.on_train_begin(None, state, None)
    callback.on_log(None, state, None, {"loss": 1.0})
    callback.on_train_end(None, state, None)
    assert not (tmp_path / "log.jsonl").exists()


def test_the_summary_at_the_end_is_no_step(tmp_path: Path) -> None:
    callback = begin(tmp_path, 0)
    callback.on_log(None, at(1), None, {"train_runtime": 3.0, "train_loss": 1.0})
    assert read_log(tmp_path / "log.jsonl") == []
