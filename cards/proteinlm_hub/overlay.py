"""What is ours about ProteinLMBench, as a folder to publish: row ids, flags, slices, corrections.

The questions are somebody else's. They are read here for counts and positions, and no word of them
is written.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pyarrow
import pyarrow.parquet

from proteinlm_ext.benchmark import find_data
from proteinlm_ext.checks import Entry, usable_rows
from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_ext.formats import read_rows
from proteinlm_ext.paths import describe_file
from proteinlm_ext.questions import parse_rows
from proteinlm_ext.slices import length_rank
from proteinlm_hub import benchmark_card
from proteinlm_hub.benchmark_card import CANARY
from proteinlm_hub.metadata_schema import SIZES
from proteinlm_hub.render import write_card

_pa, _pq = cast("Any", pyarrow), cast("Any", pyarrow.parquet)
_TEXT, _NUMBER, _YES = _pa.string(), _pa.int32(), _pa.bool_()
_ROW = {"row": _NUMBER, "id": _TEXT, "row_hash": _TEXT, "canary": _TEXT}
_FLAGS = {"flags": _pa.list_(_TEXT), "selfcontained": _YES, "clean": _YES}
_LENGTHS = {"num_options": _NUMBER, "gold_length_rank": _NUMBER}
_CHANGE = {"old_option": _NUMBER, "new_option": _NUMBER, "evidence": _TEXT}
ROWS, CORRECTIONS = _pa.schema(_ROW | _FLAGS | _LENGTHS), _pa.schema(_ROW | _CHANGE)

_CONTRADICTION = "explanation_contradicts_key"
_SUPPORTS = re.compile(r"(calls|restates) option (\d+) ")  # as checks.py words its details


def write_overlay(audit_folder: Path, out: Path, data: Path | None = None) -> None:
    """Write the overlay of an audited benchmark, and the pull request to its own repository.

    Args:
        audit_folder: What `proteinlm audit --out` wrote.
        out: A new or empty folder; it is there whole or not at all.
        data: The file that was audited; default $PROTEINLM_DATA, else the pinned file of the Hub.

    Raises:
        UsageError: `out` is not empty.
        ProteinLMError: The audit is not whole, or `data` is not the file that it is of.
    """
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty; take another folder for the overlay.")
    card = benchmark_card.collect(audit_folder)
    entries = _read_entries(find_data(str(data) if data else None), card["data"]["sha256"])
    tables = {
        "rows": _pa.Table.from_pylist(list(_rows(audit_folder, entries)), ROWS),
        "key_corrections": _pa.Table.from_pylist(
            list(_corrections(audit_folder, entries)), CORRECTIONS
        ),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as work:
        made = Path(work) / "overlay"
        configs = [_write_table(made, name, table) for name, table in tables.items() if len(table)]
        total = sum(config["num_examples"] for config in configs)
        size = next(name for name, limit in SIZES.items() if total < limit)
        card["overlay"] = {"configs": configs, "size": size}
        write_card(made, card)
        published = [made / config["file"] for config in configs]
        published += [path for path in made.iterdir() if path.is_file()]
        files = {path.relative_to(made).as_posix(): describe_file(path) for path in published}
        manifest = json.dumps({"format": 1, "files": files}, indent=1, sort_keys=True)
        (made / "manifest.json").write_text(manifest + "\n", encoding="utf-8")
        made.rename(out)


def _read_entries(path: Path, sha256: str) -> dict[int, Entry]:
    """Return the questions by row, of the very file that was audited."""
    try:
        content = path.expanduser().read_bytes()
    except OSError as error:
        raise ProteinLMError(f"The audited file cannot be read at {path}: {error}") from error
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise ProteinLMError(
            f"{path} has sha256 {found}, the audited file had {sha256}. Name the audited file, "
            "PROTEINLM_DATA=PATH, or audit this one."
        )
    rows = read_rows(path, content)
    return {entry.row: entry for entry in usable_rows(rows, parse_rows(rows))}


def _rows(audit_folder: Path, entries: Mapping[int, Entry]) -> Iterator[dict[str, Any]]:
    """Yield each row of the file: its hashes, flags and slices."""
    for row in benchmark_card.read_rows(audit_folder):
        lengths: dict[str, int] = {}
        if entry := entries.get(row["row"]):
            choices, answer = entry.question.choices, entry.question.answer
            lengths["num_options"] = len(choices)
            lengths["gold_length_rank"] = length_rank(choices, answer) + 1
        yield {**row, **lengths, "canary": CANARY}


def _corrections(audit_folder: Path, entries: Mapping[int, Entry]) -> Iterator[dict[str, Any]]:
    """Yield where an explanation supports another option, and where equal questions disagree."""

    def propose(entry: Entry, new_option: int | None, evidence: str) -> dict[str, Any]:
        asked = entry.question
        named = {"row": entry.row, "id": asked.id, "row_hash": asked.row_hash, "canary": CANARY}
        change = {"old_option": asked.answer + 1, "new_option": new_option}
        return named | change | {"evidence": evidence}

    audit = json.loads((audit_folder / "audit.json").read_text(encoding="utf-8"))
    for finding in audit["checks"][_CONTRADICTION]["rows"]:
        if match := _SUPPORTS.search(finding["detail"]):
            evidence = f"{_CONTRADICTION}: {match[1]} it"
            yield propose(entries[finding["row"]], int(match[2]), evidence)
    keys: dict[str, set[int]] = {}
    for entry in entries.values():
        keys.setdefault(entry.question.id, set()).add(entry.question.answer)
    for entry in entries.values():
        if len(keys[entry.question.id]) > 1:
            yield propose(entry, None, "schema: the same question has different keys")


def _write_table(folder: Path, name: str, table: Any) -> dict[str, Any]:
    """Write one configuration and return what the card says of it."""
    from datasets import Features

    path = folder / name / "test-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    _pq.write_table(table, path, compression="zstd")
    features = cast("Any", Features.from_arrow_schema(table.schema))._to_yaml_list()
    file = path.relative_to(folder).as_posix()
    said = {"name": name, "file": file, "features": features, "num_examples": len(table)}
    return said | describe_file(path)
