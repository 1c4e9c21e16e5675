"""Two processes that share the questions give the answers of one; gloo on the CPU."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tiny_models import save_model

from proteinlm_ext.answer_store import AnswerStore
from proteinlm_ext.cli import main

BOTH = "proteinlmbench_sample,proteinlmbench_sample_cloze"
# Without this variable accelerate takes CPU processes for separate runs, whoever launches them.
ON_CPU = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]

ROLLING = """
import sys
from pathlib import Path
from lm_eval.api.instance import Instance
from proteinlm_ext.distributed import leave
from proteinlm_ext.prefix_lm import PrefixTreeLM

model = PrefixTreeLM(sys.argv[1], device="cpu", dtype="float32", batch_size=2)
model.use_store(Path(sys.argv[2]))
texts = [f"Protein {n} binds " + "zinc " * (n + 1) for n in range(8)]
requests = [Instance("loglikelihood_rolling", {}, (text,), n) for n, text in enumerate(texts)]
mine = requests[:4] if model.rank == 0 else requests[4:]
values = model.loglikelihood_rolling(mine, disable_tqdm=True)
model.barrier()
gathered = model.gather_object(values)
if model.rank == 0:
    print(model.world_size, sum(gathered, []))
leave(0)
"""


def run_twice(*program: str, seconds: int = 120) -> subprocess.CompletedProcess[str]:
    """Run a program in two processes that know of each other."""
    environment = os.environ | ON_CPU | {"HF_HUB_OFFLINE": "1"}
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    launcher = subprocess.Popen([*LAUNCH, *program], env=environment, **pipes)
    try:
        out, err = launcher.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        launcher.terminate()  # it ends its two processes, which it cannot when it is killed
        out, err = launcher.communicate()
    return subprocess.CompletedProcess(launcher.args, launcher.returncode, out, err)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "llama", "llama")


def _arguments(llama: Path, output: Path, *more: str) -> list[str]:
    model = f"pretrained={llama},dtype=float32,token_budget=256"
    command = ["eval", "--model", "proteinlm-hf", "--model_args", model, "--device", "cpu"]
    return [*command, "--tasks", BOTH, "--output_path", str(output), "--json", *more]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run has printed and written."""

    printed: dict[str, Any]
    folder: Path
    log: str = ""

    @property
    def answers(self) -> dict[tuple[str, int], list[Any]]:
        """The log-probabilities and greediness of the choices by task and question."""
        found: dict[tuple[str, int], list[Any]] = {}
        for file in self.folder.glob("*/samples_*.jsonl"):
            for line in file.read_text(encoding="utf-8").splitlines():
                sample = json.loads(line)
                found[file.name.rsplit("_", 1)[0], sample["doc_id"]] = sample["filtered_resps"]
        return found


@pytest.fixture(scope="session")
def launch(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Outcome]:
    """Return a function that runs `proteinlm eval` in two processes."""

    def run(*more: str) -> Outcome:
        folder = tmp_path_factory.mktemp("two")
        done = run_twice("-m", "proteinlm_ext", *_arguments(llama, folder, *more))
        assert done.returncode == 0, done.stderr
        return Outcome(printed=json.loads(done.stdout), folder=folder, log=done.stderr)

    return run


@pytest.fixture(scope="session")
def two(launch: Callable[..., Outcome]) -> Outcome:
    return launch()


