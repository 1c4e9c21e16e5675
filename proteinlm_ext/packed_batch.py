"""A batch of requests as one packed row of tokens, and the blocks of attention that it needs.

Depth first, the tokens of a subtree are contiguous. A `Block` is such a range of queries with the
keys that they may see: the trunk, the ancestors in the row, the range itself.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from proteinlm_ext.prefix_tree import Batch, Request, Tokens, common_length

# Subtrees of up to this many tokens attend as one block: the waste of masked pairs is small then.
SMALL_SUBTREE = 192
# Copying the keys and values of one token into a block takes as long as this many query-key pairs.
PAIRS_PER_COPY = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Queries `first` to `last` of the row; `ancestors` are positions in the row before them."""

    first: int
    last: int
    ancestors: Tokens
    is_path: bool  # without a fork, so that plain causal attention is right

    @property
    def queries(self) -> int:
        """Number of queries."""
        return self.last - self.first

    @property
    def keys(self) -> int:
        """Number of keys, those of the trunk aside."""
        return self.queries + len(self.ancestors)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedBatch:
    """One forward pass.

    Attributes:
        tokens: The row, depth first.
        positions: Position of every token in its own sequence.
        ends: One past the last token of the subtree below every token.
        trunk_depth: Tokens of the trunk, which is not in the row.
        blocks: Cover the row without overlap.
        scored: Sorted row indices whose logits are needed.
        spans: For each request of the batch, indices into `scored`, one a continuation token.
    """

    tokens: Tokens
    positions: Tokens
    ends: Tokens
    trunk_depth: int
    blocks: tuple[Block, ...]
    scored: Tokens
    spans: tuple[Tokens, ...]


def pack(batch: Batch) -> PackedBatch:
    """Lay out a batch."""
    depth = batch.trunk.depth
    fed = [np.array(request.fed[depth:], dtype=np.int64) for request in batch.requests]
    pairs = itertools.pairwise(fed)
    shared = np.array([0, *(common_length(one, other) for one, other in pairs)], dtype=np.int64)
    lengths = np.array([len(tokens) for tokens in fed], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths - shared)])
    paths = _paths(fed, shared, offsets)
    tokens = np.concatenate([one[skip:] for one, skip in zip(fed, shared, strict=True)])
    pieces: list[Tokens] = [
        np.arange(skip, len(one)) for one, skip in zip(fed, shared, strict=True)
    ]
    positions = np.concatenate(pieces)
    places = [_scored_places(*pair, depth) for pair in zip(batch.requests, paths, strict=True)]
    scored = np.unique(np.concatenate(places))
    return PackedBatch(
        tokens=tokens,
        positions=positions + depth,
        ends=_subtree_ends(positions),
        trunk_depth=depth,
        blocks=tuple(_Blocks(paths, shared, offsets, depth).all()),
        scored=scored,
        spans=tuple(np.searchsorted(scored, place) for place in places),
    )


def pack_trunk(tokens: Sequence[int], parent_depth: int) -> PackedBatch:
    """Lay out a trunk, of which only the keys and values are wanted."""
    size = len(tokens)
    whole = Block(first=0, last=size, ancestors=np.empty(0, dtype=np.int64), is_path=True)
    return PackedBatch(
        tokens=np.array(tokens, dtype=np.int64),
        positions=np.arange(parent_depth, parent_depth + size),
        ends=np.full(size, size, dtype=np.int64),
        trunk_depth=parent_depth,
        blocks=(whole,),
        scored=np.array([size - 1], dtype=np.int64),
        spans=(),
    )


def _scored_places(request: Request, path: Tokens, depth: int) -> Tokens:
    return path[request.first_scored - depth :]


def _paths(fed: Sequence[Tokens], shared: Tokens, offsets: Tokens) -> list[Tokens]:
    """Row indices of the tokens of every sequence."""
    paths: list[Tokens] = []
    for i in range(len(fed)):
        head = paths[i - 1][: shared[i]] if i else np.empty(0, dtype=np.int64)
        added: Tokens = np.arange(int(offsets[i]), int(offsets[i + 1]))
        paths.append(np.concatenate([head, added]))
    return paths


def _subtree_ends(positions: Tokens) -> Tokens:
    """One past the subtree of each token: the next token that is not deeper."""
    ends = np.full(len(positions), len(positions), dtype=np.int64)
    open_tokens: list[int] = []
    for index, position in enumerate(positions.tolist()):
        while open_tokens and positions[open_tokens[-1]] >= position:
            ends[open_tokens.pop()] = index
        open_tokens.append(index)
    return ends


class _Blocks:
    """Splits the tree of a batch into blocks that attend cheaply."""

    def __init__(
        self, paths: Sequence[Tokens], shared: Tokens, offsets: Tokens, trunk_depth: int
    ) -> None:
        self.paths, self.shared, self.offsets = paths, shared, offsets
        self.trunk_depth = trunk_depth

    def all(self) -> Iterator[Block]:
        return self._below(0, len(self.paths), 0)

    def _start(self, first: int, depth: int) -> int:
        """Row index at which the tokens deeper than `depth` of sequence `first` begin."""
        return int(self.offsets[first] + depth - self.shared[first])

    def _block(self, first: int, last: int, depth: int, end: int | None = None) -> Block:
        start = self._start(first, depth)
        end = int(self.offsets[last]) if end is None else end
        return Block(
            first=start,
            last=end,
            ancestors=self.paths[first][:depth],
            is_path=len(self.paths[first]) - depth >= end - start,
        )

    def _below(self, first: int, last: int, depth: int) -> Iterator[Block]:
        """Cover what sequences `first` to `last` hold below `depth`."""
        start, end = self._start(first, depth), int(self.offsets[last])
        if end == start:  # all of it is above
            return
        lengths_end = len(self.paths[first])
        fork = int(self.shared[first + 1 : last].min()) if last - first > 1 else lengths_end
        if last - first == 1 or (fork > depth and end - start <= SMALL_SUBTREE):
            yield self._block(first, last, depth)
            return
        if fork > depth:
            yield self._block(first, last, depth, start + fork - depth)
        yield from self._children(first, last, fork)

    def _children(self, first: int, last: int, depth: int) -> Iterator[Block]:
        """Join neighbouring children where that costs less than copying their common keys twice."""
        forks = first + 1 + np.flatnonzero(self.shared[first + 1 : last] == depth)
        edges = [first, *(int(edge) for edge in forks), last]
        copies = PAIRS_PER_COPY * (depth + self.trunk_depth)
        lo, size = first, 0
        for child, after in itertools.pairwise(edges):
            added = int(self.offsets[after]) - self._start(child, depth)
            if child > lo and 2 * size * added > copies:
                yield from self._group(lo, child, depth)
                lo, size = child, 0
            size += added
        yield from self._group(lo, last, depth)

    def _group(self, first: int, last: int, depth: int) -> Iterator[Block]:
        one_child = last - first == 1 or int(self.shared[first + 1 : last].min()) > depth
        if one_child:
            yield from self._below(first, last, depth)
        elif self.offsets[last] > self._start(first, depth):
            yield self._block(first, last, depth)
