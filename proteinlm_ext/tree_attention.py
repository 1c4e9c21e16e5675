"""Attention over a packed prefix tree, through the attention interface of transformers.

Everything but attention works token by token, so a model can be fed the packed row as it is. Only
here is the row unfolded into blocks, for which the model's own attention function is called.
"""

import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch

from proteinlm_ext.packed_batch import Block, PackedBatch

NAME = "proteinlm_tree"
# Blocks attend together, padded, if none has less than this part of the largest one's size.
SIMILAR = 0.8

LayerStates = dict[int, tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Blocks of similar size, padded: row indices of queries and keys."""

    queries: torch.Tensor  # [blocks, queries]
    keys: torch.Tensor  # [blocks, keys]
    masks: Mapping[int | None, torch.Tensor | None]  # by sliding window: [blocks, 1, queries, keys]


@dataclass(slots=True, kw_only=True)
class TreeLayout:
    """What the attention layers need to know about the row that passes through them."""

    groups: Sequence[_Group]
    places: torch.Tensor  # of each token of the row, among the queries of all groups
    windows: Mapping[int, int | None]  # sliding window of every layer
    implementation: str  # the model's own attention: sdpa or eager
    trunk: LayerStates = field(default_factory=LayerStates)
    kept: LayerStates | None = None  # filled with keys and values, trunk included


_ACTIVE: ContextVar[TreeLayout] = ContextVar("proteinlm_tree_layout")


class UnsupportedModelError(RuntimeError):
    """The model's attention does what a tree layout cannot express."""


def make_layout(
    packed: PackedBatch,
    windows: Mapping[int, int | None],
    *,
    implementation: str,
    dtype: torch.dtype,
    device: torch.device,
    trunk: LayerStates,
    keep: bool = False,
) -> TreeLayout:
    """Group the blocks of a packed batch, and make their masks."""
    distinct = set(windows.values())
    similar = list(_similar(packed.blocks))
    groups = [
        _make_group(blocks, packed, distinct, implementation, dtype, device) for blocks in similar
    ]
    return TreeLayout(
        groups=groups,
        places=torch.from_numpy(_places(similar, len(packed.tokens))).to(device),
        windows=windows,
        implementation=implementation,
        trunk=trunk,
        kept={} if keep else None,
    )


def _places(groups: Sequence[Sequence[Block]], size: int) -> np.ndarray:
    """Where each token of the row is among the padded queries of all groups."""
    places, before = np.empty(size, dtype=np.int64), 0
    for blocks in groups:
        longest = max(block.queries for block in blocks)
        for block in blocks:
            places[block.first : block.last] = np.arange(before, before + block.queries)
            before += longest
    return places


@contextmanager
def replaced_attention(model: Any) -> Generator[None]:
    """Make every attention layer of a transformers model follow the layout of `follow`.

    Raises:
        UnsupportedModelError: The model does not let its attention be replaced.
    """
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, _attend)
    own = attention_of(model)
    try:
        model.set_attn_implementation(NAME)
        if attention_of(model) != NAME:
            raise UnsupportedModelError("its attention cannot be replaced")
        yield
    finally:
        model.set_attn_implementation(own)


@contextmanager
def follow(layout: TreeLayout) -> Generator[None]:
    """Set the layout of the forward passes within."""
    token = _ACTIVE.set(layout)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def attention_of(model: Any) -> str:
    """Return the name of a model's attention implementation: sdpa, eager or another."""
    return model.config.get_text_config(decoder=True)._attn_implementation


