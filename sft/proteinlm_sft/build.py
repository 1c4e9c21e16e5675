"""Build a dataset: stage the inputs, decide on every row, assemble the shards, manifest last.

What is finished lies in `OUT/.build`, so a build that was killed goes on where it stood. The
bytes depend on the inputs and the recipe alone: not on workers, folders, or the time of day.
"""

import contextlib
import errno
import gzip
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_ext.paths import write_text
from proteinlm_sft.assemble import AssembleTask, assemble, left_out
from proteinlm_sft.entry import SourceError
from proteinlm_sft.enzyme import read_enzymes
from proteinlm_sft.inputs import InputFile, find_inputs, open_input
from proteinlm_sft.manifest import (
    FORMAT,
    file_record,
    library_versions,
    plan_digest,
    recipe_record,
    split_counts,
    sum_counts,
    write_manifest,
)
from proteinlm_sft.recipe import Recipe
from proteinlm_sft.rows import CONFIGS, ENZYME_CONFIG, Nomenclature
from proteinlm_sft.sifts import read_sifts_enzymes
from proteinlm_sft.splits import Decisions, decide
from proteinlm_sft.stage import UNIPROT_SUFFIXES, StageTask, stage_file
from proteinlm_sft.workers import run_tasks

_LOCK = ".build.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One build: the recipe with its input files found, and where it goes."""

    recipe: Recipe
    uniprot: tuple[InputFile, ...]
    enzyme: InputFile | None
    sifts: InputFile | None
    out: Path
    workers: int

    @property
    def work(self) -> Path:
        """Return the folder for what is finished before the whole is."""
        return self.out / ".build"

    @property
    def digest(self) -> str:
        """Return the hash of the plan: recipe, and names and sizes of the inputs."""
        files = (*self.uniprot, *filter(None, (self.enzyme, self.sifts)))
        return plan_digest(self.recipe, files)


def build(recipe: Recipe, out: Path, workers: int, *, overwrite: bool = False) -> dict[str, Any]:
    """Build the dataset of a recipe in a folder and return its manifest.

    Called again after a kill, it goes on where it stood; called again on a finished dataset of
    the same recipe and inputs, it does nothing.

    Raises:
        SourceError: An input is missing or cannot be trusted.
        UsageError: The folder holds another dataset, or something else.
        ProteinLMError: The disk is full, or another build works in the folder.
    """
    job = _find(recipe, out, workers)
    with _disk_errors(out), _alone(out):
        if finished := _prepare(job, overwrite=overwrite):
            return finished
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "plan": job.digest,
            "name": job.recipe.name,
            "recipe": recipe_record(job.recipe),
            "versions": library_versions(),
            "configs": {},
            "files": {},
        }
        shards: dict[str, dict[Path, int]] = {}
        if job.recipe.instructions:
            shards |= _build_instructions(job, manifest)
        for path, rows in (item for made in shards.values() for item in made.items()):
            manifest["files"][str(path.relative_to(out))] = file_record(path, rows)
        write_manifest(out, manifest, shards)
        shutil.rmtree(job.work)
    return manifest


def _find(recipe: Recipe, out: Path, workers: int) -> Job:
    uniprot = tuple(find_inputs(recipe.uniprot, UNIPROT_SUFFIXES)) if recipe.uniprot else ()
    release = _release(uniprot, recipe.release)
    return Job(
        recipe=recipe.model_copy(update={"release": release}),
        uniprot=uniprot,
        enzyme=find_inputs([recipe.enzyme])[0] if recipe.enzyme else None,
        sifts=find_inputs([recipe.sifts])[0] if recipe.sifts else None,
        out=out,
        workers=workers,
    )


def _release(files: Sequence[InputFile], asked: str | None) -> str | None:
    """Return the release that was asked for or that `proteinlm data fetch` noted by the files."""
    found: dict[str, str] = {}
    for file in files:
        note = Path(file.path).with_name("fetch.json")
        if note.is_file():
            found.setdefault(json.loads(note.read_text(encoding="utf-8"))["release"], file.path)
    if asked is not None:
        found.setdefault(asked, "the recipe or --release")
    if len(found) > 1:
        said = ", ".join(f"{release} ({where})" for release, where in sorted(found.items()))
        raise SourceError(f"Files of several releases are mixed: {said}. Take one release.")
    return next(iter(found), None)


