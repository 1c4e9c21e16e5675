"""MB/s and memory of `proteinlm data sft` against two bare loops over the same files.

The files are derived from a small flat file by `uniprot_copies.py`; every measurement is a process
of its own. MB are decompressed megabytes (10^6 bytes).

    python benchmarks/build_dataset.py [--quick] [--source FILE] [--work FOLDER] [--json]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import build_works
import psutil
from build_works import DATA
from eval_speed import describe_machine, say
from isal import igzip
from uniprot_copies import make_copies

FILES, SEED = 16, 1
# Against Biopython for one worker, against the line loop, two workers against one; bytes of RSS.
LEAST_BIOPYTHON, LEAST_LINES, LEAST_TWO = 1.0, 0.5, 1.7
MOST_MEMORY, MOST_GROWTH = 1000, 1.1


def main() -> None:
    """Measure, print, and fail where a bound is missed."""
    options = read_options()
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        report = measure(options, Path(folder))
    faults = [] if options.quick else missed_bounds(report["rows"])
    print(json.dumps(report | {"faults": faults}, indent=1) if options.json else to_text(report))
    print(describe_machine(), file=sys.stderr if options.json else sys.stdout, flush=True)
    for fault in faults:
        say(fault)
    sys.exit(1 if faults else 0)


def read_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Measure proteinlm data sft.")
    parser.add_argument(
        "--quick", action="store_true", help="50 MB instead of 1 GB, once, no bounds"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--source", type=Path, default=DATA / "uniprot" / "uniprot_sprot.dat.gz")
    parser.add_argument("--enzyme", type=Path, default=DATA / "enzyme" / "enzyme_2001_full.dat.gz")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="for the files; 2 GB")
    parser.add_argument("--repeats", type=int, help="alternations (3)")
    options = parser.parse_args()
    options.repeats = options.repeats or (1 if options.quick else 3)
    return options


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Make the files and run the loops and ours on them in turn."""
    size = 50 if options.quick else 1000
    paths = make_copies(options.source, folder / "copies", FILES, size * 1e6, SEED)
    large = [str(path) for path in paths]
    # Files of one size: those that do not fill a row group would take less memory.
    small = large if options.quick else large[: FILES // 8]
    # The bare loops are linear: one large file will do.
    some = large if options.quick else large[:1]
    enzyme = str(options.enzyme) if options.enzyme.is_file() else None
    jobs: list[tuple[str, int, list[str], dict[str, Any]]] = [
        ("biopython", 1, some, {}),
        ("lines", 1, some, {}),
        *(
            ("ours", workers, paths, {"enzyme": enzyme, "workers": workers})
            for paths in ([large] if options.quick else [small, large])
            for workers in (1, 2)
        ),
    ]
    runs: list[list[dict[str, Any]]] = [[] for _ in jobs]
    for _ in range(options.repeats):
        for found, (name, workers, paths, more) in zip(runs, jobs, strict=True):
            found.append(run_worker(name, paths, folder, more))
            say(f"{name}, {workers} workers, {len(paths)} files: {found[-1]['s']:.2f} s")
    rows = [
        make_row(name, workers, paths, found)
        for (name, workers, paths, _), found in zip(jobs, runs, strict=True)
    ]
    steps = [run_worker("steps", some, folder, {"enzyme": enzyme}) for _ in range(options.repeats)]
    decisions = run_worker("decisions", small, folder, {"enzyme": enzyme, "workers": 2})
    return {
        "rows": rows,
        "steps": differences([step["until"] for step in steps]),
        "decisions": {"mb": count(small)[0] / 1e6, **decisions},
    }


def differences(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return what each step adds to the one before it; the fastest run of each counts."""
    until = {name: min(run[name] for run in runs) for name in runs[0]}
    ends = [0.0, *until.values()]
    return {name: end - before for (name, end), before in zip(until.items(), ends, strict=False)}


def run_worker(name: str, paths: list[str], folder: Path, more: dict[str, Any]) -> dict[str, Any]:
    """Measure in a process of its own; add the largest memory of it and its children in MB."""
    job: dict[str, Any] = {"name": name, "paths": paths, **more}
    with tempfile.TemporaryDirectory(dir=folder) as work, tempfile.TemporaryFile("w+") as out:
        if name not in ("biopython", "lines"):
            job["work"] = work
        command = [sys.executable, build_works.__file__, json.dumps(job)]
        with subprocess.Popen(command, stdout=out) as process:
            peak = 0
            while process.poll() is None:
                peak = max(peak, tree_memory(process.pid))
                time.sleep(0.1)
        if process.returncode:
            raise SystemExit(f"{name} failed")
        out.seek(0)
        return json.load(out) | {"peak_mb": peak / 1e6}


def tree_memory(pid: int) -> int:
    """Return the resident bytes of a process and its children; shared pages count again."""
    total = 0
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            total += process.memory_info().rss
    except psutil.NoSuchProcess:  # ended meanwhile; the next look will count again
        pass
    return total


def make_row(
    name: str, workers: int, paths: list[str], found: list[dict[str, Any]]
) -> dict[str, Any]:
    """Summarise the runs of one job: medians, and the largest memory of any."""
    size, entries = count(paths)
    seconds = statistics.median(run["s"] for run in found)
    return {
        "name": name,
        "workers": workers,
        "mb": size / 1e6,
        "s": seconds,
        "mb_per_s": size / 1e6 / seconds,
        "entries_per_s": entries / seconds,
        "peak_mb": max(run["peak_mb"] for run in found),
        "phases": {
            phase: statistics.median(run[phase] for run in found)
            for phase in ("read", "decide", "write")
            if phase in found[0]
        },
    }


def count(paths: list[str]) -> tuple[int, int]:
    """Return decompressed bytes and entries."""
    size = entries = 0
    for path in paths:
        with igzip.open(path) as stream:
            data = stream.read()
        size += len(data)
        entries += data.count(b"\n//\n")
    return size, entries


def missed_bounds(rows: list[dict[str, Any]]) -> list[str]:
    """Say which bounds the rows miss."""
    biopython, lines, *ours = rows
    small, small_two, large, large_two = ours
    speed = {row["name"]: row["mb_per_s"] for row in (biopython, lines)}
    least = (
        ("one worker over Biopython", large["mb_per_s"] / speed["biopython"], LEAST_BIOPYTHON),
        ("one worker over the line loop", large["mb_per_s"] / speed["lines"], LEAST_LINES),
        ("two workers over one", large_two["mb_per_s"] / large["mb_per_s"], LEAST_TWO),
    )
    most = (
        ("peak MB, one worker", large["peak_mb"], MOST_MEMORY),
        ("peak MB, two workers", large_two["peak_mb"], MOST_MEMORY),
        (
            "memory at 1 GB over 125 MB, one worker",
            large["peak_mb"] / small["peak_mb"],
            MOST_GROWTH,
        ),
        ("and two workers", large_two["peak_mb"] / small_two["peak_mb"], MOST_GROWTH),
    )
    return [
        *(f"{what} is {value:.2f}, below {bound}" for what, value, bound in least if value < bound),
        *(f"{what} is {value:.2f}, above {bound}" for what, value, bound in most if value > bound),
    ]


def to_text(report: dict[str, Any]) -> str:
    """Return the tables."""
    from tabulate import tabulate

    biopython, lines, *_ = (row["mb_per_s"] for row in report["rows"])
    table = [
        {
            "what": row["name"],
            "workers": row["workers"],
            "MB": f"{row['mb']:.0f}",
            "s": f"{row['s']:.2f}",
            "MB/s": f"{row['mb_per_s']:.1f}",
            "entries/s": f"{row['entries_per_s']:.0f}",
            "of Biopython": f"{row['mb_per_s'] / biopython:.2f}",
            "of lines": f"{row['mb_per_s'] / lines:.2f}",
            "peak MB": f"{row['peak_mb']:.0f}",
            **{f"{phase} s": f"{seconds:.2f}" for phase, seconds in row["phases"].items()},
        }
        for row in report["rows"]
    ]
    whole = sum(report["steps"].values())
    steps = [
        {"step, one worker": name, "s": f"{s:.2f}", "%": f"{100 * s / whole:.0f}"}
        for name, s in report["steps"].items()
    ]
    decisions = report["decisions"]
    return "\n\n".join(
        [
            tabulate(table, headers="keys", disable_numparse=True),
            tabulate(steps, headers="keys", disable_numparse=True),
            f"Clusters, de-duplication and splits of {decisions['mb']:.0f} MB, 2 threads: "
            f"{decisions['s']:.1f} s, peak {decisions['peak_mb']:.0f} MB",
        ]
    )


if __name__ == "__main__":
    main()
