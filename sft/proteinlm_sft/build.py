"""Build a dataset: instruction data, texts, then the manifest that says it is whole.

What is finished lies in `OUT/.build`, so a build that was killed goes on where it stood. The
bytes depend on the inputs and the recipe alone: not on workers, folders, or the time of day.
"""

import contextlib
import errno
import json
import shutil
from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_ext.paths import write_text
from proteinlm_sft import mmseqs
from proteinlm_sft.decontaminate import count_hits, open_benchmark, read_hits
from proteinlm_sft.instructions import Made, build_instructions
from proteinlm_sft.job import Job, find_job
from proteinlm_sft.manifest import (
    FORMAT,
    file_record,
    library_versions,
    recipe_record,
    write_manifest,
)
from proteinlm_sft.recipe import Recipe
from proteinlm_sft.shards import write_gzip
from proteinlm_sft.text_build import Where
from proteinlm_sft.text_recipe import build_text_subsets

_LOCK = ".build.lock"


def build(
    recipe: Recipe,
    out: Path,
    workers: int,
    *,
    overwrite: bool = False,
    executor: Where = "local",
    executor_options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Build the dataset of a recipe in a folder and return its manifest.

    Called again after a kill, it goes on where it stood; called again on a finished dataset of
    the same recipe and inputs, it does nothing.

    Raises:
        SourceError: An input is missing or cannot be trusted.
        UsageError: The folder holds another dataset, or something else.
        ProteinLMError: The disk is full, or another build works in the folder.
    """
    job = find_job(recipe, out, workers, executor, executor_options)
    index, benchmark = None, {}
    if recipe.decontaminate != "none":
        index, benchmark = open_benchmark(recipe.benchmark_data)
        job = replace(job, benchmark=benchmark["sha256"])
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
        }
        if job.recipe.needs_mmseqs:  # missing: better told now than after an hour of reading
            manifest["versions"]["mmseqs2"] = mmseqs.version()
        if index is not None:
            manifest["contamination"] = benchmark
        made: list[Made] = []
        if job.recipe.instructions:
            made.append(build_instructions(job, index))
        if job.recipe.texts is not None:
            made.append(build_text_subsets(job, index))
        _finish(job, manifest, made)
        shutil.rmtree(job.work)
    return manifest


def _prepare(job: Job, *, overwrite: bool) -> dict[str, Any] | None:
    """Return the manifest of a finished build of the same plan, or make the folder ready."""
    digest = job.digest
    manifest, plan = job.out / "manifest.json", job.work / "plan.json"
    if manifest.is_file() and not overwrite:
        found = json.loads(manifest.read_text(encoding="utf-8"))
        if found.get("plan") == digest:
            return found
        raise UsageError(f"{job.out} holds another dataset; take another --out, or --overwrite.")
    begun = json.dumps([digest, library_versions(), job.recipe.needs_mmseqs and mmseqs.version()])
    if plan.is_file() and plan.read_text(encoding="utf-8") == begun and not overwrite:
        for leftover in (*job.work.glob(".part-*"), *job.work.glob("decisions/*.tsv.*")):
            shutil.rmtree(leftover)  # of a build that was killed
        return None
    found = sorted(path.name for path in job.out.iterdir() if path.name != _LOCK)
    if found and not (_is_ours(manifest) or plan.is_file()):
        raise UsageError(
            f"{job.out} holds other files ({', '.join(found[:5])}); take an empty folder for --out."
        )
    manifest.unlink(missing_ok=True)  # first: without it nothing counts as finished
    for path in filter(Path.exists, (job.out / name for name in found)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_text(plan, begun)
    return None


def _is_ours(manifest: Path) -> bool:
    try:
        return "proteinlm-ext" in json.loads(manifest.read_text(encoding="utf-8"))["versions"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _finish(job: Job, manifest: dict[str, Any], made: list[Made]) -> None:
    """Write what stands beside the shards, the manifest last."""
    shards: dict[str, dict[Path, int]] = {}
    for half in made:
        manifest["configs"] |= half.record.pop("configs")
        manifest |= half.record
        shards |= half.shards
    manifest["files"] = {
        str(path.relative_to(job.out)): file_record(path, rows)
        for named in shards.values()
        for path, rows in named.items()
    }
    write_gzip(job.out / "left_out.jsonl.gz", (line for half in made for line in half.left_out))
    if "contamination" in manifest:
        hits = [hit for path in sorted(job.hits.glob("*.jsonl")) for hit in read_hits(path)]
        lines = sorted(json.dumps(hit, sort_keys=True) for hit in hits)
        write_text(job.out / "contamination.jsonl", "".join(f"{line}\n" for line in lines))
        manifest["contamination"]["dropped"] = count_hits(hits)
    write_manifest(job.out, manifest)


@contextlib.contextmanager
def _alone(out: Path) -> Generator[None]:
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
def _disk_errors(out: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ProteinLMError(
                f"The disk that holds {out} is full. Free some space and run the same command "
                "again: what is finished is kept."
            ) from error
        raise ProteinLMError(f"Could not write to {out}: {error}") from error
