"""What must not be published: files of another kind, pickles, secrets, texts of others.

`scan` reads a folder whole and refuses; it takes nothing out. It cannot see a secret that somebody
hides on purpose (encrypted, in base64, in the weights themselves).
"""

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from proteinlm_ext.errors import ProteinLMError
from proteinlm_hub.scan_files import scan_file
from proteinlm_hub.scan_patterns import Finding, machine_names, mask
from proteinlm_hub.scan_rows import ANSWER

__all__ = ["ALLOWED", "Finding", "allowed", "require_clean", "scan"]

_CARD = ("README.md", "card.json", "*.svg", ".eval_results/*.yaml")
_TERMS = ("LICENSE*", "NOTICE*", "USE_POLICY.md", "CITATION.*")
ALLOWED = {
    "card": _CARD,
    "dataset": (
        *_CARD, *_TERMS, "manifest.json", "*/*.parquet",
        "contamination.jsonl", "held_out.tsv.gz", "left_out.jsonl.gz",
    ),
    "overlay": (*_CARD, *_TERMS, "manifest.json", "*/*.parquet"),
    "model": (
        *_CARD, *_TERMS, "manifest.json", "recipe.yaml", "training_config.yaml",
        "adapter_config.json", "adapter_model*.safetensors", "adapter_model.safetensors.index.json",
        "config.json", "generation_config.json", "model*.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
        "vocab.json", "vocab.txt", "merges.txt", "*.model",
        "chat_template.jinja", "chat_template.json", "additional_chat_templates/*.jinja",
        "eval/*.json", "eval/samples_*.jsonl",
    ),
}  # fmt: skip
"""Patterns of the paths that a repository of each kind holds; `*` stays within a folder."""
_LIMITS = {"card": 16 * 2**20, "overlay": 64 * 2**20, "dataset": 5 * 2**30, "model": 50 * 2**30}
"""Bytes of a file: ours are far below, and the Hub asks for less than 200 GB."""

# Named by its own rule, so that the message says what it is.
_STATE = (
    "optimizer*.pt", "optimizer*.bin", "scheduler.pt", "scaler.pt", "rng_state*.pth",
    "trainer_state.json", "training_args.bin", "events.out.tfevents*",
)  # fmt: skip
_PRIVATE = (
    ".git", ".cache", ".env*", ".netrc", ".ipynb_checkpoints", "__pycache__", "runs", "wandb",
    "*.ipynb",
)  # fmt: skip


def allowed(path: str, kind: str) -> bool:
    """Tell whether a repository of a kind (`dataset`, `model`, `overlay`, `card`) holds a path.

    Args:
        path: Relative, with slashes.
        kind: A key of `ALLOWED`.
    """
    parts = path.split("/")
    return any(
        len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
        for wanted in (pattern.split("/") for pattern in ALLOWED[kind])
    )


def scan(
    folder: Path, kind: str, *, allow_answers: bool = False, skip: Collection[str] = ()
) -> list[Finding]:
    """Return all that must not be published of a folder, sorted by path and line.

    Args:
        folder: What is to be published, and nothing else.
        kind: `dataset`, `model`, `overlay` or `card`.
        allow_answers: Let keys and explanations of a benchmark pass; its questions never pass.
        skip: Paths that are not looked at.

    Raises:
        ProteinLMError: A file cannot be read.
    """
    names = machine_names()
    try:
        found = [
            finding
            for path in _walk(folder)
            if path.relative_to(folder).as_posix() not in skip
            for finding in _scan_path(folder, path, kind, names)
            if not (allow_answers and finding.rule == ANSWER)
        ]
    except OSError as error:
        raise ProteinLMError(f"{folder} cannot be scanned: {error}") from error
    return sorted(set(found), key=lambda it: (it.path, it.line or 0, it.rule, it.text))


def require_clean(
    folder: Path, kind: str, *, allow_answers: bool = False, skip: Collection[str] = ()
) -> None:
    """Stop where `scan` finds anything.

    Raises:
        ProteinLMError: Lists all findings; or a file cannot be read.
    """
    if found := scan(folder, kind, allow_answers=allow_answers, skip=skip):
        lines = [
            f"  {path}{f':{line}' if line else ''}: {text} [{rule}]"
            for path, line, rule, text in found
        ]
        raise ProteinLMError(
            f"{folder} must not be published ({len(found)} findings). Take out what is named "
            "here; a token or key that was in a file should be revoked.\n" + "\n".join(lines)
        )


def _walk(folder: Path) -> Iterator[Path]:
    """Yield files and links, and folders that are refused whole."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        refused = _is_one_of(entry.name, _PRIVATE)
        if entry.is_dir(follow_symlinks=False) and not refused:
            yield from _walk(path)
        else:
            yield path


def _scan_path(folder: Path, file: Path, kind: str, names: Sequence[str]) -> Iterator[Finding]:
    relative = file.relative_to(folder).as_posix()
    path, status = mask(relative, names), file.lstat()
    if path != relative:
        yield Finding(path, None, "name", "has a secret or the name of this machine in its name")
    if stat.S_ISLNK(status.st_mode):
        yield Finding(path, None, "symlink", "is a link; what it points to is not looked at")
    elif _is_one_of(file.name, _PRIVATE):
        yield Finding(path, None, "private", "is for one machine alone and is never published")
        if stat.S_ISREG(status.st_mode):
            yield from scan_file(file, path, names)
    elif not stat.S_ISREG(status.st_mode):
        yield Finding(path, None, "special-file", "is neither file nor folder")
    else:
        if _is_one_of(file.name, _STATE):
            yield Finding(path, None, "training-state", "is the state of a training run")
        elif not allowed(relative, kind):
            yield Finding(path, None, "not-allowed", f"is no file that a {kind} repository holds")
        if status.st_size > _LIMITS[kind]:
            limit = f"is larger than {_LIMITS[kind] >> 20} MiB"
            yield Finding(path, None, "oversized", limit)
        else:
            yield from scan_file(file, path, names)


def _is_one_of(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name.lower(), pattern) for pattern in patterns)
