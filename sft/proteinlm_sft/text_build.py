"""Builds the SSL subsets: runs their pipelines, names their shards, and counts what was dropped.

Each stage leaves datatrove's completion marks in the work folder, so a build that was killed goes
on with the tasks that have none. On one machine the tasks run on processes of ours; `ray` hands
them to datatrove's Ray executor, `slurm` submits all stages, each after the one before, and ends:
the same command goes on when the jobs have ended. Both need a work folder that all nodes share.
"""

import contextlib
import copy
import io
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import pyarrow.parquet as pq
from datatrove.executor import (
    LocalPipelineExecutor,
    RayPipelineExecutor,
    SlurmPipelineExecutor,
)
from datatrove.utils.logging import logger

from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_ext.paths import write_text
from proteinlm_sft.chosen import reason_to_drop
from proteinlm_sft.entry import Entry, Rejected
from proteinlm_sft.inputs import InputFile, open_input
from proteinlm_sft.mentions import build_dictionary, load_dictionary, read_gene_ids
from proteinlm_sft.stage import read_entries
from proteinlm_sft.text_plan import (
    SUBSETS,
    Stage,
    TextPlan,
    dedup_stages,
    read_tasks,
    stored_texts,
    unique_stage,
    write_stage,
)
from proteinlm_sft.workers import run_tasks

