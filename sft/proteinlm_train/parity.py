"""Whether an architecture keeps packed documents apart: packed and alone, the same likelihood.

Documents in one row are told apart by their positions alone. Models that ignore them (some linear
attention, some remote code) would train across documents without a word.
"""

from collections.abc import Sequence
from typing import Any

import torch

from proteinlm_ext.errors import ProteinLMError

TOLERANCE = {"fp32": 1e-3, "bf16": 1e-2}
"""Largest relative difference of the summed likelihood, by precision: allowances for rounding."""


def packed_difference(model: Any, documents: Sequence[Sequence[int]]) -> float:
    """Return the relative difference of the summed NLL of documents, packed against alone."""
    device = next(model.parameters()).device
    mode = model.training
    model.eval()
    with torch.no_grad():
        alone = sum(
            _likelihood(model, torch.tensor([ids], device=device), None, [len(ids)])
            for ids in documents
        )
        joined = torch.tensor([[token for ids in documents for token in ids]], device=device)
        positions = torch.cat([torch.arange(len(ids)) for ids in documents])[None].to(device)
        packed = _likelihood(model, joined, positions, [len(ids) for ids in documents])
    model.train(mode)
    return abs(packed - alone) / max(abs(alone), 1e-9)


def require_parity(
    model: Any, documents: Sequence[Sequence[int]], precision: str = "fp32"
) -> float:
    """Return the difference.

    Raises:
        ProteinLMError: It is beyond the tolerance: documents in a row see each other.
    """
    difference = packed_difference(model, documents)
    if not difference <= TOLERANCE[precision]:
        raise ProteinLMError(
            f"{type(model).__name__} lets packed documents see each other: their likelihood "
            f"differs by {difference:.2%} from that of the same documents alone. Set "
            "train.packing: none and train.micro_batch: 1, or another model.attention."
        )
    return difference


def _likelihood(model: Any, ids: Any, positions: Any, lengths: Sequence[int]) -> float:
    options = {} if positions is None else {"position_ids": positions}
    logits = model(input_ids=ids, use_cache=False, **options).logits[0].float()
    total, start = 0.0, 0
    for length in lengths:
        scores = torch.log_softmax(logits[start : start + length - 1], dim=-1)
        right = ids[0, start + 1 : start + length]
        total -= float(scores.gather(1, right[:, None]).sum())
        start += length
    return total
