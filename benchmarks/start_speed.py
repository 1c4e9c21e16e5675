"""Seconds from process start to the first request: `proteinlm eval` against `lm_eval run`.

The floor is a process that only imports what every run imports (torch, transformers, lm-eval with
its evaluator, and through it datasets) and loads the weights.
`python benchmarks/eval_speed.py --startup` runs it.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

LEAST_RATIO, MOST_OVER_FLOOR = 2.0, 0.5

# Both models inherit the method, from a module that takes little time to import.
STOP_AT_FIRST_REQUEST = """
import os, sys, time
from lm_eval.api.model import TemplateLM

def stop(*_, **__):
    os.write(1, f"\\n{time.time()}".encode())
    os._exit(0)

TemplateLM.loglikelihood = stop
sys.argv = sys.argv[1:]
"""
PROGRAMS = {
    "stock": STOP_AT_FIRST_REQUEST + "from lm_eval.__main__ import cli_evaluate; cli_evaluate()",
    "ours": STOP_AT_FIRST_REQUEST + "from proteinlm_ext.cli import main; main()",
    "floor": """
import sys, time, torch, transformers
import lm_eval.evaluator, lm_eval.loggers, lm_eval.models.huggingface
transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
print(f"\\n{time.time()}")
""",
}


def measure_start(model: str, device: str, repeats: int, *, bounded: bool) -> dict[str, Any]:
    """Run the three in turn; return the medians and what is wrong with them."""
    from proteinlm_ext.paths import tasks_dir

    seconds: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as output:
        request = [
            "--model_args", f"pretrained={model},dtype=float32", "--device", device,
            "--tasks", "proteinlmbench_sample", "--limit", "1", "--output_path", output,
        ]  # fmt: skip
        tasks = ["--include_path", str(tasks_dir())]
        arguments = {
            "stock": ["lm_eval", "run", "--model", "hf", *request, *tasks],
            "ours": ["proteinlm", "eval", "--model", "proteinlm-hf", *request],
            "floor": [model],
        }
        for _ in range(repeats):
            for name, program in PROGRAMS.items():
                seconds[name].append(time_start(program, arguments[name]))
                print(f"{name}: {seconds[name][-1]:.2f} s", file=sys.stderr, flush=True)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratio, over = medians["stock"] / medians["ours"], medians["ours"] - medians["floor"]
    faults: list[str] = []
    if bounded and ratio < LEAST_RATIO:
        faults.append(f"ratio is {ratio:.2f}, below {LEAST_RATIO}")
    if bounded and over > MOST_OVER_FLOOR:
        faults.append(f"{over:.2f} s over imports and weights, above {MOST_OVER_FLOOR}")
    result = {"work": "startup", "ratio": ratio, "over_floor_s": over}
    return result | {f"{name}_s": value for name, value in medians.items()} | {"faults": faults}


def time_start(program: str, arguments: list[str]) -> float:
    """Run a program that prints the time at its end; return its seconds."""
    # Stock is lm-eval without our startup hook.
    environment = os.environ | {"PROTEINLM_NO_AUTOLOAD": "1"}
    start = time.time()
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{arguments} failed:\n{done.stderr}")
    return float(done.stdout.splitlines()[-1]) - start
