"""Which rows are prepared: drawn by weight, held out, and cut into parts for one task each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from proteinlm_ext.errors import UsageError
from proteinlm_train.recipe import Data, Recipe
from proteinlm_train.rows import RowFile, draw_copies, list_files

TRAIN, VALIDATION = "train", "validation"
# A part has at most so many rows and bytes of its file, and at least 256 rows.
_PART_ROWS = 20_000
_PART_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some rows of one file; `copies` says how often each is taken."""

    split: str
    number: int
    file: RowFile
    rows: tuple[int, ...]
    copies: tuple[int, ...]


def find_files(recipe: Recipe) -> dict[str, list[RowFile]]:
    """Return the files of the training and of the validation split of a recipe's sources.

    Raises:
        UsageError: A source has no rows, or rows of the other stage; there is no validation split.
        ProteinLMError: A file cannot be read.
    """
    validation = recipe.data.validation
    found: dict[str, list[RowFile]] = {TRAIN: [], VALIDATION: []}
    for number, source in enumerate(recipe.data.sources):
        files = list_files(source, number, source.split)
        if not files:
            raise UsageError(
                f"data.sources.{number}: {source.path} has no rows in split {source.split}."
            )
        wrong = {
            file.format for file in files if (file.format == "text") != (recipe.stage == "cpt")
        }
        if wrong:
            raise UsageError(
                f"data.sources.{number}: {source.path} has {', '.join(wrong)} rows, which stage "
                f"{recipe.stage} does not read. Choose other configs or another stage."
            )
        found[TRAIN] += files
        if validation.kind == "split":
            found[VALIDATION] += list_files(source, number, validation.split)
    if validation.kind == "split" and not found[VALIDATION]:
        raise UsageError(
            f"data.validation: no source has a split {validation.split}. Set data.validation.from "
            "to train (rows set aside) or none."
        )
    return found


def make_parts(recipe: Recipe, files: dict[str, list[RowFile]]) -> list[Part]:
    """Decide with the seed how often every row is taken, and cut the files into parts."""
    data = recipe.data
    train: list[Any] = []
    for number, source in enumerate(data.sources):
        sizes = [file.rows for file in files[TRAIN] if file.source == number]
        copies = draw_copies(source, sum(sizes), data.seed, number)
        train += np.split(copies, np.cumsum(sizes)[:-1])
    from_train = data.validation.kind == "train"
    asked = files[TRAIN if from_train else VALIDATION]
    held_out = _hold_out(data, asked)
    if from_train:
        # By file: two sources may name the same one.
        names = [(str(file.path), file.split) for file in asked]
        aside: dict[tuple[str, str], Any] = {}
        for name, rows in zip(names, held_out, strict=True):
            aside[name] = aside.get(name, 0) + rows
        for name, taken in zip(names, train, strict=True):
            taken[aside[name] > 0] = 0
    return [*_cut(TRAIN, files[TRAIN], train), *_cut(VALIDATION, asked, held_out)]


def _hold_out(data: Data, files: Sequence[RowFile]) -> list[Any]:
    """Return for each file which rows are validation rows, as an array of zeros and ones."""
    if not files:
        return []
    sizes = [file.rows for file in files]
    chosen = np.zeros(sum(sizes), dtype=np.int16)
    draw = np.random.default_rng([data.seed, len(data.sources)])
    chosen[draw.permutation(len(chosen))[: data.validation.rows]] = 1
    return np.split(chosen, np.cumsum(sizes)[:-1])


def _cut(split: str, files: Sequence[RowFile], copies: Sequence[Any]) -> list[Part]:
    parts: list[Part] = []
    for file, taken in zip(files, copies, strict=True):
        rows = np.flatnonzero(taken)
        each = max(1, file.path.stat().st_size // max(file.rows, 1))
        size = int(min(_PART_ROWS, max(256, _PART_BYTES // each)))
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            parts.append(
                Part(
                    split=split, number=len(parts), file=file, rows=tuple(some.tolist()),
                    copies=tuple(taken[some].tolist()),
                )
            )  # fmt: skip
    return parts
