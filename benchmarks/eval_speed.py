"""Log-likelihoods by `--model proteinlm-hf` against lm-eval's `hf`: time, memory, tokens, answers.

SmolLM2-135M-Instruct in float32; every measurement is a process of its own.

    python benchmarks/eval_speed.py [--quick] [--json] [--save FOLDER] [--startup]
"""

import argparse
import contextlib
import json
import os
import pickle
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eval_rows import Run, make_row, to_table
from eval_works import TARGETS, Request, build_requests
from start_speed import measure_start

BATCH_SIZES, SEARCH_QUESTIONS = (1, 4, 8, 16), 16


def main() -> None:
    """Measure, print, and fail where an answer differs or a bound is missed."""
    options = read_options()
    if options.worker:
        with contextlib.redirect_stdout(sys.stderr):
            found = measure(json.loads(options.worker))
        print(json.dumps(found))
        return
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with contextlib.redirect_stdout(sys.stderr):
        from proteinlm_ext.quickstart import fetch_model

        model = str(fetch_model())
    if options.startup:
        repeats, bounded = options.repeats, not options.quick
        rows = [measure_start(model, options.device, repeats, bounded=bounded)]
        table = "\n".join(f"{name}: {value}" for name, value in rows[0].items())
    else:
        rows = measure_works(model, options)
        table = to_table(rows)
    print(json.dumps(rows, indent=1) if options.json else table)
    print(describe_machine(), file=sys.stderr if options.json else sys.stdout, flush=True)
    for row in rows:
        if row.get("close"):
            say(f"{row['work']}: too close for stock to tell: questions {row['close']}")
        for fault in row["faults"]:
            say(f"{row['work']}: {fault}")
    sys.exit(1 if any(row["faults"] for row in rows) else 0)


def read_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Measure proteinlm-hf against hf.")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="24 questions, stock at batch size 1, 2 alternations, no bounds, and neither "
        "random_shots nor rolling",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--questions", type=int, help="documents of a work (100)")
    parser.add_argument("--repeats", type=int, help="alternations of stock and ours (3)")
    parser.add_argument("--work", metavar="NAME,NAME", help=f"of {','.join(TARGETS)}")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="keep the log-probabilities")
    parser.add_argument("--device", default="cpu", help="as for lm-eval (cpu)")
    parser.add_argument("--startup", action="store_true", help="measure the start instead")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.questions = options.questions or (24 if options.quick else 100)
    options.repeats = options.repeats or (2 if options.quick else 3)
    works = [*TARGETS][: -2 if options.quick else None]
    options.work = options.work.split(",") if options.work else works
    return options


def say(line: str) -> None:
    """Print to where it does not mix with the result."""
    print(line, file=sys.stderr, flush=True)


def describe_machine() -> str:
    """Name the processor, its cores and the versions that matter."""
    file = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", file.read_text()) if file.is_file() else None
    packages = ("torch", "transformers", "lm_eval", "proteinlm-ext")
    parts = [
        found[1] if found else platform.machine(),
        f"{os.cpu_count()} cores",
        f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '')}",
        f"Python {platform.python_version()}",
        *(f"{package} {version(package)}" for package in packages),
    ]
    return ", ".join(parts)


def measure_works(model: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure the works one by one; each is saved as soon as it is done."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for work in options.work:
            requests = build_requests(work, options.questions)
            if requests is None:
                say(f"{work}: skipped, its data is not at hand")
                continue
            file = Path(folder) / f"{work}.pickle"
            file.write_bytes(pickle.dumps(requests))
            job = {"requests": str(file), "model": model, "device": options.device}
            pairs = alternate(work, job, options)
            numbers = [number for number, _ in requests]
            rows.append(make_row(work, numbers, pairs, bounded=not options.quick))
            if options.save:
                save(options.save / f"{work}.json", rows[-1] | {"documents": numbers}, pairs)
    return rows


def save(file: Path, row: dict[str, Any], pairs: Sequence[Any]) -> None:
    """Write a work's row with all of its runs."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".part")
    unfinished.write_text(json.dumps(row | {"pairs": pairs}))
    unfinished.rename(file)


def alternate(work: str, job: dict[str, Any], options: argparse.Namespace) -> list[tuple[Run, Run]]:
    """Find stock's best batch size, then run stock and ours in turn."""
    sizes: tuple[int, ...] = (1,)
    if not options.quick:
        job_of_search = job | {"first": SEARCH_QUESTIONS, "batch_sizes": BATCH_SIZES}
        tried = run_worker(work, job_of_search | {"ours": False})["runs"]
        sizes = (min(tried, key=lambda run: run["wall_s"])["batch_size"],)
    job = job | {"batch_sizes": sizes}
    return [
        (run_worker(work, job | {"ours": False}), run_worker(work, job | {"ours": True}))
        for _ in range(options.repeats)
    ]


def run_worker(work: str, job: dict[str, Any]) -> Run:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--worker", json.dumps(job)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{work}: {job} failed:\n{done.stderr.decode()}")
    found = json.loads(done.stdout)
    who = "ours" if job["ours"] else "stock"
    for run in found["runs"]:
        how = "" if job["ours"] else f" at batch size {run['batch_size']}"
        say(f"{work}: {who}{how} {run['wall_s']:.2f} s, {run['tokens_fed']} tokens")
    return found


