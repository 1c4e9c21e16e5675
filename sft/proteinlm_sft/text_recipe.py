"""From a recipe to the plan of its SSL texts, and what the manifest says of them."""

import gzip
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from proteinlm_ext.errors import UsageError
from proteinlm_sft.decontaminate import find_until_clean, write_hits
from proteinlm_sft.inputs import InputFile, find_inputs, open_input
from proteinlm_sft.instructions import HELD_OUT_FILE, Made
from proteinlm_sft.job import Job
from proteinlm_sft.question_index import QuestionIndex, TextUnit
from proteinlm_sft.recipe import Recipe
from proteinlm_sft.sifts import read_sifts_pubmed
from proteinlm_sft.text_build import SubsetReport, TextReport, build_texts
from proteinlm_sft.text_plan import TextPlan

PUBMED_SUFFIXES = (".xml", ".jsonl")
PMC_SUFFIXES = (".xml", ".nxml", ".jsonl")


def build_text_subsets(job: Job, index: QuestionIndex | None) -> Made:
    """Make the texts of a job without the proteins that instruction data hold out.

    Args:
        job: With `texts` in its recipe.
        index: The benchmark's questions, or None to keep the texts that hold them.
    """
    texts = job.recipe.texts
    assert texts is not None  # noqa: S101 - the caller looked
    lists = [job.out / HELD_OUT_FILE] if job.recipe.instructions else []
    if texts.holdout:
        lists.append(Path(texts.holdout) / HELD_OUT_FILE)
    plan = _plan(job.recipe, job.uniprot, _held_out(lists), index, job.hits)
    report = build_texts(
        plan, job.out, job.work / "texts", job.workers, job.executor, job.executor_options
    )
    return Made(
        record={
            "configs": {name: _record(subset) for name, subset in report.subsets.items()},
            "names_of_proteins": dict(report.dictionary),
        },
        shards={
            name: {job.out / shard: rows for shard, rows in subset.shards.items()}
            for name, subset in report.subsets.items()
        },
        left_out=_left_out(report),
    )


def _plan(
    recipe: Recipe,
    uniprot: tuple[InputFile, ...],
    holdout: frozenset[str],
    index: QuestionIndex | None,
    work: Path,
) -> TextPlan:
    """Return the plan of the texts that a recipe asks for.

    Args:
        recipe: With `texts`.
        uniprot: UniProtKB files, for documents and for the names of proteins.
        holdout: Accessions and sequence hashes of what must not be in the texts.
        index: The benchmark's questions, or None to keep what holds them.
        work: Where the hits are written, one file a subset.

    Raises:
        SourceError: An input is missing.
        UsageError: A subset lacks an input that it needs.
    """
    texts = recipe.texts
    assert texts is not None  # noqa: S101 - the caller looked
    asked = {
        "ssl_uniprot": texts.uniprot and bool(uniprot),
        "ssl_pubmed": bool(texts.pubmed),
        "ssl_pmc": bool(texts.pmc),
        "ssl_sequence_in_abstract": texts.sequence_in_abstract,
        "ssl_translation_pairs": bool(texts.pairs),
    }
    subsets = tuple(config for config, wanted in asked.items() if wanted)
    if not subsets:
        raise UsageError("No text was asked for: name files for one of the five subsets.")

    def found(patterns: tuple[str, ...], suffixes: tuple[str, ...] = ()) -> tuple[InputFile, ...]:
        return tuple(find_inputs(patterns, suffixes)) if patterns else ()

    pmids = None
    if texts.pmc_selection:
        (file,) = find_inputs([texts.pmc_selection])
        with open_input(file) as source:
            pmids = read_sifts_pubmed(source.stream, file.name)
    return TextPlan(
        subsets=subsets,
        uniprot=uniprot,
        pubmed=found(texts.pubmed, PUBMED_SUFFIXES),
        pmc=found(texts.pmc, PMC_SUFFIXES),
        annotations=found(texts.annotations),
        pairs=found(texts.pairs),
        gene_ids=found((texts.gene_ids,))[0] if texts.gene_ids else None,
        pmids=pmids,
        select_by_names=texts.pmc_by_names,
        holdout=holdout,
        unreviewed=recipe.unreviewed,
        exclude=recipe.exclude,
        tokenizer=texts.tokenizer,
        releases={"ssl_uniprot": recipe.release} if recipe.release else {},
        find_contaminated=None if index is None else partial(_contaminated, index, work),
        seed=recipe.seed,
        shard_bytes=recipe.shard_megabytes << 20,
    )


def _held_out(lists: Collection[Path]) -> frozenset[str]:
    """Return accessions and sequence hashes that must not be in the texts.

    Another entry with the same sequence would give the same answers away.

    Raises:
        UsageError: A list is missing.
    """
    names: set[str] = set()
    for path in lists:
        if not path.is_file():
            raise UsageError(f"--holdout: {path} is missing. Name a dataset of `data sft`.")
        with gzip.open(path, "rt", encoding="ascii") as lines:
            names.update(name for line in lines for name in line.split())
    return frozenset(names)


def _record(report: SubsetReport) -> dict[str, Any]:
    """Return the counts of one subset in the manifest's form."""
    return {
        "read": report.read,
        "kept": {"train": report.kept},
        "left_out": {reason: {"train": count} for reason, count in report.left_out.items()},
        "insertions": dict(report.insertions),
        "tokens": report.tokens,
        "inputs": [dict(entry) for entry in report.inputs],
    }


def _left_out(report: TextReport) -> Iterator[str]:
    for subset in report.subsets.values():
        for path in subset.listed:
            with Path(path).open(encoding="utf-8") as lines:
                yield from lines


def _contaminated(
    index: QuestionIndex, work: Path, texts: Callable[[], Iterable[tuple[str, str]]]
) -> Mapping[str, str]:
    def units() -> Iterator[TextUnit]:
        return (TextUnit(name, text) for name, text in texts())

    hits = find_until_clean(index, units)
    ids = sorted({hit.unit_id for hit in hits})
    name = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
    write_hits(work / f"{name}.jsonl", hits)
    return dict.fromkeys(ids, "contaminated")
