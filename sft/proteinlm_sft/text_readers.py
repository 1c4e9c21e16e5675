"""From input files to documents of the SSL subsets, and the datatrove block that reads them.

A document's metadata say where it is from and what may be done with it; `accessions` are the
proteins whose sequences it holds.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep

from proteinlm_ext.paths import write_text
from proteinlm_sft.bioc import Annotated, read_bioc_json, read_bioc_xml, read_pubtator
from proteinlm_sft.chosen import reason_to_drop
from proteinlm_sft.entry import Rejected
from proteinlm_sft.inputs import InputFile, open_input
from proteinlm_sft.jats import Article, read_jats, read_pmc_jsonl
from proteinlm_sft.mentions import (
    Dictionary,
    annotated_mentions,
    find_mentions,
    insert_sequences,
    load_dictionary,
)
from proteinlm_sft.pairs import read_pairs_jsonl, read_pairs_tsv
from proteinlm_sft.pubmed import Abstract, read_pubmed_jsonl, read_pubmed_xml
from proteinlm_sft.recipe import Exclude
from proteinlm_sft.stage import read_entries
from proteinlm_sft.text_steps import LeftOut
from proteinlm_sft.uniprot_text import is_held_out, uniprot_text

ABSTRACT_LICENSE = "unknown (PubMed abstract)"
_UNIPROT_LICENSE = "CC-BY-4.0"

Counts = Counter[str]
Parser = Callable[[BinaryIO, str, Counts], Iterable[Document | Rejected]]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which articles of PMC are taken: those with one of the pmids, or that name a protein.

    With neither `pmids` nor `dictionary` all are.
    """

    pmids: frozenset[str] | None = None
    dictionary: Path | None = None

    def takes(self, article: Article) -> bool:
        """Tell whether the article is selected."""
        if self.pmids is None and self.dictionary is None:
            return True
        if self.pmids is not None and article.pmid in self.pmids:
            return True
        return self.dictionary is not None and any(
            find_mentions(load_dictionary(self.dictionary), article.text)
        )


@dataclass(frozen=True, slots=True)
class ReadTask:
    """What one task reads: files with their numbers in the subset, all by one parser."""

    parser: Parser
    files: tuple[tuple[int, InputFile], ...]


class TextReader(PipelineStep):
    """Reads the files of a task and hands on documents; lists and counts what was rejected."""

    type = "READER"
    name = "Texts"

    def __init__(self, tasks: list[ReadTask], left_out: LeftOut, notes: Path) -> None:
        """Keep what to read, where rejections go, and where file hashes are noted."""
        super().__init__()
        self.tasks, self.left_out, self.notes = tasks, left_out, notes

    def run(
        self,
        data: Any = None,  # noqa: ARG002 - datatrove's signature
        rank: int = 0,
        world_size: int = 1,  # noqa: ARG002
    ) -> Iterator[Document]:
        """Give the documents of the task with this rank."""
        task, noted = self.tasks[rank], list[dict[str, Any]]()
        with self.left_out as left_out:
            for number, file in task.files:
                counts = Counts()
                with open_input(file) as source:
                    for item in task.parser(source.stream, file.name, counts):
                        if isinstance(item, Rejected):
                            counts[f"rejected_{item.reason}"] += 1
                            left_out.write(_rejection(item), rank)
                            continue
                        item.metadata["file"] = number
                        counts["documents"] += 1
                        yield item
                    digest = source.sha256()
                noted.append({"file": file.name, "bytes": file.size, "sha256": digest})
                for name, count in counts.items():
                    self.stat_update(name, value=count)
        write_text(self.notes / f"{rank:05d}.json", json.dumps(noted))


def uniprot_documents(
    stream: BinaryIO,
    name: str,
    counts: Counts,  # noqa: ARG001
    *,
    holdout: frozenset[str],
    unreviewed: bool,
    exclude: Exclude,
    release: str,
) -> Iterator[Document | Rejected]:
    """Give a document for each entry, those of validation and test apart."""
    for entry in read_entries(stream, name):
        if isinstance(entry, Rejected):
            yield entry
        elif reason := reason_to_drop(entry, unreviewed=unreviewed, exclude=exclude):
            yield Rejected(entry.accession, reason, "")
        elif is_held_out(entry, holdout):
            yield Rejected(entry.accession, "held_out", "its protein is in validation or test")
        else:
            yield _document(
                f"uniprot:{entry.accession}",
                uniprot_text(entry),
                source="UniProtKB/Swiss-Prot" if entry.reviewed else "UniProtKB/TrEMBL",
                license=_UNIPROT_LICENSE,
                release=release,
                accessions=[entry.accession],
                details={"entry_name": entry.entry_name, "organism": entry.organism},
            )


def pubmed_documents(
    stream: BinaryIO,
    name: str,
    counts: Counts,  # noqa: ARG001
    *,
    release: str,
) -> Iterator[Document | Rejected]:
    """Give title and abstract of each record; the text is "" where there is no abstract."""
    for found in _abstracts(stream, name):
        yield found if isinstance(found, Rejected) else _abstract_document(found, release)