def measure(job: dict[str, Any]) -> Run:
    """Load a model and time its log-likelihoods, at each batch size in turn."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from proteinlm_ext.prefix_lm import PrefixTreeLM

    numbered: list[Request] = pickle.loads(Path(job["requests"]).read_bytes())  # noqa: S301 -- ours
    first = job.get("first", len(numbered))
    kind = "loglikelihood" if len(numbered[0][1]) > 1 else "loglikelihood_rolling"
    requests = [Instance(kind, {}, args, 0) for number, args in numbered if number < first]
    lm_class: Any = PrefixTreeLM if job["ours"] else HFLM
    lm = lm_class(job["model"], dtype="float32", batch_size=1, device=job["device"])
    loaded, total = peak_mb(), count_fed(lm)
    score = getattr(lm, kind)
    # Not two of the requests themselves: their answers may be remembered.
    warm_up = [
        Instance(kind, {}, ("Warm-up. " + text, *rest), 0) for _, (text, *rest) in numbered[:2]
    ]
    score(warm_up, disable_tqdm=True)
    runs: list[Run] = []
    for batch_size in job["batch_sizes"]:
        lm.batch_size_per_gpu = batch_size
        before, wall, cpu = total(), time.perf_counter(), time.process_time()
        answers = score(requests, disable_tqdm=True)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        tokens = total() - before
        runs.append({"batch_size": batch_size, "wall_s": wall, "cpu_s": cpu, "tokens_fed": tokens})
    memory = {"peak_rss_mb": peak_mb(), "loaded_rss_mb": loaded}
    # Rolling answers are numbers alone.
    rows = [answer if isinstance(answer, tuple) else (answer,) for answer in answers]
    return runs[-1] | memory | {"runs": runs, "answers": rows} | count(lm, requests, kind)


def count_fed(lm: Any) -> Callable[[], int]:
    """Return a function that tells how many tokens the model has been fed from now on."""
    fed, call = [0], lm._model_call

    def counted(inputs: Any, **rest: Any) -> Any:
        fed[0] += inputs.numel()
        return call(inputs, **rest)

    def total() -> int:
        tree = getattr(lm, "_tree", None)
        return fed[0] + (tree.tokens_fed if tree else 0)

    lm._model_call = counted
    return total


def peak_mb() -> float:
    """Return this process's largest memory so far, in MB. Linux counts in KB, macOS in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def count(lm: Any, requests: Sequence[Any], kind: str) -> dict[str, int]:
    """Count the least that must be computed, and the parameters that a token and a logit pass."""
    from proteinlm_ext.prefix_tree import least_tokens, make_request

    head = lm.model.get_output_embeddings().weight
    embeddings = head.numel() * (1 if head is lm.model.get_input_embeddings().weight else 2)
    body = sum(part.numel() for part in lm.model.parameters()) - embeddings
    sizes = {"body": body, "head": head.numel()}
    if kind != "loglikelihood":
        return sizes
    asked = {make_request(*lm._encode_pair(*one.args), lm.max_length) for one in requests}
    scored = {
        hash(one.fed[: i + 1]) for one in asked for i in range(one.first_scored, len(one.fed))
    }
    return sizes | {"least_tokens": least_tokens([*asked]), "least_logits": len(scored)}


if __name__ == "__main__":
    main()
