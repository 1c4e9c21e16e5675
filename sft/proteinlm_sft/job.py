"""One build: its recipe with the input files found, and where everything lies."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proteinlm_ext.paths import hash_file
from proteinlm_sft.entry import SourceError
from proteinlm_sft.inputs import InputFile, find_inputs, one_input
from proteinlm_sft.manifest import plan_digest
from proteinlm_sft.recipe import Recipe
from proteinlm_sft.stage import UNIPROT_SUFFIXES
from proteinlm_sft.text_build import Where


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a build reads and where it writes.

    `benchmark` is the sha256 of the questions' file, "" if they are not looked for. `executor` runs
    the text pipelines, with datatrove's options.
    """

    recipe: Recipe
    uniprot: tuple[InputFile, ...]
    enzyme: InputFile | None
    sifts: InputFile | None
    literature: tuple[InputFile, ...]
    out: Path
    workers: int
    executor: Where
    executor_options: Mapping[str, Any]
    benchmark: str = ""

    @property
    def work(self) -> Path:
        """Return the folder for what is finished before the whole is."""
        return self.out / ".build"

    @property
    def hits(self) -> Path:
        """Return the folder for what was found of the benchmark."""
        return self.work / "hits"

    @property
    def digest(self) -> str:
        """Return the hash of the plan: recipe, names and sizes of the inputs, what is held out."""
        tables = filter(None, (self.enzyme, self.sifts))
        held = Path(self.recipe.texts.holdout or "") if self.recipe.texts else Path()
        others = [self.benchmark]
        if (manifest := held / "manifest.json").is_file() and held != Path():
            others.append(hash_file(manifest))
        return plan_digest(self.recipe, (*self.uniprot, *tables, *self.literature), others)


def find_job(
    recipe: Recipe,
    out: Path,
    workers: int,
    executor: Where = "local",
    executor_options: Mapping[str, Any] | None = None,
) -> Job:
    """Find the inputs of a recipe.

    Raises:
        SourceError: An input does not exist, or the files are of several releases.
    """
    uniprot = tuple(find_inputs(recipe.uniprot, UNIPROT_SUFFIXES)) if recipe.uniprot else ()
    named: tuple[str | None, ...] = ()
    if texts := recipe.texts:
        named = (*texts.pubmed, *texts.pmc, *texts.annotations, *texts.pairs)
        named += (texts.pmc_selection, texts.gene_ids)
    return Job(
        recipe=recipe.model_copy(update={"release": _release(uniprot, recipe.release)}),
        uniprot=uniprot,
        enzyme=one_input(recipe.enzyme),
        sifts=one_input(recipe.sifts),
        literature=tuple(
            file for pattern in filter(None, named) for file in find_inputs([pattern])
        ),
        out=out,
        workers=workers,
        executor=executor,
        executor_options=executor_options or {},
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
