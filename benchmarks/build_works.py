"""What `build_dataset.py` times, each in a process of its own that imports no more than it needs.

python benchmarks/build_works.py JOB-AS-JSON
"""

import gzip
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("PROTEINLM_TEST_DATA", ROOT.parent / "shared" / "data"))

Found: TypeAlias = dict[str, Any]


def time_biopython(paths: Sequence[str]) -> Found:
    """Parse with Biopython and do nothing else."""
    from Bio import SwissProt

    start, entries = time.perf_counter(), 0
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            for _ in SwissProt.parse(stream):
                entries += 1
    return {"s": time.perf_counter() - start, "entries": entries}


def time_lines(paths: Sequence[str]) -> Found:
    """Read the lines and do nothing else."""
    start = time.perf_counter()
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            for _ in stream:
                pass
    return {"s": time.perf_counter() - start}


def time_ours(paths: Sequence[str], enzyme: str | None, work: str, workers: int) -> Found:
    """Build every row of the seven configs, without splits and de-duplication.

    From flat files to Parquet shards: parse, checksum, clean, template, hash. Deciding on rows is
    reduced to "all are train", which is what the paper's mode decides.
    """
    import proteinlm_sft.splits as splits
    from proteinlm_sft.assemble import AssembleTask, assemble
    from proteinlm_sft.rows import CONFIGS
    from proteinlm_sft.stage import stage_file
    from proteinlm_sft.workers import run_tasks

    folder = Path(work)
    parts, tasks, recipe = plan(paths, enzyme, folder)
    times = [time.perf_counter()]
    run_tasks(stage_file, tasks, workers, "reading")
    times.append(time.perf_counter())
    as_paper = recipe.model_copy(update={"mode": "paper"})
    decided = splits.decide(parts, (), as_paper, folder / "decisions", workers)
    times.append(time.perf_counter())
    shards = [
        AssembleTask(
            config=config, parts=parts, decisions=decided.files, out=folder / "out", mode="clean",
            release="2025_01", source_suffix="", views=(), shard_bytes=256 << 20,
        )
        for config in CONFIGS
    ]  # fmt: skip
    made = run_tasks(assemble, shards, workers, "writing")
    times.append(time.perf_counter())
    read, decide, write = (after - before for before, after in pairwise(times))
    rows = sum(number for named in made for number in named.values())
    return {"s": times[-1] - times[0], "read": read, "decide": decide, "write": write, "rows": rows}


def time_steps(paths: Sequence[str], enzyme: str | None, work: str) -> Found:
    """Time one worker up to the end of each step."""
    from proteinlm_sft.entry import Entry
    from proteinlm_sft.inputs import open_input
    from proteinlm_sft.rows import RowMaker
    from proteinlm_sft.stage import load_nomenclature, read_entries, stage_file

    _, tasks, recipe = plan(paths, enzyme, Path(work))
    tables = load_nomenclature(tasks[0].enzyme, None)

    def decompress() -> None:
        for task in tasks:
            with open_input(task.file) as source:
                while source.stream.read(1 << 20):
                    pass

    def parse(make: Callable[[Entry], Iterable[Any]] = lambda _: ()) -> None:
        for task in tasks:
            with open_input(task.file) as source:
                for entry in read_entries(source.stream, task.file.name):
                    if isinstance(entry, Entry):
                        for _ in make(entry):
                            pass

    def stage() -> None:
        for task in tasks:
            stage_file(task)

    steps: dict[str, Callable[[], Any]] = {
        "decompress, sha256 of files": decompress,
        "parse, checksums": parse,
        "clean, template, hash of texts": partial(parse, RowMaker(recipe, tables).rows),
        "sha256 of sequences, Parquet": stage,
        "all rows to train, inputs, shards": partial(time_ours, paths, enzyme, f"{work}/whole", 1),
    }
    time_ours(paths[:1], enzyme, f"{work}/warm-up", 1)
    until: dict[str, float] = {}
    for name, step in steps.items():
        start = time.perf_counter()
        step()
        until[name] = time.perf_counter() - start
    return {"until": until}


def time_decisions(paths: Sequence[str], enzyme: str | None, work: str, workers: int) -> Found:
    """Time clusters, de-duplication and splits, reading done."""
    import proteinlm_sft.splits as splits
    from proteinlm_sft.stage import stage_file
    from proteinlm_sft.workers import run_tasks

    parts, tasks, recipe = plan(paths, enzyme, Path(work))
    run_tasks(stage_file, tasks, workers, "reading")
    start = time.perf_counter()
    splits.decide(parts, (), recipe, Path(work) / "decisions", workers)
    return {"s": time.perf_counter() - start}


def plan(paths: Sequence[str], enzyme: str | None, folder: Path) -> Any:
    """Return folders, tasks and recipe, as `proteinlm data sft` makes them."""
    from proteinlm_sft.inputs import find_inputs
    from proteinlm_sft.recipe import Recipe
    from proteinlm_sft.stage import StageTask

    recipe = Recipe(uniprot=tuple(paths), enzyme=enzyme)
    table = find_inputs([enzyme])[0] if enzyme else None
    files = find_inputs(paths)
    parts = tuple(folder / f"part-{number:05d}" for number in range(len(files)))
    tasks = [StageTask(file, part, recipe, table) for file, part in zip(files, parts, strict=True)]
    return parts, tasks, recipe


WORKS: dict[str, Callable[..., Found]] = {
    "biopython": time_biopython,
    "lines": time_lines,
    "ours": time_ours,
    "steps": time_steps,
    "decisions": time_decisions,
}


def main() -> None:
    """Do one job, such as `{"name": "lines", "paths": [...]}`."""
    job = json.loads(sys.argv[1])
    print(json.dumps(WORKS[job.pop("name")](**job)))


if __name__ == "__main__":
    main()
