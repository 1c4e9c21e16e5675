"""The seven configs of instruction data: read, look for the benchmark, decide, write."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from proteinlm_ext.errors import ProteinLMError
from proteinlm_sft.assemble import AssembleTask, assemble, left_out
from proteinlm_sft.contamination import find_contamination
from proteinlm_sft.decontaminate import read_hits, staged_rows, write_hits
from proteinlm_sft.inputs import file_sha256
from proteinlm_sft.job import Job
from proteinlm_sft.manifest import split_counts, sum_counts
from proteinlm_sft.question_index import Hit, QuestionIndex
from proteinlm_sft.rows import CONFIGS, ENZYME_CONFIG
from proteinlm_sft.shards import write_gzip
from proteinlm_sft.splits import COUNTS, HELD_OUT, RANDOM_LEAKS, Decisions, decide
from proteinlm_sft.stage import StageTask, load_nomenclature, stage_file
from proteinlm_sft.workers import run_tasks

HELD_OUT_FILE = "held_out.tsv.gz"
_ROUNDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What one half of a build made.

    `record` goes into the manifest; `shards` are by config, with their rows; `left_out` gives the
    lines of what was read and is in no shard.
    """

    record: dict[str, Any]
    shards: dict[str, dict[Path, int]]
    left_out: Iterator[str]


def build_instructions(job: Job, index: QuestionIndex | None) -> Made:
    """Make the instruction data of a job.

    Args:
        job: With UniProtKB files.
        index: The benchmark's questions, or None to keep the rows that hold them.
    """
    parts = tuple(job.work / f"part-{number:05d}" for number in range(len(job.uniprot)))
    nomenclature = _nomenclature(job)
    reading = [
        StageTask(file, part, job.recipe, job.enzyme, job.sifts)
        for file, part in zip(job.uniprot, parts, strict=True)
    ]
    run_tasks(stage_file, reading, job.workers, "reading")
    decisions = _decide(job, parts, index)
    write_gzip(job.out / HELD_OUT_FILE, (job.work / "decisions" / HELD_OUT).open(encoding="ascii"))
    joined = "ENZYME by SIFTS" if job.sifts else "ENZYME"
    if job.recipe.mode == "paper":
        joined += ", not the paper's IUBMB pages"
    writing = [
        AssembleTask(
            config=config,
            parts=parts,
            decisions=decisions.files,
            out=job.out,
            mode=job.recipe.mode,
            release=job.recipe.release or "unspecified",
            source_suffix=f" + {joined}" if config == ENZYME_CONFIG else "",
            views=job.recipe.views,
            shard_bytes=job.recipe.shard_megabytes << 20,
        )
        for config in CONFIGS
    ]
    shards = run_tasks(assemble, writing, job.workers, "writing")
    reports = [json.loads((part / "report.json").read_text("utf-8")) for part in parts]
    leaks = {"leaks": RANDOM_LEAKS} if job.recipe.split_by == "random" else {}
    return Made(
        record=leaks
        | {
            "inputs": reports,
            "entries": sum_counts(reports),
            "nomenclature": nomenclature,
            "configs": split_counts(decisions.counts),
        },
        shards=dict(zip(CONFIGS, shards, strict=True)),
        left_out=_left_out(parts, decisions.files),
    )


def _nomenclature(job: Job) -> dict[str, Any]:
    """Return what the manifest says of the enzyme tables."""
    enzymes = load_nomenclature(job.enzyme, job.sifts).enzymes
    said = {
        name: {"file": file.name, "sha256": file_sha256(file)}
        for name, file in (("enzyme", job.enzyme), ("sifts", job.sifts))
        if file is not None
    }
    if enzymes is None:
        return said
    return said | {
        "enzyme": said["enzyme"]
        | {
            "release": enzymes.release,
            "numbers": len(enzymes.enzymes),
            "rejected": [f"{found.accession}: {found.reason}" for found in enzymes.rejected],
        }
    }


def _decide(job: Job, parts: Sequence[Path], index: QuestionIndex | None) -> Decisions:
    """Decide on all rows; look again for questions in what stays, until there is none.

    How rare a word is depends on the rows that are there, so a weak hit can show once others left.
    """
    work, noted = job.work / "decisions", job.hits / "instructions.jsonl"
    if index is None:
        return decide(parts, (), job.recipe, work, job.workers)
    if not noted.is_file():
        write_hits(noted, find_contamination(index, partial(staged_rows, parts)))
    for _ in range(_ROUNDS):
        hits = [_hit(said) for said in read_hits(noted)]
        contaminated = sorted({hit.unit_id for hit in hits})
        decisions = decide(parts, contaminated, job.recipe, work, job.workers)
        left = partial(staged_rows, parts, decisions.files)
        if not (fresh := find_contamination(index, left)):
            return decisions
        # In this order: a build that is killed in between decides again.
        (work / COUNTS).unlink()
        write_hits(noted, sorted({*hits, *fresh}))
    raise ProteinLMError(
        f"After {_ROUNDS} rounds there are still rows with benchmark questions. This is not "
        "expected: please report it with the recipe, or build with --no_decontaminate."
    )


def _hit(said: dict[str, Any]) -> Hit:
    first, last = said.pop("where")  # a list in JSON, which no set takes
    return Hit(**said, where=(first, last))


def _left_out(parts: Sequence[Path], decisions: Sequence[Path]) -> Iterator[str]:
    for part in parts:
        with (part / "rejected.jsonl").open(encoding="utf-8") as lines:
            yield from lines
    for row in left_out(parts, decisions):
        yield json.dumps(row, sort_keys=True) + "\n"
