"""Tokens/s of `proteinlm train prepare` against the tokenizer alone and TRL's own pipeline.

The same rows through SmolLM2's tokenizer; every measurement is a process of its own, without
threads in the tokenizer. Imports, and the start of worker processes, are not counted.

    python benchmarks/prepare_speed.py [--quick] [--data FOLDER] [--json]
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from eval_speed import describe_machine, say
from train_rows import draw_rows, sample_rows

JOBS = ("raw", "trl 1", "trl 2", "ours 1", "ours 2")
FILES, MAX_LENGTH = 4, 1024
# Tokens/s of one process, and two processes against one.
LEAST_TOKENS, LEAST_TWO = 600_000, 1.7


def main() -> None:
    """Measure, print, and fail where a bound is missed."""
    options = read_options()
    os.environ |= {
        "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }  # fmt: skip
    if options.worker:
        with contextlib.redirect_stdout(sys.stderr):
            found = measure(json.loads(options.worker))
        print(json.dumps(found))
        return
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        report = compare(options, Path(folder))
    faults = [] if options.quick else missed_bounds(report["rows"])
    print(json.dumps(report | {"faults": faults}, indent=1) if options.json else to_text(report))
    print(describe_machine(), file=sys.stderr if options.json else sys.stdout, flush=True)
    for fault in faults:
        say(fault)
    sys.exit(1 if faults else 0)


def read_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Measure proteinlm train prepare.")
    parser.add_argument("--quick", action="store_true", help="2,000 rows, once, no bounds")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--rows", type=int, help="to prepare (16,000)")
    parser.add_argument("--repeats", type=int, help="alternations (3)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="a built dataset")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="for the files")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.rows = options.rows or (2000 if options.quick else 16_000)
    options.repeats = options.repeats or (1 if options.quick else 3)
    return options


def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Write the rows and run the jobs on them in turn."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = folder / "data"
    data.mkdir()
    rows = sample_rows(options.data, options.rows) if options.data else draw_rows(options.rows)
    for number in range(FILES):
        pq.write_table(
            pa.Table.from_pylist(rows[number::FILES]), data / f"train-{number:05}.parquet"
        )
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in JOBS}
    for turn in range(options.repeats):
        for name in JOBS:
            job = {"name": name, "data": str(data), "work": str(folder / f"{name} {turn}")}
            command = [sys.executable, __file__, "--worker", json.dumps(job)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            runs[name].append(json.loads(done.stdout))
            say(f"{name}: {runs[name][-1]['s']:.2f} s")
    tokens = runs["raw"][0]["tokens"]
    table = [
        {
            "name": name,
            "s": statistics.median(run["s"] for run in found),
            "tokens_per_s": tokens / statistics.median(run["s"] for run in found),
            "bytes_per_token": found[0].get("bytes_per_token"),
        }
        for name, found in runs.items()
    ]
    return {"documents": len(rows), "tokens": tokens, "rows": table}


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Run one job and return its seconds."""
    name, _, processes = job["name"].partition(" ")
    Path(job["work"]).mkdir()
    if name == "raw":
        return measure_raw(job)
    return (measure_trl if name == "trl" else measure_ours)(job, int(processes))


def read_pairs(folder: str) -> list[dict[str, Any]]:
    """Return the rows as prompt and completion."""
    import pyarrow.parquet as pq

    from proteinlm_sft.templates import prompt_completion

    files = sorted(Path(folder).glob("*.parquet"))
    return [prompt_completion(row) for file in files for row in pq.read_table(file).to_pylist()]


def load_tokenizer() -> Any:
    """Return SmolLM2's."""
    from transformers import AutoTokenizer

    from proteinlm_ext.quickstart import fetch_model

    return AutoTokenizer.from_pretrained(str(fetch_model()))


def measure_raw(job: dict[str, Any]) -> dict[str, Any]:
    """Time the tokenizer alone on rendered rows."""
    tokenizer = load_tokenizer()
    pairs = read_pairs(job["data"])
    texts = [
        tokenizer.apply_chat_template(pair["prompt"] + pair["completion"], tokenize=False)
        for pair in pairs
    ]
    tokenizer(texts[:10])
    tokens, start = 0, time.perf_counter()
    for first in range(0, len(texts), 1000):
        found = tokenizer(texts[first : first + 1000], add_special_tokens=False)["input_ids"]
        tokens += sum(map(len, found))
    return {"s": time.perf_counter() - start, "tokens": tokens}


