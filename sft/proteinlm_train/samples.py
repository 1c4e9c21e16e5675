"""Prepared rows as the model reads them: what is context, what is learned, where it stops."""

from pathlib import Path
from typing import Any

import numpy as np

from proteinlm_train.parts import TRAIN
from proteinlm_train.recipe import Recipe
from proteinlm_train.shards import find_documents

_SHOWN = 300
"""Characters of a text."""
_SEARCHED = 100
"""Packed rows that are searched for a stop token."""


def find_stop_tokens(recipe: Recipe, tokenizer: Any, rows: Any) -> tuple[str, ...]:
    """Return the special tokens that are learned; none if a document has none.

    Args:
        recipe: Its stage decides: a text is always closed with the end-of-sequence token.
        tokenizer: The tokenizer.
        rows: Packed rows, of which the first hundred are searched.
    """
    if recipe.stage == "cpt":
        return (tokenizer.eos_token,)
    special: set[int] = {tokenizer.eos_token_id} | {
        number for number, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    found: set[int] = set()
    for number in range(min(_SEARCHED, len(rows))):
        row = rows[number]
        ends = np.cumsum(row["seq_lengths"])[:-1]
        for labels in np.split(row["labels"], ends):
            held = special.intersection(labels.tolist())
            if not held:
                return ()
            found |= held
    return tuple(sorted(map(tokenizer.decode, found)))


def show_documents(folder: Path, tokenizer: Any, rows: Any) -> list[dict[str, str]]:
    """Return the first documents of three packed rows: `id`, `context` and `learned`.

    Args:
        folder: Of the prepared data.
        tokenizer: The tokenizer.
        rows: Its packed training rows.
    """
    shown: list[dict[str, str]] = []
    for number in sorted({0, len(rows) // 2, len(rows) - 1}):
        row = rows[number]
        length = row["seq_lengths"][0]
        ids, labels = row["input_ids"][:length], row["labels"][:length]
        shown.append(
            {
                "id": find_documents(folder, TRAIN, [int(row["row"])])[0],
                "context": _shorten(tokenizer.decode(ids[labels == -100])),
                "learned": _shorten(tokenizer.decode(ids[labels != -100])),
            }
        )
    return shown


def _shorten(text: str) -> str:
    said = repr(text)[1:-1]
    if len(said) <= _SHOWN:
        return said
    return f"{said[: _SHOWN // 2]} [...] {said[-_SHOWN // 2 :]}"
