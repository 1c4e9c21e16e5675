"""`proteinlm doctor`: what is installed, and whether a benchmark run would work here."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from proteinlm_ext import __version__
from proteinlm_ext.benchmark import (
    DATA_VARIABLE,
    HUB_FILE,
    HUB_REPO,
    HUB_REVISION,
    HUB_SHA256,
    read_file,
)
from proteinlm_ext.errors import DataError
from proteinlm_ext.paths import tasks_dir

REQUIRED = ("lm_eval", "datasets", "huggingface_hub")
OPTIONAL = ("torch", "transformers", "peft", "vllm", "opencompass")
_LIST_TASK = (
    "from lm_eval.tasks import _index;"
    # Only the roots matter here: reading lm-eval's 14,000 YAML files takes ten seconds.
    "_index.TaskIndex.build = staticmethod(lambda paths, **_: print(*paths, sep='\\n') or {});"
    "from lm_eval.tasks import TaskManager; TaskManager()"
)


class Check(NamedTuple):
    """One finding; not `ok` means that something a user needs does not work."""

    name: str
    ok: bool
    finding: str


def examine() -> list[Check]:
    """Run all checks. Nothing is downloaded, and a token's value is never read out."""
    return [
        Check("proteinlm-ext", True, f"{__version__}, Python {platform.python_version()}"),
        *(_package(name, required=True) for name in REQUIRED),
        *(_package(name, required=False) for name in OPTIONAL),
        _tasks(),
        _data(),
        _device(),
        _token(),
    ]


def _package(name: str, *, required: bool) -> Check:
    try:
        return Check(name, True, version(name))
    except PackageNotFoundError:
        return Check(name, not required, "not installed")


def _tasks() -> Check:
    """Ask a new interpreter, as `lm_eval` would be one, where it looks for tasks."""
    found = subprocess.run(
        [sys.executable, "-c", _LIST_TASK], capture_output=True, text=True, check=False
    )
    if str(tasks_dir().resolve()) in found.stdout.splitlines():
        return Check("lm_eval sees tasks", True, str(tasks_dir()))
    if found.returncode:
        last = (found.stderr.strip().splitlines() or ["no message"])[-1]
        return Check("lm_eval sees tasks", False, f"lm_eval cannot be imported: {last}")
    how = "the startup hook is off or not installed"
    return Check(
        "lm_eval sees tasks", False, f'{how}; use --include_path "$(proteinlm tasks --path)"'
    )


def _data() -> Check:
    from huggingface_hub import try_to_load_from_cache

    hub = f"Hub {HUB_REPO} at {HUB_REVISION[:12]}"
    path: Any = os.environ.get(DATA_VARIABLE)
    if not path:
        path = try_to_load_from_cache(HUB_REPO, HUB_FILE, None, HUB_REVISION, "dataset")
        if not isinstance(path, str):
            return Check("data", True, f"{hub}, not downloaded yet, expected sha256 {HUB_SHA256}")
    try:
        benchmark = read_file(Path(path))
    except DataError as error:
        return Check("data", False, str(error))
    where = hub if benchmark.source == "hub" else path
    count = len(benchmark.questions)
    return Check("data", True, f"{where}: {count} questions, sha256 {benchmark.sha256}")


def _device() -> Check:
    try:
        import torch
    except ImportError:
        return Check("device", True, 'no torch; for local models: pip install "proteinlm-ext[hf]"')
    if torch.cuda.is_available():
        return Check("device", True, torch.cuda.get_device_name())
    return Check("device", True, f"CPU, {torch.get_num_threads()} threads")


def _token() -> Check:
    from huggingface_hub import get_token

    return Check("Hub token", True, "set" if get_token() else "not set (needed to publish only)")
