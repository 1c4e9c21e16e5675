"""Texts as token ids, with spaced residues taken from a table where that is provably the same.

Most tokenizers cut a text at blanks before they look for tokens, so that each " M" of a sequence is
tokenised by itself: a lookup gives the same id, and sequences are most of what is tokenised.
"""

import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

_RUN = re.compile(r"(?<=<seq>)((?: [A-Z])+)(?= </seq>)")


def make_table(tokenizer: Any) -> Mapping[str, int] | None:
    """Return the token of every letter after a blank, or None where the letters do not stand alone.

    They do if the tokenizer's first cut has each of them as a piece of its own, whatever its
    neighbours, and each piece is one token.
    """
    if not tokenizer.is_fast or tokenizer.backend_tokenizer.pre_tokenizer is None:
        return None
    pairs = "".join(a + b for a in ascii_uppercase for b in ascii_uppercase)
    start, run = "a: <seq>", "".join(f" {letter}" for letter in pairs)
    text = f"{start}{run} </seq>. B"
    pieces = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)
    spans = {span for _, span in pieces}
    if any((n, n + 2) not in spans for n in range(len(start), len(start) + len(run), 2)):
        return None
    ids = _encode(tokenizer, [f" {letter}" for letter in ascii_uppercase])
    if any(len(tokens) != 1 for tokens in ids):
        return None
    table = {letter: tokens[0] for letter, tokens in zip(ascii_uppercase, ids, strict=True)}
    same = encode_texts(tokenizer, table, [text]) == _encode(tokenizer, [text])
    return table if same else None


def encode_texts(
    tokenizer: Any, table: Mapping[str, int] | None, texts: Sequence[str]
) -> list[list[int]]:
    """Return the ids of texts, without special tokens.

    Args:
        tokenizer: The tokenizer.
        table: From `make_table`.
        texts: Sequences in them count as such between `<seq>` and `</seq>`.
    """
    split = [[text] if table is None else _RUN.split(text) for text in texts]
    # What stands before and after sequences is mostly the same in all rows.
    pieces = list(dict.fromkeys(piece for parts in split for piece in parts[::2]))
    known = dict(zip(pieces, _encode(tokenizer, pieces), strict=True))
    done: list[list[int]] = []
    for parts in split:
        ids = [*known[parts[0]]]
        for run, after in zip(parts[1::2], parts[2::2], strict=True):
            ids.extend(map((table or {}).__getitem__, run[1::2]))
            ids.extend(known[after])
        done.append(ids)
    return done


def _encode(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    if not texts:
        return []
    found = tokenizer([*texts], add_special_tokens=False, return_attention_mask=False)
    return found["input_ids"]
