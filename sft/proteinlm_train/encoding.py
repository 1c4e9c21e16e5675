"""One encoding for prepared tokens: the id, the loss mask and the documents in three bytes each.

A token is its id, plus `CONTEXT` where it carries no loss, plus `START` where a document begins.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from proteinlm_ext.errors import ProteinLMError

CONTEXT = 1 << 23
START = 1 << 22
_IDS = START - 1
BYTES = 3
"""Of a token on disk."""


def encode(ids: Sequence[int], context: int) -> Any:
    """Return a document in our encoding, a uint32 array; the inverse of `decode`.

    Args:
        ids: Of its tokens.
        context: How many of them, from the first, carry no loss.

    Raises:
        ProteinLMError: An id is too large for the encoding.
    """
    tokens = np.array(ids, dtype=np.uint32)
    if tokens.max(initial=0) > _IDS:
        raise ProteinLMError(
            f"Token {tokens.max()} does not fit: prepared data hold vocabularies of at most "
            f"{START} tokens."
        )
    tokens[:context] |= CONTEXT
    tokens[:1] |= START
    return tokens


def document_lengths(tokens: Any) -> Any:
    """Return the lengths of the documents in an encoded packed row, as an array."""
    return np.diff(np.append(np.flatnonzero(tokens & START), len(tokens)))


def decode(tokens: Any) -> dict[str, Any]:
    """Return encoded tokens as the trainer reads them: input_ids, labels (-100: no loss), lengths.

    Args:
        tokens: uint32 array of a packed row.

    Returns:
        `input_ids` and `labels` as int64 arrays, `seq_lengths` of the documents as a list.
    """
    ids = (tokens & _IDS).astype(np.int64)
    return {
        "input_ids": ids,
        "labels": np.where(tokens & CONTEXT, -100, ids),
        "seq_lengths": document_lengths(tokens).tolist(),
    }


def to_bytes(tokens: Any) -> Any:
    """Return encoded tokens as a uint8 array, three bytes each, the lowest first."""
    return tokens.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :BYTES].ravel()


def from_bytes(data: bytes) -> Any:
    """Return encoded tokens from their bytes; the inverse of `to_bytes`."""
    tokens = np.zeros((len(data) // BYTES, 4), dtype=np.uint8)
    tokens[:, :BYTES] = np.frombuffer(data, dtype=np.uint8).reshape(-1, BYTES)
    return tokens.view("<u4").ravel()