def _similar(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """Yield groups of blocks that waste little when padded to the largest."""
    group: list[Block] = []
    for block in sorted(blocks, key=lambda block: (block.is_path, -block.queries, -block.keys)):
        if group and not (
            block.is_path == group[0].is_path
            and block.queries >= SIMILAR * group[0].queries
            and max(block.keys, group[0].keys) * SIMILAR <= min(block.keys, group[0].keys)
        ):
            yield group
            group = []
        group.append(block)
    yield group


def _make_group(
    blocks: Sequence[Block],
    packed: PackedBatch,
    windows: set[int | None],
    implementation: str,
    dtype: torch.dtype,
    device: torch.device,
) -> _Group:
    most_queries = max(block.queries for block in blocks)
    most_keys = max(block.keys for block in blocks)
    queries = np.zeros((len(blocks), most_queries), dtype=np.int64)
    keys = np.zeros((len(blocks), most_keys), dtype=np.int64)
    real_keys = np.zeros((len(blocks), most_keys), dtype=bool)
    for i, block in enumerate(blocks):
        own = np.arange(block.first, block.last)
        queries[i, : block.queries] = own
        keys[i, : block.keys] = np.concatenate([own, block.ancestors])
        real_keys[i, : block.keys] = True
    plain = packed.trunk_depth == 0 and all(
        block.is_path and not len(block.ancestors) for block in blocks
    )
    longest = int(packed.positions.max()) + 1
    masks: dict[int | None, torch.Tensor | None] = {}
    for window in windows:
        if plain and implementation == "sdpa" and (window is None or window >= longest):
            masks[window] = None  # sdpa is causal by itself, and skips what lies above the diagonal
            continue
        seen = _seen(queries, keys, real_keys, packed, window)
        mask = torch.zeros(seen.shape, dtype=dtype)
        mask.masked_fill_(torch.from_numpy(~seen), torch.finfo(dtype).min)
        masks[window] = mask[:, None].to(device)
    return _Group(
        queries=torch.from_numpy(queries).to(device),
        keys=torch.from_numpy(keys).to(device),
        masks=masks,
    )


def _seen(
    queries: np.ndarray, keys: np.ndarray, real_keys: np.ndarray,
    packed: PackedBatch, window: int | None,
) -> np.ndarray:  # fmt: skip
    """Tell which keys every query sees: its ancestors and itself, all of the trunk, in the window.

    Returns:
        Booleans [blocks, queries, trunk + keys].
    """
    query, key = queries[:, :, None], keys[:, None, :]
    own = (key <= query) & (packed.ends[key] > query) & real_keys[:, None, :]
    shape = (*queries.shape, packed.trunk_depth)
    seen = np.concatenate([np.ones(shape, dtype=bool), own], axis=2)
    if window is not None:
        trunk = np.broadcast_to(np.arange(packed.trunk_depth), (len(keys), packed.trunk_depth))
        key_positions = np.concatenate([trunk, packed.positions[keys]], axis=1)
        seen &= packed.positions[queries][:, :, None] - key_positions[:, None, :] < window
    return seen


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as transformers asks: query [1, heads, tokens, size] to [1, tokens, heads, size]."""
    layout = _ACTIVE.get()
    if attention_mask is not None:  # transformers makes none for an attention it does not know
        raise UnsupportedModelError("it makes attention masks of its own")
    layer: int = getattr(module, "layer_idx", -1)
    if layer not in layout.windows:
        raise UnsupportedModelError("its attention layers are not numbered")
    window = layout.windows[layer]
    if options.get("sliding_window") not in (None, window):
        raise UnsupportedModelError(f"layer {layer} has an unexpected attention window")
    trunk = layout.trunk.get(layer)
    if layout.kept is not None:
        kept = (key, value)
        if trunk:
            kept = (torch.cat([trunk[0], key], dim=2), torch.cat([trunk[1], value], dim=2))
        layout.kept[layer] = kept
    function = _own_attention(module, layout.implementation)
    results: list[torch.Tensor] = []
    device = query.device
    for group in layout.groups:
        queries = _unfold(query, group.queries.to(device))
        keys, values = (_unfold(states, group.keys.to(device)) for states in (key, value))
        if trunk:
            blocks = len(keys)
            keys = torch.cat([trunk[0].expand(blocks, -1, -1, -1), keys], dim=2)
            values = torch.cat([trunk[1].expand(blocks, -1, -1, -1), values], dim=2)
        mask = group.masks[window]
        mask = mask if mask is None else mask.to(query)  # its device, and its type
        if mask is not None and layout.implementation == "sdpa" and len(query[0]) > len(key[0]):
            attended = _attend_folded(function, module, queries, keys, values, mask, options)
        else:
            attended = function(module, queries, keys, values, mask, **options)[0]
        results.append(attended.flatten(0, 1))
    # Every token of the row is a query of one block.
    return torch.cat(results)[layout.places.to(device)][None], None


def _attend_folded(
    function: Callable[..., Any], module: Any, queries: torch.Tensor, keys: torch.Tensor,
    values: torch.Tensor, mask: torch.Tensor, options: Mapping[str, Any],
) -> torch.Tensor:  # fmt: skip
    """Attend with the query heads of a key head as more queries of it, not with copies of the keys.

    Under a mask, transformers copies keys and values for every query head: on a CPU a fifth of the
    time of attention, with three query heads to a key head.
    """
    blocks, heads, length, size = queries.shape
    shared = heads // keys.shape[1]
    folded = queries.reshape(blocks, -1, shared * length, size)
    no_copies = SimpleNamespace(
        num_key_value_groups=1, is_causal=getattr(module, "is_causal", True)
    )
    mask = mask.repeat(1, 1, shared, 1)
    attended = function(no_copies, folded, keys, values, mask, **options)[0]
    return attended.transpose(1, 2).reshape(blocks, heads, length, -1).transpose(1, 2)


def _unfold(states: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Gather [1, heads, tokens, size] by [blocks, length] into [blocks, heads, length, size]."""
    return states[0][:, indices].transpose(0, 1)


def _own_attention(module: Any, implementation: str) -> Callable[..., Any]:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    if implementation == "eager":
        return sys.modules[type(module).__module__].eager_attention_forward
    return cast("Any", ALL_ATTENTION_FUNCTIONS)[implementation]
