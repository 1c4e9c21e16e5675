"""`log.jsonl`: one JSON object a logged step, whatever was killed in between."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from transformers import TrainerCallback

from proteinlm_ext.errors import ProteinLMError
from proteinlm_ext.paths import write_text


class StepLog(TrainerCallback):
    """Keeps the log of a run: what a later session repeats replaces what it said before."""

    def __init__(self, path: Path) -> None:
        """Take the file; its folder exists."""
        self._path = path
        self._entries: dict[int, dict[str, Any]] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Drop what an earlier session logged after the checkpoint it goes on from."""
        del args, control
        if state.is_world_process_zero:
            known = [entry for entry in read_log(self._path) if entry["step"] <= state.global_step]
            self._entries = {entry["step"]: entry for entry in known}
            write_text(self._path, "".join(map(_line, known)))

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any
    ) -> None:
        """Append the step with everything that is known of it."""
        del args, control
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        entry = self._entries.setdefault(state.global_step, {"step": state.global_step})
        entry |= {name: value for name, value in logs.items() if name != "step"}
        with self._path.open("a", encoding="utf-8") as log:
            log.write(_line(entry))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Leave one line a step: until now, an evaluated step has one more."""
        del args, control
        if state.is_world_process_zero:
            write_text(self._path, "".join(map(_line, read_log(self._path))))


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the entries by step; the last one of a step counts, a line cut by a kill does not.

    Raises:
        ProteinLMError: A line is no entry.
    """
    found: dict[int, dict[str, Any]] = {}
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        try:
            entry = cast("dict[str, Any]", json.loads(line))
            found[entry["step"]] = entry
        except (ValueError, TypeError, KeyError) as error:
            raise ProteinLMError(f"{path}: line {number} is damaged; remove it.") from error
    return [found[step] for step in sorted(found)]


def _line(entry: Mapping[str, Any]) -> str:
    """Return an entry as JSON, which has no infinity (a norm of gradients may be one)."""
    said = {name: value if _is_json(value) else None for name, value in entry.items()}
    return json.dumps(said, sort_keys=True, allow_nan=False) + "\n"


def _is_json(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
