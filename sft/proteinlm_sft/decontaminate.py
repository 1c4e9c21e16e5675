"""The benchmark against a dataset in the making: which rows and documents hold a question."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, cast

import pyarrow.parquet

from proteinlm_ext.benchmark import load_benchmark
from proteinlm_ext.errors import ProteinLMError
from proteinlm_ext.paths import write_text
from proteinlm_sft.assemble import kept_rows
from proteinlm_sft.contamination import LAYERS, find_contamination
from proteinlm_sft.question_index import Hit, QuestionIndex, TextUnit, build_index

pq = cast("Any", pyarrow.parquet)

# Dropping what was found makes the rest's rare words rarer, which can bring a weaker hit about.
_ROUNDS = 10


def open_benchmark(data: str | None) -> tuple[QuestionIndex, dict[str, Any]]:
    """Return the questions to look for, and what a manifest says of them.

    Args:
        data: A file in the benchmark's schema; default ProteinLMBench, as for the evaluation.

    Raises:
        DataError: The benchmark cannot be read or downloaded.
    """
    benchmark = load_benchmark(data)
    said = {"questions": len(benchmark.questions), "sha256": benchmark.sha256}
    return build_index(benchmark.questions), said


def find_until_clean(index: QuestionIndex, units: Callable[[], Iterable[TextUnit]]) -> list[Hit]:
    """Return the hits of all layers, and those that show once the first ones are gone."""
    found: list[Hit] = []
    gone: set[str] = set()
    for _ in range(_ROUNDS):
        fresh = find_contamination(index, partial(_others, units, frozenset(gone)), LAYERS)
        if not fresh:
            break
        found += fresh
        gone |= {hit.unit_id for hit in fresh}
    else:
        raise ProteinLMError(
            f"After {_ROUNDS} rounds there are still texts with benchmark questions. This is not "
            "expected: please report it with the recipe, or build with --no_decontaminate."
        )
    return sorted(found)


def _others(units: Callable[[], Iterable[TextUnit]], gone: frozenset[str]) -> Iterator[TextUnit]:
    return (unit for unit in units() if unit.id not in gone)


def staged_rows(parts: Sequence[Path], decisions: Sequence[Path] = ()) -> Iterator[TextUnit]:
    """Give the outputs of the staged rows, or of those that stay: what a model learns to say."""
    if decisions:
        yield from (TextUnit(row["id"], row["output"]) for row in kept_rows(parts, decisions))
        return
    for part in parts:
        for batch in pq.ParquetFile(part / "rows.parquet").iter_batches(columns=["id", "output"]):
            for row in batch.to_pylist():
                yield TextUnit(row["id"], row["output"])


def write_hits(path: Path, hits: Iterable[Hit]) -> None:
    """Write hits as JSON Lines: ids and scores, no text of the benchmark."""
    lines = [json.dumps(asdict(hit), sort_keys=True) for hit in hits]
    write_text(path, "".join(f"{line}\n" for line in lines))


def read_hits(path: Path) -> list[dict[str, Any]]:
    """Read what `write_hits` wrote."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def count_hits(hits: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Return the distinct rows or documents that each layer named."""
    named: dict[str, set[str]] = {layer: set() for layer in LAYERS}
    for hit in hits:
        named[hit["layer"]].add(hit["unit_id"])
    return {layer: len(ids) for layer, ids in named.items()}