def measure_trl(job: dict[str, Any], processes: int) -> dict[str, Any]:
    """Time what SFTTrainer does with rows before it trains: template, tokens, labels, packing."""
    from datasets import Dataset, disable_caching
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl import SFTTrainer
    from trl.trainer.sft_config import SFTConfig

    seconds: list[float] = []

    class Timed(SFTTrainer):
        def _prepare_dataset(self, *arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            prepared = super()._prepare_dataset(*arguments, **options)
            seconds.append(time.perf_counter() - start)
            return prepared

    disable_caching()
    tokenizer = load_tokenizer()
    small = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=1,
    )  # fmt: skip
    arguments = SFTConfig(
        output_dir=job["work"], max_length=MAX_LENGTH, packing=True, packing_strategy="bfd",
        dataset_num_proc=processes if processes > 1 else None, use_cpu=True, bf16=False,
        report_to="none",
    )  # fmt: skip
    rows = Dataset.from_list(read_pairs(job["data"]))
    Timed(
        model=LlamaForCausalLM(small), args=arguments, train_dataset=rows,
        processing_class=tokenizer,
    )  # fmt: skip
    return {"s": seconds[0]}


def measure_ours(job: dict[str, Any], workers: int) -> dict[str, Any]:
    """Time `prepare`, after a run on the rows that ship: it starts and warms the workers."""
    from proteinlm_train.prepare import prepare
    from proteinlm_train.recipe_file import check_recipe

    def prepare_from(path: str, name: str) -> dict[str, Any]:
        recipe = check_recipe(
            {
                "name": "speed", "stage": "sft", "method": "lora", "model": {"path": "smollm2"},
                "data": {
                    "sources": [{"path": path}] * (FILES if path == "smoke" else 1),
                    "validation": {"from": "none"}, "overlong": "crop_sequence",
                },
                "train": {"lr": 1e-4, "epochs": 1, "max_length": MAX_LENGTH},
                "run": {"output_dir": job["work"]},
            },
            "benchmark",
        )  # fmt: skip
        return prepare(recipe, Path(job["work"]) / name, workers)

    prepare_from("smoke", "warm")
    start = time.perf_counter()
    manifest = prepare_from(job["data"], "out")
    seconds = time.perf_counter() - start
    files = [*(Path(job["work"]) / "out").glob("train-*.arrow")]
    owners = [*(Path(job["work"]) / "out").glob("train-*.documents.parquet")]
    size = sum(file.stat().st_size for file in files + owners)
    return {"s": seconds, "bytes_per_token": size / manifest["splits"]["train"]["tokens"]}


def missed_bounds(rows: list[dict[str, Any]]) -> list[str]:
    """Say which bounds the rows miss."""
    speed = {row["name"]: row["tokens_per_s"] for row in rows}
    least = (
        ("tokens/s of one process", speed["ours 1"], LEAST_TOKENS),
        ("two processes over one", speed["ours 2"] / speed["ours 1"], LEAST_TWO),
    )
    return [f"{what}: {value:.4g}, below {bound}" for what, value, bound in least if value < bound]


def to_text(report: dict[str, Any]) -> str:
    """Return the table."""
    from tabulate import tabulate

    raw = report["rows"][0]["s"]
    table = [
        {
            "what": row["name"],
            "s": f"{row['s']:.2f}",
            "M tokens/s": f"{row['tokens_per_s'] / 1e6:.2f}",
            "of raw": f"{raw / row['s']:.2f}",
            "bytes/token": f"{row['bytes_per_token']:.3f}" if row["bytes_per_token"] else "",
        }
        for row in report["rows"]
    ]
    head = f"{report['documents']} rows, {report['tokens']} tokens"
    return f"{head}\n{tabulate(table, headers='keys', disable_numparse=True)}"


if __name__ == "__main__":
    main()