Where = Literal["local", "ray", "slurm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetReport:
    """One subset: documents read and kept, those left out by reason, and its shards with rows.

    `shards` are relative to the dataset's folder. `insertions` counts the sequences that were and
    were not put into abstracts; `tokens` is None where no tokenizer was given. `inputs` are the
    files with their sha256; `listed` are JSON Lines with id and reason of each document left out.
    """

    read: int
    kept: int
    left_out: Mapping[str, int]
    insertions: Mapping[str, int]
    tokens: int | None
    shards: Mapping[str, int]
    inputs: Sequence[Mapping[str, Any]]
    listed: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextReport:
    """All subsets, and why names are not in the dictionary (empty where none was made)."""

    subsets: Mapping[str, SubsetReport]
    dictionary: Mapping[str, int]


def build_texts(
    plan: TextPlan,
    out: Path,
    work: Path,
    workers: int,
    where: Where = "local",
    options: Mapping[str, Any] | None = None,
) -> TextReport:
    """Make the subsets of a plan: `OUT/<config>/train-00000-of-0000N.parquet`.

    Called again with the same plan and folders it goes on where it stood.

    Args:
        plan: What is made.
        out: Where the shards go; on the same file system as `work`.
        work: What is finished before the whole is, and the logs and timings of datatrove.
        workers: Tasks at a time.
        where: What runs them.
        options: More arguments for datatrove's Slurm or Ray executor (`time`, `partition`, ..).

    Raises:
        SourceError: An input cannot be trusted.
        UsageError: A subset has no input.
        ProteinLMError: Slurm has the jobs now, or tasks failed elsewhere.
    """
    _check(plan)
    dictionary = work / "dictionary.pickle"
    if plan.needs_dictionary and not dictionary.is_file():
        work.mkdir(parents=True, exist_ok=True)
        genes = _gene_ids(plan.gene_ids) if plan.gene_ids else None
        build_dictionary(_entries(plan), plan.holdout, genes).save(dictionary)
    runner = _Runner(where, workers, dict(options or {}))
    reports: dict[str, SubsetReport] = {}
    submitted: list[str] = []
    for config in plan.subsets:
        report = _subset(plan, config, out, work, runner)
        if report is None:
            submitted.append(config)
        else:
            reports[config] = report
    if submitted:
        raise ProteinLMError(
            f"Slurm has the jobs of {', '.join(submitted)}. Run the same command again when they "
            f"have ended; logs are in {work}."
        )
    counts = load_dictionary(dictionary).counts if plan.needs_dictionary else None
    return TextReport(subsets=reports, dictionary=counts or {})


def _check(plan: TextPlan) -> None:
    needs = {
        "ssl_uniprot": plan.uniprot,
        "ssl_pubmed": plan.pubmed,
        "ssl_pmc": plan.pmc,
        "ssl_sequence_in_abstract": plan.uniprot and (plan.pubmed or plan.annotations),
        "ssl_translation_pairs": plan.pairs,
    }
    for config in plan.subsets:
        if not needs.get(config):
            known = "" if config in SUBSETS else f" Known are {', '.join(SUBSETS)}."
            raise UsageError(f"No input for the subset {config}.{known}")
    if plan.needs_dictionary and not plan.uniprot:
        raise UsageError("Articles chosen by protein names need UniProtKB files for the names.")


def _entries(plan: TextPlan) -> Iterator[Entry]:
    for file in plan.uniprot:
        with open_input(file) as source:
            for entry in read_entries(source.stream, file.name):
                if not isinstance(entry, Rejected) and not reason_to_drop(
                    entry, unreviewed=False, exclude=plan.exclude
                ):
                    yield entry


def _gene_ids(file: InputFile) -> dict[str, str]:
    with open_input(file) as source:
        return read_gene_ids(source.stream, file.name)


def _subset(
    plan: TextPlan, config: str, out: Path, work: Path, runner: "_Runner"
) -> SubsetReport | None:
    """Make one subset; None where Slurm has its jobs."""
    noted = work / config / "report.json"
    if not noted.is_file():
        tasks = read_tasks(plan, config, work / "dictionary.pickle")
        count, folder = len(tasks), work / config
        stages = dedup_stages(plan, config, tasks, folder)
        stages.append(unique_stage(plan, config, count, folder))
        contaminated: Mapping[str, str] = {}
        if plan.find_contaminated is not None:
            if not runner.run(stages, config, folder):
                return None
            contaminated = plan.find_contaminated(partial(stored_texts, folder))
        stages.append(write_stage(plan, config, count, folder, contaminated))
        if not runner.run(stages, config, folder):
            return None
        write_text(noted, json.dumps(_report(stages, config, folder), sort_keys=True))
    said = json.loads(noted.read_text(encoding="utf-8"))
    (out / config).mkdir(parents=True, exist_ok=True)
    for made, shard in said.pop("made").items():
        if (work / config / made).exists():  # a build that was killed here has moved some
            (work / config / made).rename(out / shard)
    return SubsetReport(**said)


@dataclass(frozen=True, slots=True)
class _Runner:
    """Runs stages by one of datatrove's executors."""

    where: Where
    workers: int
    options: dict[str, Any]

    def run(self, stages: Sequence[Stage], config: str, work: Path) -> bool:
        """Run the stages in order; False where Slurm has them now."""
        executor: Any = None
        for stage in stages:
            executor = self._executor(stage, config, work, executor)
            if not executor.get_incomplete_ranks():
                continue
            if self.where == "local":
                # Little input is one task, and then no stage is worth the start of processes.
                workers = min(self.workers, stages[0].tasks)
                _run_here(executor, workers, f"{config} {stage.name}")
            elif self.where == "ray":
                executor.run()
                if failed := executor.get_incomplete_ranks():
                    raise ProteinLMError(
                        f"{config} {stage.name}: {len(failed)} tasks failed on Ray. Their logs are "
                        f"in {work / 'logs' / stage.name / 'logs'}; run again to go on."
                    )
        if self.where == "slurm" and executor.get_incomplete_ranks():
            executor.run()
            return False
        return True

    def _executor(self, stage: Stage, config: str, work: Path, before: Any) -> Any:
        given: dict[str, Any] = {
            "pipeline": list(stage.steps.values()),
            "tasks": stage.tasks,
            "workers": self.workers,
            "logging_dir": str(work / "logs" / stage.name),
        }
        if self.where == "local":
            return LocalPipelineExecutor(**given)
        if self.where == "ray":
            return RayPipelineExecutor(**given | self.options)
        given |= {"job_name": f"{config}-{stage.name}", "depends": before}
        return SlurmPipelineExecutor(**given | self.options)


def _run_here(executor: LocalPipelineExecutor, workers: int, label: str) -> None:
    """Run the tasks that are not complete, on processes that end with this one."""
    try:
        run_tasks(partial(_run_rank, executor), executor.get_incomplete_ranks(), workers, label)
    finally:
        # datatrove leaves loguru with a sink of its own.
        logger.remove()
        logger.add(sys.stderr, level="WARNING")


def _run_rank(executor: LocalPipelineExecutor, rank: int) -> None:
    # A copy, as the steps count what they see. The console stays quiet: a log has it all.
    one = cast("Any", copy.deepcopy(executor))
    with contextlib.redirect_stderr(io.StringIO()):
        one._run_for_rank(rank, local_rank=1)


def _report(stages: Sequence[Stage], config: str, work: Path) -> dict[str, Any]:
    """Add up the statistics of all tasks, choose the names of the shards, and count their rows."""
    stats = {stage.name: _stats(stage, work) for stage in (stages[0], *stages[-2:])}
    first, unique, last = stats.values()
    read = first["read"]
    left_out = Counter({name: unique[name].get("dropped", 0) for name in unique})
    for counts in (read, first["filter"], last["ids"]):
        for name, count in counts.items():
            kind, _, reason = name.partition("_")
            if kind in ("rejected", "dropped") and reason:
                left_out[reason] += count
    rejected = sum(count for name, count in read.items() if name.startswith("rejected_"))
    made = sorted((work / "shards").glob("*.parquet"), key=_place)
    names = [
        f"{config}/train-{number:05d}-of-{len(made):05d}.parquet" for number in range(len(made))
    ]
    notes = [
        json.loads(path.read_text("utf-8")) for path in sorted((work / "inputs").glob("*.json"))
    ]
    told = ("insertions", "over_limit", "sequence_too_long", "misplaced")
    return {
        "read": read.get("documents", 0) + rejected,
        "kept": last["write"].get("total", 0),
        "left_out": dict(sorted((+left_out).items())),
        "insertions": {name: read[name] for name in told if read.get(name)},
        "tokens": last["tokens"].get("tokens", 0) if "tokens" in last else None,
        "made": {str(path.relative_to(work)): name for path, name in zip(made, names, strict=True)},
        "shards": {
            name: pq.read_metadata(path).num_rows for path, name in zip(made, names, strict=True)
        },
        "inputs": [file for task in notes for file in task],
        "listed": [str(path) for path in sorted((work / "left_out").rglob("*.jsonl"))],
    }


def _stats(stage: Stage, work: Path) -> dict[str, dict[str, int]]:
    """Return the counts of each step, added over the tasks, from what datatrove has saved."""
    total: dict[str, Counter[str]] = {name: Counter() for name in stage.steps}
    for rank in range(stage.tasks):
        path = work / "logs" / stage.name / "stats" / f"{rank:05d}.json"
        saved = json.loads(path.read_text(encoding="utf-8"))
        for name, step in zip(stage.steps, saved, strict=True):
            for what, value in step["stats"].items():
                # A number, or an object where datatrove has more to say of it.
                said: Any = value
                total[name][what] += int(said["total"] if isinstance(value, dict) else said)
    return {name: dict(counts) for name, counts in total.items()}


def _place(path: Path) -> tuple[int, int]:
    """Return task and number of a shard: datatrove writes the number first."""
    number, rank = path.stem.split("_")
    return int(rank), int(number)