def _prepare(job: Job, *, overwrite: bool) -> dict[str, Any] | None:
    """Return the manifest of a finished build of the same plan, or make the folder ready."""
    digest = job.digest
    manifest, plan = job.out / "manifest.json", job.work / "plan.json"
    if manifest.is_file() and not overwrite:
        found = json.loads(manifest.read_text(encoding="utf-8"))
        if found["plan"] == digest:
            return found
        raise UsageError(f"{job.out} holds another dataset; take another --out, or --overwrite.")
    if plan.is_file() and plan.read_text(encoding="utf-8") == digest and not overwrite:
        return None
    found = sorted(path.name for path in job.out.iterdir() if path.name != _LOCK)
    if found and not (manifest.is_file() or plan.is_file()):
        raise UsageError(
            f"{job.out} holds other files ({', '.join(found[:5])}); take an empty folder for --out."
        )
    for name in found:
        path = job.out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_text(plan, digest)
    return None


def _build_instructions(job: Job, manifest: dict[str, Any]) -> dict[str, dict[Path, int]]:
    """Make the seven configs of instruction data; note in the manifest what went in and out."""
    parts = tuple(job.work / f"part-{number:05d}" for number in range(len(job.uniprot)))
    tables, manifest["nomenclature"] = _nomenclature(job)
    tasks = [
        StageTask(file, part, job.recipe) for file, part in zip(job.uniprot, parts, strict=True)
    ]
    run_tasks(partial(stage_file, nomenclature=tables), tasks, job.workers, "reading")
    decisions = decide(parts, (), job.recipe, job.work / "decisions", job.workers)
    shards = _assemble(job, parts, decisions)
    _write_left_out(job.out / "left_out.jsonl.gz", parts, decisions)
    reports = [json.loads((part / "report.json").read_text("utf-8")) for part in parts]
    manifest["inputs"] = reports
    manifest["entries"] = sum_counts(reports)
    manifest["configs"] |= split_counts(decisions.counts)
    return shards


def _nomenclature(job: Job) -> tuple[Nomenclature, dict[str, Any]]:
    """Return the enzyme tables, and what the manifest says of their files."""
    enzymes = sifts = None
    said: dict[str, Any] = {}
    if job.enzyme is not None:
        with open_input(job.enzyme) as source:
            enzymes = read_enzymes(source.stream, job.enzyme.name)
            said["enzyme"] = {
                "file": job.enzyme.name,
                "sha256": source.sha256(),
                "release": enzymes.release,
                "numbers": len(enzymes.enzymes),
                "rejected": [f"{found.accession}: {found.reason}" for found in enzymes.rejected],
            }
    if job.sifts is not None:
        with open_input(job.sifts) as source:
            sifts = read_sifts_enzymes(source.stream, job.sifts.name)
            said["sifts"] = {"file": job.sifts.name, "sha256": source.sha256()}
    return Nomenclature(enzymes, sifts), said


def _assemble(
    job: Job, parts: tuple[Path, ...], decisions: Decisions
) -> dict[str, dict[Path, int]]:
    nomenclature = "SIFTS" if job.sifts else "ENZYME"
    tasks = [
        AssembleTask(
            config=config,
            parts=parts,
            decisions=decisions.files,
            out=job.out,
            mode=job.recipe.mode,
            release=job.recipe.release or "unspecified",
            source_suffix=f" + {nomenclature}" if config == ENZYME_CONFIG else "",
            views=job.recipe.views,
            shard_bytes=job.recipe.shard_megabytes << 20,
        )
        for config in CONFIGS
    ]
    made = run_tasks(assemble, tasks, job.workers, "writing")
    return {task.config: shards for task, shards in zip(tasks, made, strict=True)}


def _write_left_out(path: Path, parts: Sequence[Path], decisions: Decisions) -> None:
    """Write the rows that went nowhere and the entries that were rejected; gzip without a date."""
    temporary = path.with_name(f".{path.name}")
    with temporary.open("wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as out:
        for part in parts:
            with (part / "rejected.jsonl").open("rb") as lines:
                shutil.copyfileobj(lines, out)
        for row in left_out(parts, decisions.files):
            out.write(json.dumps(row, sort_keys=True).encode() + b"\n")
    temporary.replace(path)


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep a second build out of the folder; the lock goes with the process."""
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / _LOCK)
    try:
        with lock.acquire(timeout=0):
            yield
    except Timeout as error:
        raise ProteinLMError(
            f"Another build works in {out}; wait for it, or take another --out."
        ) from error
    (out / _LOCK).unlink(missing_ok=True)


@contextlib.contextmanager
def _disk_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ProteinLMError(
                f"The disk that holds {out} is full. Free some space and run the same command "
                "again: what is finished is kept."
            ) from error
        raise ProteinLMError(f"Could not write to {out}: {error}") from error
