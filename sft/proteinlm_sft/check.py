"""`proteinlm data check`: benchmark questions in any dataset, and leaks between its splits."""

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from tabulate import tabulate

from proteinlm_ext.errors import UsageError
from proteinlm_ext.paths import write_text
from proteinlm_sft.contamination import LAYERS, find_contamination
from proteinlm_sft.decontaminate import open_benchmark, write_hits
from proteinlm_sft.leak import THRESHOLDS, Leak, find_leaks
from proteinlm_sft.question_index import Hit, TextUnit

# What a row says, in the order in which trainers read it; ids and provenance are not searched.
_TEXT_COLUMNS = (
    "text", "instruction", "input", "prompt", "question", "output", "completion", "answer",
    "messages", "conversation", "conversations",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What was found. `groups` are what was searched together, with their numbers of rows."""

    dataset: str
    benchmark: dict[str, Any]
    groups: dict[str, int]
    hits: tuple[Hit, ...]
    leaks: tuple[Leak, ...]

    @property
    def dirty(self) -> bool:
        """Whether anything was found."""
        return bool(self.hits) or any(
            leak.neighbours[THRESHOLDS[0]] or leak.shared_outputs for leak in self.leaks
        )


def check_dataset(dataset: str, against: str, workers: int) -> Check:
    """Search a dataset for benchmark questions; compare the splits of one that was built here.

    Args:
        dataset: A folder or file of Parquet or JSONL, or an id on the Hub.
        against: `proteinlmbench`, a file in its schema, or `none`.
        workers: Threads of MMseqs2.

    Raises:
        UsageError: There is no such dataset, or its rows hold no text.
        DataError: The benchmark cannot be read.
        MissingDependencyError: Leaks are looked for without MMseqs2.
    """
    groups = _groups(dataset)
    hits: list[Hit] = []
    benchmark: dict[str, Any] = {}
    rows: dict[str, int] = {}
    if against != "none":
        data = None if against == "proteinlmbench" else against
        index, benchmark = open_benchmark(data)
        for name, files in groups.items():
            units = partial(_units, dataset, files)
            rows[name] = sum(1 for unit in units() if unit.text)
            if not rows[name]:
                raise UsageError(
                    f"{dataset} ({name}) holds no text to search: no row has one of the columns "
                    f"{', '.join(_TEXT_COLUMNS)}."
                )
            hits += find_contamination(index, units, LAYERS)
    leaks: list[Leak] = []
    if (Path(dataset) / "manifest.json").is_file():
        with tempfile.TemporaryDirectory() as work:
            leaks = find_leaks(Path(dataset), Path(work), workers)
    return Check(
        dataset=dataset.rstrip("/").rsplit("/", 1)[-1],
        benchmark=benchmark,
        groups=rows,
        hits=tuple(sorted(hits)),
        leaks=tuple(leaks),
    )


def to_text(found: Check) -> str:
    """Return the report for a terminal."""
    parts: list[str] = []
    if found.benchmark:
        per_layer = [
            [layer, len({h.unit_id for h in found.hits if h.layer == layer}),
             len({h.question_id for h in found.hits if h.layer == layer})]
            for layer in LAYERS
        ]  # fmt: skip
        rows = ", ".join(f"{count} rows in {name}" for name, count in found.groups.items())
        parts += [
            f"{found.benchmark['questions']} questions (sha256 {found.benchmark['sha256'][:12]}) "
            f"against {rows}:",
            tabulate(per_layer, ["layer", "rows hit", "questions hit"], tablefmt="simple"),
            "\n".join(
                f"{hit.unit_id}: question {hit.question_id}, {hit.layer}, {hit.score:.2f}"
                for hit in found.hits[:20]
            ),
        ]
        if len(found.hits) > 20:
            parts.append(f"and {len(found.hits) - 20} more; --out DIR writes them all")
    for leak in found.leaks:
        shares = ", ".join(
            f"{count} ({100 * count / max(leak.proteins, 1):.1f}%) at {100 * level:.0f}%"
            for level, count in leak.neighbours.items()
        )
        parts.append(
            f"{leak.split}: {leak.rows} rows, {leak.proteins} proteins; with a neighbour in train: "
            f"{shares}; {leak.shared_outputs} outputs that stand in train"
        )
    return "\n\n".join(part for part in parts if part)


def to_json(found: Check) -> str:
    """Return the report as JSON: ids and scores, no text of the benchmark."""
    return json.dumps(asdict(found) | {"dirty": found.dirty}, indent=1, sort_keys=True)


def write_check(found: Check, out: Path) -> list[Path]:
    """Write the report and every hit.

    Raises:
        ProteinLMError: The folder cannot be written to.
    """
    write_text(out / "check.json", to_json(found) + "\n")
    write_hits(out / "contamination.jsonl", found.hits)
    return [out / "check.json", out / "contamination.jsonl"]


def _groups(dataset: str) -> dict[str, list[Path]]:
    """Return the files that are searched together: all instruction data, and each SSL subset."""
    path = Path(dataset)
    if path.is_file():
        return {path.name: [path]}
    if not path.is_dir():
        if dataset.count("/") == 1 and not dataset.startswith(("/", ".")):
            return {dataset: []}
        raise UsageError(f"There is no dataset at {dataset}: no file, folder, or Hub id.")
    files = [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix in (".parquet", ".jsonl") and ".build" not in file.parts
        and file.name != "contamination.jsonl"
    ]  # fmt: skip
    groups: dict[str, list[Path]] = {}
    for file in files:
        folder = file.relative_to(path).parts[0]
        groups.setdefault(folder if folder.startswith("ssl_") else "instructions", []).append(file)
    if not groups:
        raise UsageError(f"{dataset} holds no Parquet and no JSONL file.")
    return groups


def _units(dataset: str, files: list[Path]) -> Iterator[TextUnit]:
    for number, (place, row) in enumerate(_rows(dataset, files)):
        yield TextUnit(str(row.get("id", f"{place}:{number}")), row_text(row))


def _rows(dataset: str, files: Iterable[Path]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    import datasets

    loaded = cast("Any", datasets)
    if not files:
        for config in loaded.get_dataset_config_names(dataset):
            for split, rows in loaded.load_dataset(dataset, config, streaming=True).items():
                yield from ((f"{config}/{split}", row) for row in rows)
    for file in files:
        kind = "parquet" if file.suffix == ".parquet" else "json"
        rows = loaded.load_dataset(kind, data_files=str(file), split="train", streaming=True)
        yield from ((file.stem, row) for row in rows)


def row_text(row: Mapping[str, Any]) -> str:
    """Return what a row says: its text columns, messages included, one a line."""
    said: list[str] = []
    views = ("prompt", "completion", "messages") if "output" in row else ()
    for name in _TEXT_COLUMNS:
        value = None if name in views else row.get(name)  # they say the same again
        if isinstance(value, str):
            said.append(value)
        elif isinstance(value, list):
            for message in cast("list[dict[str, Any] | str]", value):
                said += [message] if isinstance(message, str) else _contents(message)
    return "\n".join(said)


def _contents(message: Mapping[str, Any]) -> list[str]:
    return [str(text) for name, text in message.items() if text and name not in ("role", "from")]