def pmc_documents(
    stream: BinaryIO,
    name: str,
    counts: Counts,  # noqa: ARG001
    *,
    selection: Selection,
    release: str,
) -> Iterator[Document | Rejected]:
    """Give the full text of each selected article."""
    read = read_jats if _is_xml(name) else read_pmc_jsonl
    for found in read(stream, name):
        if isinstance(found, Rejected):
            yield found
        elif not selection.takes(found):
            yield Rejected(_article_id(found), "not_selected", "")
        else:
            yield _document(
                _article_id(found),
                found.text,
                source="PMC",
                license=found.license,
                release=release,
                pmid=found.pmid,
                pmcid=found.pmcid,
                doi=found.doi,
                details={"journal": found.journal, "year": found.year},
            )


def mention_documents(
    stream: BinaryIO, name: str, counts: Counts, *, dictionary: Path, release: str
) -> Iterator[Document | Rejected]:
    """Give the abstracts that name a protein of the dictionary, with its sequence put in."""
    known = load_dictionary(dictionary)
    for found in _abstracts(stream, name):
        if isinstance(found, Rejected):
            yield found
        else:
            document = _abstract_document(found, release)
            mentions = find_mentions(known, document.text)
            yield _with_sequences(document, mentions, known, counts)


def annotation_documents(
    stream: BinaryIO, name: str, counts: Counts, *, dictionary: Path, release: str
) -> Iterator[Document | Rejected]:
    """Give annotated abstracts with the sequences of the proteins that annotations name."""
    known = load_dictionary(dictionary)
    bare = name.removesuffix(".gz")
    read = read_bioc_json if bare.endswith(".json") else read_pubtator
    for found in (read_bioc_xml if bare.endswith(".xml") else read)(stream, name):
        if isinstance(found, Rejected):
            yield found
        else:
            counts["misplaced"] += found.misplaced
            mentions = annotated_mentions(known, found.mentions)
            yield _with_sequences(_annotated_document(found, release), mentions, known, counts)


def pair_documents(
    stream: BinaryIO,
    name: str,
    counts: Counts,  # noqa: ARG001
    *,
    release: str,
) -> Iterator[Document | Rejected]:
    """Give each pair of abstracts as one document."""
    bare = name.removesuffix(".gz")
    for found in (read_pairs_tsv if bare.endswith(".tsv") else read_pairs_jsonl)(stream, name):
        if isinstance(found, Rejected):
            yield found
        else:
            yield _document(
                f"pair:{found.id}",
                found.text,
                source=found.source or "abstract pairs",
                license=found.license or "unknown",
                release=release,
                details={"direction": found.direction},
            )


def _abstracts(stream: BinaryIO, name: str) -> Iterator[Abstract | Rejected]:
    return (read_pubmed_xml if _is_xml(name) else read_pubmed_jsonl)(stream, name)


def _is_xml(name: str) -> bool:
    return name.removesuffix(".gz").endswith((".xml", ".nxml"))


def _article_id(article: Article) -> str:
    return f"pmc:{article.pmcid}" if article.pmcid else f"doi:{article.doi or article.pmid}"


def _abstract_document(found: Abstract, release: str) -> Document:
    text = "\n\n".join(filter(None, (found.title, found.abstract))) if found.abstract else ""
    return _document(
        f"pubmed:{found.pmid}",
        text,
        source="PubMed",
        license=ABSTRACT_LICENSE,
        release=release,
        pmid=found.pmid,
        pmcid=found.pmcid,
        doi=found.doi,
        details={"journal": found.journal, "year": found.year},
    )


def _annotated_document(found: Annotated, release: str) -> Document:
    return _document(
        f"pubmed:{found.pmid}",
        found.text,
        source="PubMed",
        license=ABSTRACT_LICENSE,
        release=release,
        pmid=found.pmid,
    )


def _with_sequences(
    document: Document,
    mentions: Iterable[tuple[int, str, str]],
    dictionary: Dictionary,
    counts: Counts,
) -> Document | Rejected:
    text, insertions = insert_sequences(dictionary, document.text, mentions, counts)
    if not insertions:
        return Rejected(document.id, "no_mention", "")
    counts["insertions"] += len(insertions)
    meta = document.metadata
    meta["source"] = "PubMed + UniProtKB"
    meta["accessions"] = [item.accession for item in insertions]
    meta["details"]["insertions"] = [asdict(item) for item in insertions]
    return Document(text, document.id.replace("pubmed:", "sequences:"), metadata=meta)


def _document(identifier: str, text: str, **known: Any) -> Document:
    empty: dict[str, Any] = {"pmid": "", "pmcid": "", "doi": "", "accessions": [], "details": {}}
    return Document(text.strip(), identifier, metadata=empty | known)


def _rejection(item: Rejected) -> Document:
    return Document("", item.accession, metadata={"reason": item.reason, "detail": item.detail})
