"""The recipe of a dataset: what goes in, in which mode, split how, checked against what.

A YAML file (`proteinlm data build RECIPE`) or the flags of `proteinlm data sft|ssl` make the same
object. Unknown keys and values out of range are refused with their path.
"""

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from proteinlm_ext.recipes import check_settings, read_settings

Share = Annotated[float, Field(gt=0, lt=1)]


# Entries carry the names of keywords; of their ids the recipe knows these.
KEYWORD_IDS = {"KW-0800": "Toxin"}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Exclude(_Model):
    """Proteins left out on purpose: by keyword, by taxon id, or by a name of the lineage."""

    keywords: tuple[str, ...] = ()
    taxa: tuple[int | str, ...] = ()

    @model_validator(mode="after")
    def _keywords_are_names(self) -> "Exclude":
        for keyword in self.keywords:
            if keyword.startswith("KW-") and keyword not in KEYWORD_IDS:
                raise ValueError(f"{keyword}: give the keyword's name, such as Virulence")
        return self


class Split(_Model):
    """How proteins come to train, validation and test.

    `similarity`: MMseqs2 clusters at `identity` and `coverage`, drawn with the seed. `date`: by the
    day an entry entered UniProtKB. Both then search validation and test against train and exclude
    every protein with a hit at or above `identity`. `random`: proteins drawn one by one, whatever
    they are similar to; it leaks, and is there to show how much that is worth. `none`: everything
    is train, as in the paper.
    """

    by: Literal["similarity", "date", "random", "none"] = "similarity"
    identity: Share = 0.3
    coverage: Share = 0.8
    validation: Share = 0.05
    test: Share = 0.05
    validation_from: date | None = None
    test_from: date | None = None
    evidence: Literal["experimental", "any"] = "experimental"
    clusterer: Literal["cluster", "linclust"] = "cluster"

    @model_validator(mode="after")
    def _dates_fit(self) -> "Split":
        dates = (self.validation_from, self.test_from)
        if self.by == "date" and (None in dates or self.validation_from >= self.test_from):  # type: ignore[operator]
            raise ValueError("by: date needs validation_from before test_from, both YYYY-MM-DD")
        if self.by != "date" and dates != (None, None):
            raise ValueError("validation_from and test_from need by: date")
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together must leave something to train")
        return self


class Texts(_Model):
    """The SSL subsets: which are made, and from which files."""

    uniprot: bool = True
    pubmed: tuple[str, ...] = ()
    pmc: tuple[str, ...] = ()
    pmc_selection: str | None = None
    pmc_by_names: bool = False
    sequence_in_abstract: bool = False
    annotations: tuple[str, ...] = ()
    gene_ids: str | None = None
    pairs: tuple[str, ...] = ()
    holdout: str | None = None
    tokenizer: str | None = None


class Recipe(_Model):
    """Everything that decides the bytes of a dataset, the input files' content apart."""

    name: str = "ProteinLMDataset"
    mode: Literal["clean", "paper"] = "clean"
    seed: Annotated[int, Field(ge=0)] = 42
    uniprot: tuple[str, ...] = ()
    enzyme: str | None = None
    sifts: str | None = None
    release: str | None = None
    unreviewed: bool = False
    accessions_per_enzyme: Annotated[int, Field(ge=1)] = 20
    exclude: Exclude = Exclude()
    split: Split = Split()
    decontaminate: Literal["proteinlmbench", "none"] = "proteinlmbench"
    benchmark_data: str | None = None
    views: tuple[Literal["messages", "prompt_completion"], ...] = ()
    shard_megabytes: Annotated[int, Field(ge=1)] = 256
    instructions: bool = True
    texts: Texts | None = None

    @model_validator(mode="after")
    def _inputs_fit(self) -> "Recipe":
        if self.instructions and not self.uniprot:
            raise ValueError("uniprot: name at least one UniProtKB file")
        if self.sifts and not self.enzyme:
            raise ValueError("sifts says which proteins, enzyme what they do: name both")
        if not self.instructions and self.texts is None:
            raise ValueError("nothing to make: instructions is false and texts is missing")
        return self

    @property
    def split_by(self) -> str:
        """`split.by`; the paper's mode makes no split unless the recipe asks for one."""
        asked = "by" in self.split.model_fields_set
        return "none" if self.mode == "paper" and not asked else self.split.by

    @property
    def needs_mmseqs(self) -> bool:
        """Whether sequences are clustered."""
        clusters = self.split_by in ("similarity", "date")
        near = self.split_by == "random" and self.removes_duplicates
        return self.instructions and (clusters or near)

    @property
    def removes_duplicates(self) -> bool:
        """The paper's mode keeps duplicates, as the released files do."""
        return self.mode == "clean"


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe file.

    Raises:
        UsageError: The file is missing, no YAML mapping, or holds wrong keys or values.
    """
    return check_recipe(read_settings(path, "uniprot"), str(path))


def check_recipe(given: dict[str, Any], name: str) -> Recipe:
    """Return the recipe that settings describe, as `check_settings` does."""
    return check_settings(Recipe, given, name)
