"""`proteinlm eval --cache`: killed, shared, damaged or changed, a run ends with the right answers.

Runs are processes of their own, forked from a server that has the imports done, so that they can be
killed and start in a moment.
"""

import json
import multiprocessing
import os
import random
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tiny_models import save_model

from proteinlm_ext.cli import main
from proteinlm_ext.paths import data_file

LETTER = "proteinlmbench_sample"
BOTH = "proteinlmbench_sample,proteinlmbench_sample_cloze"
PRELOADED = [
    "lm_eval.evaluator", "lm_eval.models.huggingface", "proteinlm_ext.prefix_lm", "pytest",
    "proteinlm_ext.summary_text", "transformers.models.llama.modeling_llama",
]  # fmt: skip


def _evaluate(arguments: list[str], folder: Path) -> None:
    """Run the command in this process, its output in files."""
    import torch

    torch.set_num_threads(1)
    os.environ["PROTEINLM_DATA"] = str(data_file("sample.json"))
    for stream, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), stream)
    sys.exit(main(arguments))


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of `proteinlm eval` in a process of its own."""

    process: Any
    folder: Path

    def wait(self) -> "Run":
        """Wait for the end, however it comes."""
        self.process.join()
        return self

    @property
    def log(self) -> str:
        """What it has written to stderr."""
        return (self.folder / "stderr").read_text(encoding="utf-8")

    @property
    def printed(self) -> str:
        """What it printed, having ended well."""
        assert self.wait().process.exitcode == 0, self.log
        return (self.folder / "stdout").read_text(encoding="utf-8")

    @property
    def counts(self) -> tuple[int, int, int]:
        """Answers computed, taken from the same batches, and from others."""
        answers = json.loads(self.printed)["answers"]
        return answers["computed"], answers["resumed"], answers["reused"]

    @property
    def results(self) -> dict[str, Any]:
        """The content of the results file."""
        assert self.printed
        (file,) = self.folder.glob("results/*/results_*.json")
        return json.loads(file.read_text(encoding="utf-8"))

    @property
    def outcome(self) -> dict[str, bytes]:
        """What must not depend on kills: `results`, and the samples with all log-probabilities."""
        outcome = {"results": json.dumps(self.results["results"]).encode()}
        files = self.folder.glob("results/*/samples_*.jsonl")
        return outcome | {file.name.rsplit("_", 1)[0]: file.read_bytes() for file in files}

    @property
    def answers(self) -> dict[tuple[str, int], list[Any]]:
        """The filtered responses by task and question."""
        found: dict[tuple[str, int], list[Any]] = {}
        for name, content in self.outcome.items():
            for line in content.splitlines() if name != "results" else ():
                sample = json.loads(line)
                found[name, sample["doc_id"]] = sample["filtered_resps"]
        return found


@dataclass(frozen=True, kw_only=True)
class Starter:
    """Starts runs of a model; `cache` is the store of the test."""

    model: Path
    folder: Path
    context: Any
    started: list[Run] = field(default_factory=list)

    @property
    def cache(self) -> Path:
        """The store of the test."""
        return self.folder / "cache"

    def __call__(
        self, *arguments: str, tasks: str = LETTER, model: Path | None = None,
        model_args: str = "dtype=float32", budget: int | None = 256, cache: Any = None,
        as_json: bool = True,
    ) -> Run:  # fmt: skip
        """Start a run; `cache` False is one without a store."""
        folder = self.folder / f"run-{len(self.started)}"
        folder.mkdir()
        options = [f"pretrained={model or self.model}", model_args]
        options += [f"token_budget={budget}"] if budget else []
        command = ["eval", "--model", "proteinlm-hf", "--model_args", ",".join(options)]
        command += ["--device", "cpu", "--tasks", tasks, "--output_path", str(folder / "results")]
        command += [] if cache is False else ["--cache", str(cache or self.cache)]
        command += ["--json"] if as_json else []
        process = self.context.Process(target=_evaluate, args=([*command, *arguments], folder))
        process.start()
        self.started.append(Run(process=process, folder=folder))
        return self.started[-1]


@pytest.fixture(scope="session")
def server() -> Any:
    """Return a context that forks from a process with the imports done, on one thread."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with pytest.MonkeyPatch.context() as patch:
        settings = {
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        for name, value in settings.items():
            patch.setenv(name, value)
        first = context.Process(target=os.getpid)
        first.start()
        first.join()
    return context


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "llama", "llama")


