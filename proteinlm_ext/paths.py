"""Where the packaged files are, from a wheel and from a checkout alike; files whole, and hashes."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from proteinlm_ext.errors import ProteinLMError

DEFAULT_OUTPUT = "results"
"""Where evaluations are written, below the working directory."""

_PACKAGE = Path(__file__).parent


def tasks_dir() -> Path:
    """Return the folder with the lm-eval task YAML, for `--include_path`.

    A checkout (editable install) comes first, so that an edited YAML is the one that runs.
    """
    checkout = _PACKAGE.parent / "tasks"
    return checkout if (checkout / "proteinlmbench").is_dir() else _PACKAGE / "_tasks"


def recipes_dir(kind: str) -> Path:
    """Return the folder with the packaged recipes of a kind, `data` or `train`."""
    checkout = _PACKAGE.parent / "sft" / "recipes"
    installed = _PACKAGE.parent / "proteinlm_sft" / "recipes"
    return (checkout if checkout.is_dir() else installed) / kind


def templates_dir() -> Path:
    """Return the folder with the templates of cards."""
    checkout = _PACKAGE.parent / "cards" / "templates"
    return checkout if checkout.is_dir() else _PACKAGE.parent / "proteinlm_hub" / "templates"


def data_file(name: str) -> Path:
    """Return the path of a file bundled in `proteinlm_ext/data`."""
    return _PACKAGE / "data" / name


def cache_dir() -> Path:
    """Return the folder for converted models: `$PROTEINLM_CACHE`, else the user's cache folder."""
    if configured := os.environ.get("PROTEINLM_CACHE"):
        return Path(configured).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "proteinlm"


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: under a temporary name first, then renamed.

    Raises:
        ProteinLMError: The folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ProteinLMError(f"Could not write {path}: {error}") from error


def hash_file(path: Path) -> str:
    """Return the sha256 of a file as hex."""
    with path.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def hash_json(said: Any) -> str:
    """Return the sha256 of a value's JSON as hex, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def describe_file(path: Path) -> dict[str, Any]:
    """Return size in bytes and sha256, as manifests and records have them."""
    return {"bytes": path.stat().st_size, "sha256": hash_file(path)}