@pytest.fixture
def one(llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Outcome:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert main(_arguments(llama, tmp_path)) == 0
    torch.set_num_threads(threads)
    return Outcome(printed=json.loads(capsys.readouterr().out), folder=tmp_path)


def largest_difference(one: Outcome, other: Outcome) -> float:
    """Compare log-probabilities; greediness and the best choice must be the same."""
    assert len(one.answers) == 120
    assert one.answers.keys() == other.answers.keys()
    largest = 0.0
    for question, answers in one.answers.items():
        values, others = (
            [float(value) for value, _ in run.answers[question]] for run in (one, other)
        )
        assert values.index(max(values)) == others.index(max(others)), question
        greedy = [is_greedy for _, is_greedy in answers]
        assert greedy == [is_greedy for _, is_greedy in other.answers[question]], question
        largest = max(largest, *(abs(a - b) for a, b in zip(values, others, strict=True)))
    return largest


def test_each_of_two_processes_scores_half_of_the_questions(two: Outcome) -> None:
    assert sorted(
        re.findall(r"Building contexts for proteinlmbench_sample on rank (\d)", two.log)
    ) == [
        "0",
        "1",
    ]
    # A bar shows its beginning once; its end, on a loaded machine, now and then twice.
    totals = [int(total) for total in re.findall(r"Tokenizing inputs: +0%\D+0/(\d+)", two.log)]
    requests = sum(len(choices) for choices in two.answers.values())
    assert len(totals) == 2
    assert all(total < 0.6 * requests for total in totals)
    assert sum(totals) >= requests


def test_two_processes_give_the_answers_and_the_summary_of_one(two: Outcome, one: Outcome) -> None:
    assert largest_difference(two, one) < 1e-4
    for task, summary in one.printed["tasks"].items():
        assert two.printed["tasks"][task]["scores"] == summary["scores"]
        assert two.printed["tasks"][task]["num_questions"] == summary["num_questions"] == 60


def test_two_processes_write_one_results_file_and_one_samples_file_a_task(two: Outcome) -> None:
    names = sorted(file.name.rsplit("_", 1)[0] for file in two.folder.glob("*/*"))
    assert names == [
        "results",
        "samples_proteinlmbench_sample",
        "samples_proteinlmbench_sample_cloze",
    ]
    assert "terminate called" not in two.log


@pytest.fixture(scope="session")
def kept(
    launch: Callable[..., Outcome], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Outcome, Outcome]:
    """Return two runs, one after the other, on a store that both processes share."""
    cache = ("--cache", str(tmp_path_factory.mktemp("store") / "cache"))
    return launch(*cache), launch(*cache)


def test_two_processes_share_a_store(kept: tuple[Outcome, Outcome], two: Outcome) -> None:
    assert [run.answers == two.answers for run in kept] == [True, True]
    first, again = (run.printed["answers"] for run in kept)
    assert (first["resumed"], first["reused"]) == (again["computed"], again["reused"]) == (0, 0)
    assert again["resumed"] == first["computed"] > 0


def test_the_answers_of_both_processes_are_counted(kept: tuple[Outcome, Outcome]) -> None:
    requests = sum(len(choices) for choices in kept[0].answers.values())
    for run in kept:
        # A few are asked of both processes, to make their numbers equal.
        assert requests <= sum(run.printed["answers"].values()) < 1.05 * requests


def test_rolling_log_likelihoods_end_where_the_store_knows_only_those_of_one_process(
    llama: Path, tmp_path: Path
) -> None:
    from lm_eval.api.instance import Instance

    from proteinlm_ext.prefix_lm import PrefixTreeLM

    model: Any = PrefixTreeLM(str(llama), device="cpu", dtype="float32", batch_size=2)
    model.use_store(tmp_path / "cache")
    assert isinstance(model.resume.store, AnswerStore)
    texts = [f"Protein {n} binds " + "zinc " * (n + 1) for n in range(8)]
    requests = [Instance("loglikelihood_rolling", {}, (text,), n) for n, text in enumerate(texts)]
    known = model.loglikelihood_rolling(requests[:4], disable_tqdm=True)
    script = tmp_path / "rolling.py"
    script.write_text(ROLLING, encoding="utf-8")
    done = run_twice(str(script), str(llama), str(tmp_path / "cache"), seconds=60)
    assert done.returncode == 0, done.stderr
    world, values = done.stdout.strip().split(" ", 1)
    assert world == "2"
    rest = model.loglikelihood_rolling(requests[4:], disable_tqdm=True)
    assert json.loads(values) == pytest.approx([*known, *rest], abs=1e-4)
