"""The SSL subsets as datatrove pipelines: which stages, in which order, on how many tasks.

Each subset: read and filter; drop repeated ids, then repeated texts, then near-duplicates
(MinHash); write Parquet. Of several versions the one in the last file stays (an update file of
PubMed comes after the baseline), within a file the first; of near-duplicates one stays by rank.
All follows from the inputs, whatever the number of workers. Memory grows with the documents of one
task (datatrove holds their hashes, some 200 bytes a document): files should have millions at most.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup import (
    ExactDedupConfig,
    ExactDedupFilter,
    ExactDedupSignature,
    ExactFindDedups,
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
)
from datatrove.pipeline.tokens import TokensCounter
from datatrove.pipeline.writers import JsonlWriter

from proteinlm_sft.inputs import InputFile
from proteinlm_sft.recipe import Exclude
from proteinlm_sft.text_readers import (
    Parser,
    ReadTask,
    Selection,
    TextReader,
    annotation_documents,
    mention_documents,
    pair_documents,
    pmc_documents,
    pubmed_documents,
    uniprot_documents,
)
from proteinlm_sft.text_steps import IdFilter, LeftOut, NearSignature, Shards, Stored, TextFilter

SUBSETS = (
    "ssl_uniprot",
    "ssl_pubmed",
    "ssl_pmc",
    "ssl_sequence_in_abstract",
    "ssl_translation_pairs",
)
# datatrove's defaults: 14 bands of 8 hashes of 5-grams find 92% of the pairs with Jaccard 0.8.
_BANDS, _ROWS, _GRAM = 14, 8, 5

Texts = Callable[[], Iterator[tuple[str, str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPlan:
    """What is made from which files.

    Attributes:
        subsets: Names out of `SUBSETS`.
        uniprot: UniProtKB files, for `ssl_uniprot` and for the dictionary of names.
        pubmed: PubMed XML or JSON Lines.
        pmc: JATS XML or JSON Lines.
        annotations: PubTator, BioC XML or BioC JSON, beside the names found in `pubmed`.
        pairs: Chinese/English pairs, TSV or JSON Lines.
        gene_ids: UniProt's `idmapping.dat`, for annotations with NCBI Gene ids.
        pmids: Take the articles of PMC with these pmids (SIFTS `pdb_pubmed.csv`).
        select_by_names: Take the articles of PMC that name a protein of the dictionary.
        holdout: Accessions of validation and test, and sha256 (hex) of their sequences, for other
            entries with the same: no document and no inserted sequence.
        unreviewed: Take unreviewed entries into `ssl_uniprot`.
        exclude: Proteins without document and without inserted sequence.
        releases: Release of a subset's source by its name, where it is known.
        contaminated: Gives the reason to drop a text by itself, or None; picklable.
        find_contaminated: Given a function that streams id and text of all unique documents of a
            subset, returns the ids to drop with their reasons.
        tokenizer: Path of a `tokenizer.json` to count tokens with.
        near_duplicates: Whether MinHash runs.
        seed: For the hashes of MinHash.
        shard_bytes: Size after which a shard ends, compressed.
        task_bytes: Files are read together until they have so many bytes, as stored.
    """

    subsets: tuple[str, ...]
    uniprot: tuple[InputFile, ...] = ()
    pubmed: tuple[InputFile, ...] = ()
    pmc: tuple[InputFile, ...] = ()
    annotations: tuple[InputFile, ...] = ()
    pairs: tuple[InputFile, ...] = ()
    gene_ids: InputFile | None = None
    pmids: frozenset[str] | None = None
    select_by_names: bool = False
    holdout: frozenset[str] = frozenset()
    unreviewed: bool = False
    exclude: Exclude = field(default_factory=Exclude)
    releases: Mapping[str, str] = field(default_factory=dict[str, str])
    contaminated: Callable[[str], str | None] | None = None
    find_contaminated: Callable[[Texts], Mapping[str, str]] | None = None
    tokenizer: str | None = None
    near_duplicates: bool = True
    seed: int = 42
    shard_bytes: int = 256 << 20
    task_bytes: int = 64 << 20

    @property
    def needs_dictionary(self) -> bool:
        """Tell whether a subset looks for names of proteins."""
        return "ssl_sequence_in_abstract" in self.subsets or (
            "ssl_pmc" in self.subsets and self.select_by_names
        )


@dataclass(frozen=True, slots=True)
class Stage:
    """One datatrove pipeline: its steps by a name for their statistics, and its tasks."""

    name: str
    steps: Mapping[str, PipelineStep]
    tasks: int


def read_tasks(plan: TextPlan, config: str, dictionary: Path) -> list[ReadTask]:
    """Return the tasks of a subset: neighbouring files of one kind, up to a size in bytes."""
    release = plan.releases.get(config, "unspecified")
    sources: dict[str, list[tuple[Callable[..., Any], Sequence[InputFile]]]] = {
        "ssl_uniprot": [
            (
                partial(
                    uniprot_documents,
                    holdout=plan.holdout,
                    unreviewed=plan.unreviewed,
                    exclude=plan.exclude,
                ),
                plan.uniprot,
            )
        ],
        "ssl_pubmed": [(pubmed_documents, plan.pubmed)],
        "ssl_pmc": [
            (
                partial(
                    pmc_documents,
                    selection=Selection(plan.pmids, dictionary if plan.select_by_names else None),
                ),
                plan.pmc,
            )
        ],
        "ssl_sequence_in_abstract": [
            (partial(mention_documents, dictionary=dictionary), plan.pubmed),
            (partial(annotation_documents, dictionary=dictionary), plan.annotations),
        ],
        "ssl_translation_pairs": [(pair_documents, plan.pairs)],
    }
    tasks: list[ReadTask] = []
    number = 0
    for parser, files in sources[config]:
        numbered = list(enumerate(files, number))
        number += len(numbered)
        tasks += _grouped(partial(parser, release=release), numbered, plan.task_bytes)
    return tasks


def dedup_stages(plan: TextPlan, config: str, tasks: list[ReadTask], work: Path) -> list[Stage]:
    """Return the stages up to the knowledge of which documents are duplicates."""
    count = len(tasks)
    read = {
        "read": TextReader(tasks, LeftOut(work / "left_out/1-read", config), work / "inputs"),
        "filter": TextFilter(LeftOut(work / "left_out/2-filter", config), plan.contaminated),
        "keep": JsonlWriter(str(work / "documents"), compression=None),
        "sign": ExactDedupSignature(str(work / "same_id/signs"), _EXACT["same_id"]),
    }
    sign_text = _stored(work, "same_id") | {
        "sign": ExactDedupSignature(str(work / "same_text/signs"), _EXACT["same_text"])
    }
    stages = [
        Stage("1-read", read, count),
        Stage("2-same-id", {"find": _find(work, "same_id")}, 1),
        Stage("3-sign-text", sign_text, count),
        Stage("4-same-text", {"find": _find(work, "same_text")}, 1),
    ]
    return stages + (_near_stages(plan, config, count, work) if plan.near_duplicates else [])


def unique_stage(plan: TextPlan, config: str, count: int, work: Path) -> Stage:
    """Return the stage that drops and lists duplicates of all three kinds."""

    def listed(reason: str) -> LeftOut:
        return LeftOut(work / "left_out" / f"3-{reason}", config, reason)

    steps = _stored(work, "same_id", "same_text", left_out=listed)
    if plan.near_duplicates:
        remove = str(work / "near/remove")
        steps["near_duplicate"] = MinhashDedupFilter(remove, listed("near_duplicate"))
    steps["keep"] = JsonlWriter(str(work / "unique"), compression=None)
    return Stage("8-unique", steps, count)


def write_stage(
    plan: TextPlan, config: str, count: int, work: Path, contaminated: Mapping[str, str]
) -> Stage:
    """Return the last stage: all unique documents but the contaminated ones become Parquet."""
    steps: dict[str, PipelineStep] = {
        "stored": Stored(work / "unique"),
        "ids": IdFilter(LeftOut(work / "left_out/4-contaminated", config), contaminated),
    }
    if plan.tokenizer:
        steps["tokens"] = TokensCounter(plan.tokenizer, batch_size=1000)
    steps["write"] = Shards(work / "shards", plan.shard_bytes)
    return Stage("9-write", steps, count)


def stored_texts(work: Path) -> Iterator[tuple[str, str]]:
    """Give id and text of the unique documents."""
    for path in sorted((work / "unique").glob("*.jsonl")):
        with path.open("rb") as lines:
            for line in lines:
                document = orjson.loads(line)
                yield document["id"], document["text"]


def _near_stages(plan: TextPlan, config: str, count: int, work: Path) -> list[Stage]:
    near = MinhashConfig(n_grams=_GRAM, num_buckets=_BANDS, hashes_per_bucket=_ROWS, seed=plan.seed)
    signs, pairs, remove = (str(work / "near" / name) for name in ("signs", "pairs", "remove"))
    counted = config != "ssl_sequence_in_abstract"
    sign = _stored(work, "same_id", "same_text") | {
        "sign": NearSignature(work / "near/signs", near, sequences=counted)
    }
    return [
        Stage("5-sign-near", sign, count),
        Stage("6-bands", {"pair": MinhashDedupBuckets(signs, pairs, config=near)}, _BANDS),
        Stage("7-cluster", {"cluster": MinhashDedupCluster(pairs, remove, config=near)}, 1),
    ]


def _stored(
    work: Path, *repeated: str, left_out: Callable[[str], LeftOut] | None = None
) -> dict[str, PipelineStep]:
    """Return the steps that read the stored documents and drop repeated ones, listed on demand."""
    steps: dict[str, PipelineStep] = {"stored": Stored(work / "documents")}
    for reason in repeated:
        listed = left_out(reason) if left_out else None
        found = str(work / reason / "found")
        steps[reason] = ExactDedupFilter(found, _EXACT[reason], listed)
    return steps


def _find(work: Path, reason: str) -> ExactFindDedups:
    signs, found = str(work / reason / "signs"), str(work / reason / "found")
    return ExactFindDedups(signs, found, _EXACT[reason])


def _id(document: Document) -> bytes:
    return document.id.encode()


def _text(document: Document) -> bytes:
    return document.text.encode()


def _priority(document: Document) -> int:
    """Return 1 and up by file: of equals the highest stays (datatrove takes at most 65535)."""
    return min(document.metadata["file"] + 1, 65535)


_EXACT = {
    "same_id": ExactDedupConfig(_id, _priority),
    "same_text": ExactDedupConfig(_text, _priority),
}


def _grouped(
    parser: Parser, files: Iterable[tuple[int, InputFile]], limit: int
) -> Iterator[ReadTask]:
    group: list[tuple[int, InputFile]] = []
    for item in files:
        group.append(item)
        if sum(file.size for _, file in group) >= limit:
            yield ReadTask(parser, tuple(group))
            group = []
    if group:
        yield ReadTask(parser, tuple(group))