@pytest.fixture
def start(llama: Path, tmp_path: Path, server: Any) -> Iterator[Starter]:
    starter = Starter(model=llama, folder=tmp_path, context=server)
    yield starter
    for run in starter.started:
        run.process.kill()
        run.process.join()


@pytest.fixture(scope="session")
def kept(llama: Path, server: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """Return an uninterrupted run of letter and cloze, and the store that it filled."""
    starter = Starter(model=llama, folder=tmp_path_factory.mktemp("kept"), context=server)
    return starter(tasks=BOTH).wait(), starter.cache


def rows(cache: Path, table: str = "batches") -> int | None:
    """Count what a store holds without touching it, None where that cannot be told now."""
    with suppress(sqlite3.OperationalError):
        name = f"file:{cache / 'answers.sqlite'}?mode=ro"
        with closing(sqlite3.connect(name, uri=True)) as connection:
            return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
    return None


def kill_after(run: Run, cache: Path, batches: int, delay: float) -> None:
    """Kill a run once it has saved some batches more than there were, and a moment has passed."""
    first: int | None = None
    while run.process.is_alive():
        count = rows(cache)
        first = count if first is None else first
        if count is not None and first is not None and count >= first + batches:
            break
        time.sleep(0.001)
    time.sleep(delay)
    run.process.kill()
    run.process.join()


def kill_repeatedly(begin: Callable[[], Run], cache: Path, *, kills: int, most: int) -> int:
    """Kill runs at random moments and return how many answers they have left in the store."""
    generator = random.Random(20260611)
    for _ in range(kills):
        run = begin()
        kill_after(run, cache, generator.randint(0, most), generator.uniform(0, 0.02))
        assert run.process.exitcode == -9, run.log
    with closing(sqlite3.connect(cache / "answers.sqlite")) as connection:
        return connection.execute("SELECT count(*) FROM answers").fetchone()[0]


# --- killed and started again --------------------------------------------------------------------


def test_a_run_with_a_store_gives_the_bytes_of_one_without(
    start: Starter, kept: tuple[Run, Path]
) -> None:
    assert start(tasks=BOTH, cache=False).outcome == kept[0].outcome
    computed, resumed, reused = kept[0].counts
    assert (computed, resumed, reused) == (rows(kept[1], "answers"), 0, 0)
    assert (rows(kept[1]) or 0) > 40
    assert len(kept[0].answers) == 120


def test_runs_killed_at_random_moments_end_with_the_bytes_of_an_uninterrupted_one(
    start: Starter, kept: tuple[Run, Path]
) -> None:
    known = kill_repeatedly(lambda: start(tasks=BOTH), start.cache, kills=6, most=7)
    last = start(tasks=BOTH)
    assert last.outcome == kept[0].outcome
    total = kept[0].counts[0]
    assert 0 < known < total
    assert last.counts == (total - known, known, 0)
    assert not list(start.cache.glob("*set-aside*"))


def test_a_finished_run_computes_nothing_when_it_is_started_again(
    start: Starter, kept: tuple[Run, Path]
) -> None:
    again = start(tasks=BOTH, cache=shutil.copytree(kept[1], start.cache))
    assert again.outcome == kept[0].outcome
    assert again.counts == (0, kept[0].counts[0], 0)


def test_two_runs_at_once_on_one_store_both_end_with_the_bytes_of_one_alone(
    start: Starter, kept: tuple[Run, Path]
) -> None:
    both = [start(tasks=BOTH), start(tasks=BOTH)]
    for run in both:
        assert run.outcome == kept[0].outcome
        assert sum(run.counts) == kept[0].counts[0]
        assert run.counts[2] == 0
    assert not list(start.cache.glob("*set-aside*"))
    assert rows(start.cache) == rows(kept[1])


# --- answers of other batches --------------------------------------------------------------------


def furthest(one: Run, other: Run) -> float:
    """Return the largest difference of log-probabilities; greediness must not differ."""
    assert one.answers.keys() == other.answers.keys()
    pairs = [
        (a, b)
        for key, answers in one.answers.items()
        for a, b in zip(answers, other.answers[key], strict=True)
    ]
    assert all(a[1] == b[1] for a, b in pairs)
    return max(abs(float(a[0]) - float(b[0])) for a, b in pairs)


@pytest.fixture(scope="session")
def part_kept(
    llama: Path, server: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, Path]:
    """Return how many answers ten questions of each task need, and the store that has them."""
    starter = Starter(model=llama, folder=tmp_path_factory.mktemp("part"), context=server)
    return starter("--limit", "10", tasks=BOTH).counts[0], starter.cache


def test_answers_to_a_part_of_the_questions_are_reused_for_all_and_counted(
    start: Starter, kept: tuple[Run, Path], part_kept: tuple[int, Path]
) -> None:
    known, cache = part_kept
    run = start(tasks=BOTH, cache=shutil.copytree(cache, start.cache))
    computed, resumed, reused = run.counts
    assert computed == kept[0].counts[0] - known
    assert reused > 0
    assert resumed + reused == known
    assert run.results["config"]["answers_reused_from_other_batches"] == reused
    assert kept[0].results["config"]["answers_reused_from_other_batches"] == 0
    assert furthest(run, kept[0]) < 1e-4


def test_the_printed_text_says_how_many_answers_were_reused(
    start: Starter, kept: tuple[Run, Path], part_kept: tuple[int, Path]
) -> None:
    cache = shutil.copytree(part_kept[1], start.cache)
    run = start(tasks=BOTH, cache=cache, as_json=False)
    line = run.printed.splitlines()[-1]
    reused = run.results["config"]["answers_reused_from_other_batches"]
    computed, resumed = kept[0].counts[0] - part_kept[0], part_kept[0] - reused
    assert line == (
        f"answers: {computed} computed, {resumed} from the same batches of an earlier run, "
        f"{reused} from other batches"
    )


def test_a_killed_run_that_reuses_answers_ends_with_the_bytes_of_one_that_was_not_killed(
    start: Starter, part_kept: tuple[int, Path]
) -> None:
    copies = [shutil.copytree(part_kept[1], start.folder / name) for name in ("one", "other")]
    whole = start(tasks=BOTH, cache=copies[0]).wait()
    kill_repeatedly(lambda: start(tasks=BOTH, cache=copies[1]), copies[1], kills=2, most=12)
    last = start(tasks=BOTH, cache=copies[1])
    assert last.outcome == whole.outcome
    assert 0 < last.counts[0] < whole.counts[0]


def test_the_count_of_reused_answers_survives_a_second_run(
    start: Starter, part_kept: tuple[int, Path]
) -> None:
    cache = shutil.copytree(part_kept[1], start.cache)
    first = start(tasks=BOTH, cache=cache).wait()
    again = start(tasks=BOTH, cache=cache)
    assert again.counts[0] == 0
    config = "answers_reused_from_other_batches"
    assert again.results["config"][config] == first.results["config"][config]


@pytest.mark.parametrize("budget", [150, 1000])
def test_another_token_budget_computes_nothing_anew(
    budget: int, start: Starter, kept: tuple[Run, Path]
) -> None:
    run = start(tasks=BOTH, budget=budget, cache=shutil.copytree(kept[1], start.cache))
    computed, resumed, reused = run.counts
    assert computed == 0
    assert reused > 0
    assert resumed + reused == kept[0].counts[0]
    assert furthest(run, kept[0]) < 1e-4


# --- what must not be taken ----------------------------------------------------------------------

FEW = ("--limit", "6")


def _other_weights(folder: Path, _: Path) -> dict[str, Any]:
    return {"model": save_model(folder / "other", "llama", seed=1)}


def _other_type(*_: Path) -> dict[str, Any]:
    return {"model_args": "dtype=bfloat16"}


def _adapter(folder: Path, llama: Path) -> dict[str, Any]:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(llama)
    config = LoraConfig(target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(model, config).save_pretrained(folder / "adapter")
    return {"model_args": f"dtype=float32,peft={folder / 'adapter'}"}


def _other_template(folder: Path, llama: Path) -> dict[str, Any]:
    copy = shutil.copytree(llama, folder / "copy")
    template = "{% for message in messages %}<s>{{ message.content }}{% endfor %}"
    (copy / "chat_template.jinja").write_text(template, encoding="utf-8")
    return {"model": copy}


@pytest.mark.parametrize("change", [_other_weights, _other_type, _adapter, _other_template])
def test_no_answer_is_taken_from_another_model(
    change: Callable[..., dict[str, Any]], start: Starter, kept: tuple[Run, Path]
) -> None:
    cache = shutil.copytree(kept[1], start.cache)
    run = start(*FEW, cache=cache, **change(start.folder, start.model))
    computed, *taken = run.counts
    assert computed > 0
    assert taken == [0, 0]
    assert rows(cache, "models") == 2


def test_the_same_model_in_another_folder_is_the_same_model(
    start: Starter, kept: tuple[Run, Path]
) -> None:
    copy = shutil.copytree(start.model, start.folder / "copy")
    run = start(tasks=BOTH, model=copy, cache=shutil.copytree(kept[1], start.cache))
    assert run.counts == (0, kept[0].counts[0], 0)


def test_the_chat_template_in_use_is_part_of_the_prompt(start: Starter) -> None:
    model = _other_template(start.folder, start.model)["model"]
    raw = start(*FEW, "--no_chat_template", model=model)
    assert raw.counts[0] > 0
    templated = start(*FEW, "--apply_chat_template", model=model)
    assert templated.counts == raw.counts
    assert templated.answers != raw.answers


def test_examples_in_the_prompt_make_other_requests(start: Starter, kept: tuple[Run, Path]) -> None:
    cache = shutil.copytree(kept[1], start.cache)
    run = start(*FEW, "--num_fewshot", "1", cache=cache)
    assert run.counts[0] > 0
    assert run.counts[1:] == (0, 0)


# --- damage and mistakes -------------------------------------------------------------------------


def test_a_run_on_a_damaged_store_sets_it_aside_says_so_and_finishes(
    start: Starter, kept: tuple[Run, Path]
) -> None:
    cache = shutil.copytree(kept[1], start.cache)
    content = bytearray((cache / "answers.sqlite").read_bytes())
    content[5000:9000] = bytes(4000)
    (cache / "answers.sqlite").write_bytes(content)
    run = start(tasks=BOTH, cache=cache)
    assert run.outcome == kept[0].outcome
    assert run.counts == kept[0].counts
    (aside,) = cache.glob("*.set-aside-*")
    assert aside.read_bytes() == content
    assert str(aside) in run.log


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "hf"], "--cache works with --model proteinlm-hf"),
        (["--model", "heuristic"], "--cache works with --model proteinlm-hf"),
        (["--model", "proteinlm-hf", "--use_cache", "old"], "--use_cache serves the answers of"),
    ],
)
def test_a_cache_that_cannot_be_right_is_refused_before_anything_is_loaded(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model_args", "pretrained=/nowhere", "--tasks", LETTER]
    assert main(["eval", *options, *model, "--cache", str(tmp_path / "cache")]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_is_a_file_is_an_error_without_a_traceback(start: Starter) -> None:
    start.cache.write_text("mine", encoding="utf-8")
    run = start(*FEW).wait()
    assert run.process.exitcode == 1
    assert f"proteinlm: Could not read or write {start.cache}/answers.sqlite" in run.log
    assert "Traceback" not in run.log
    assert start.cache.read_text(encoding="utf-8") == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder closed even to root")
def test_a_cache_in_a_folder_that_takes_no_files_is_an_error_without_a_traceback(
    start: Starter,
) -> None:
    run = start(*FEW, cache="/proc/answers").wait()
    assert run.process.exitcode == 1
    assert "proteinlm: Could not read or write /proc/answers/answers.sqlite" in run.log
    assert "or name another --cache" in run.log
    assert "Traceback" not in run.log


# --- generation, rolling log-likelihood, models that cannot be fed a tree ------------------------

GENERATE = ("--limit", "20", "--gen_kwargs", "max_gen_toks=8", "--batch_size", "2")


def test_a_killed_generation_goes_on_with_what_is_missing(start: Starter) -> None:
    def begin() -> Run:
        return start(*GENERATE, tasks="proteinlmbench_gen")

    whole = start(*GENERATE, tasks="proteinlmbench_gen", cache=start.folder / "whole")
    assert whole.counts == (20, 0, 0)
    known = kill_repeatedly(begin, start.cache, kills=3, most=3)
    last = begin()
    assert last.outcome == whole.outcome
    assert 0 < known < 20
    assert last.counts == (20 - known, known, 0)
    assert all(isinstance(text, str) for text, *_ in last.answers.values())


def test_generations_with_a_store_are_those_without(start: Starter) -> None:
    alone = ("--limit", "8", "--gen_kwargs", "max_gen_toks=8", "--batch_size", "1")
    kept, plain = (start(*alone, tasks="proteinlmbench_gen", cache=c) for c in (None, False))
    assert kept.outcome == plain.outcome
    assert kept.counts == (8, 0, 0)


@pytest.mark.parametrize("change", ["max_gen_toks=6", "max_gen_toks=8,repetition_penalty=1.3"])
def test_other_settings_of_generation_are_other_requests(change: str, start: Starter) -> None:
    few = ("--limit", "4", "--batch_size", "2", "--gen_kwargs")
    assert start(*few, "max_gen_toks=8", tasks="proteinlmbench_gen").counts == (4, 0, 0)
    assert start(*few, change, tasks="proteinlmbench_gen").counts == (4, 0, 0)


SAMPLED = "A task of this run samples: its generations are not stored."


def test_sampled_generations_are_not_stored_and_a_warning_says_so(start: Starter) -> None:
    sampling = "do_sample=true,temperature=1.0,max_gen_toks=4"
    run = start("--limit", "4", "--gen_kwargs", sampling, tasks="proteinlmbench_gen")
    assert run.counts == (0, 0, 0)
    assert run.log.count(SAMPLED) == 1
    assert rows(start.cache, "answers") == 0


@pytest.fixture
def loaded(llama: Path, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Return a function that loads the model here, with the store of the test or without."""
    import torch

    from proteinlm_ext.prefix_lm import PrefixTreeLM

    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def load(store: bool = True) -> Any:
        model: Any = PrefixTreeLM(str(llama), device="cpu", dtype="float32", batch_size=4)
        if store:
            model.use_store(tmp_path / "cache")
        return model

    yield load
    torch.set_num_threads(threads)


def _requests(kind: str, *arguments: Any) -> list[Any]:
    from lm_eval.api.instance import Instance

    texts = [f"Protein {n} binds " + "zinc and heme " * (n % 9 + 1) for n in range(80)]
    return [Instance(kind, {}, (text, *arguments), n) for n, text in enumerate(texts)]


@pytest.mark.parametrize(
    "settings", [{"temperature": 1.5}, {"do_sample": True, "temperature": 1.0}]
)
def test_whatever_makes_generation_random_keeps_it_out_of_the_store(
    settings: dict[str, Any], loaded: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    model = loaded()
    kwargs = {"until": ["</s>"], "max_gen_toks": 4} | settings
    assert len(model.generate_until(_requests("generate_until", kwargs)[:4])) == 4
    assert dict(model.resume.counts) == {"computed": 0, "resumed": 0, "reused": 0}
    assert SAMPLED in caplog.messages


def test_rolling_log_likelihoods_are_kept_too(loaded: Callable[..., Any]) -> None:
    requests = _requests("loglikelihood_rolling")
    expected = loaded(store=False).loglikelihood_rolling(requests)
    for count in ("computed", "resumed"):
        model = loaded()
        assert model.loglikelihood_rolling(requests) == pytest.approx(expected, abs=1e-4)
        none = {"computed": 0, "resumed": 0, "reused": 0}
        assert dict(model.resume.counts) == none | {count: 80}
    part = loaded()
    assert part.loglikelihood_rolling(requests[:10]) == pytest.approx(expected[:10], abs=1e-4)
    assert part.resume.counts["reused"] == 10


@pytest.fixture(scope="session")
def mamba(tmp_path_factory: pytest.TempPathFactory) -> Path:
    small = {"vocab_size": 384, "hidden_size": 16, "num_hidden_layers": 1, "state_size": 4}
    return save_model(tmp_path_factory.mktemp("models") / "mamba", "mamba", **small)


def test_a_model_that_cannot_be_fed_a_tree_is_resumed_as_well(start: Starter, mamba: Path) -> None:
    def begin(**options: Any) -> Run:
        cloze = "proteinlmbench_sample_cloze"
        return start("--batch_size", "32", tasks=cloze, model=mamba, **options)

    plain = begin(cache=False)
    run = begin()
    kill_after(run, start.cache, 1, 0)
    assert run.process.exitcode == -9, run.log
    known = rows(start.cache, "answers")
    last = begin()
    assert "Prefixes are not shared, as in --model hf: MambaForCausalLM" in last.wait().log
    assert last.counts[1:] == (known, 0)
    assert known == 256
    assert last.counts[0] > 0
    assert furthest(last, plain) < 1e-4
    uninterrupted = begin(cache=start.folder / "whole")
    assert last.outcome == uninterrupted.outcome


def test_another_batch_size_of_the_stock_path_counts_as_other_batches(
    start: Starter, mamba: Path
) -> None:
    cloze = {"tasks": "proteinlmbench_sample_cloze", "model": mamba}
    first = start(*FEW, "--batch_size", "8", **cloze)
    asked = first.counts[0]
    other = start(*FEW, "--batch_size", "3", **cloze)
    assert other.counts == (0, 0, asked)
