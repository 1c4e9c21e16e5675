"""From an entry to its rows of instruction data: which are made, and what each of them says."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import xxhash

from proteinlm_sft.cleaning import clean_text, normalise, paper_text
from proteinlm_sft.entry import Entry
from proteinlm_sft.enzyme import EnzymeTable
from proteinlm_sft.enzyme_rows import enzyme_candidates
from proteinlm_sft.recipe import Recipe
from proteinlm_sft.templates import FIELDS, fill_answer

ENZYME_CONFIG = "enzyme_cot"
CONFIGS = (*FIELDS, ENZYME_CONFIG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row before the split.

    `key` is a 64-bit hash of the normalised text: rows with one key say the same. `draw` orders
    the accessions of an EC number by chance. `experimental` is None where the source carries no
    evidence at all.
    """

    id: str
    config: str
    output: str
    evidence: tuple[str, ...]
    experimental: bool | None
    references: tuple[str, ...] = ()
    mim: tuple[str, ...] = ()
    key: int
    enzyme: str | None = None
    draw: int | None = None


@dataclass(frozen=True, slots=True)
class Nomenclature:
    """The enzyme tables that all entries are joined with; both None where none was given."""

    enzymes: EnzymeTable | None = None
    sifts: Mapping[str, tuple[str, ...]] | None = None


@dataclass(slots=True)
class RowMaker:
    """Makes rows by a recipe and counts why proteins and fields gave none."""

    recipe: Recipe
    nomenclature: Nomenclature
    counts: Counter[str] = field(default_factory=Counter[str])

    def rows(self, entry: Entry) -> Iterator[Row]:
        """Give the rows of one protein: one a field that has text, one an EC number."""
        yield from self._field_rows(entry)
        if self.nomenclature.enzymes is not None:
            yield from self._enzyme_rows(entry)

    def _field_rows(self, entry: Entry) -> Iterator[Row]:
        blocks: dict[str, list[str]] = {}
        for comment in entry.comments:
            blocks.setdefault(comment.topic, []).append(comment.text)
        for config, form in FIELDS.items():
            texts = blocks.get(form.topic)
            if texts is None:
                self.counts[f"{config}.no_comment"] += 1
                continue
            clean = clean_text(texts)
            if not clean.text:
                self.counts[f"{config}.empty_text"] += 1
                continue
            said = clean.text if self.recipe.mode == "clean" else paper_text(form, texts)
            yield Row(
                id=f"{config}:{entry.accession}",
                config=config,
                output=fill_answer(config, said),
                evidence=clean.evidence,
                # A text without evidence in a source that carries it is no experiment.
                experimental=bool(clean.experimental)
                if entry.has_evidence or clean.evidence
                else None,
                references=clean.references,
                mim=clean.mim,
                key=text_key(clean.text),
            )

    def _enzyme_rows(self, entry: Entry) -> Iterator[Row]:
        assert self.nomenclature.enzymes is not None  # noqa: S101 - the caller looked
        for row in enzyme_candidates(
            entry,
            self.nomenclature.enzymes,
            self.nomenclature.sifts,
            self.recipe.seed,
            self.recipe.mode,
            self.counts,
        ):
            yield Row(
                id=f"{ENZYME_CONFIG}:{entry.accession}:{row.number}",
                config=ENZYME_CONFIG,
                output=row.output,
                evidence=row.evidence,
                experimental=row.experimental,
                key=text_key(row.output),
                enzyme=row.number,
                draw=row.draw,
            )


def text_key(text: str) -> int:
    """Return the 64-bit hash under which equal normalised texts meet (XXH3)."""
    return xxhash.xxh3_64_intdigest(normalise(text).encode())
