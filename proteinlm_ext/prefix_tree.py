"""Which tokens a language model must see to score requests that share prefixes.

The fed tokens of all requests form a prefix tree. Sorted, a subtree is a contiguous range of them,
and the tokens that a sequence adds to the tree are those after its common prefix with the one
before. A long prefix above more than one batch is a `Trunk`: encoded once, its keys and values are
kept. Every `Batch` is one forward pass over one packed row without padding.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from proteinlm_ext.errors import ProteinLMError

Tokens: TypeAlias = npt.NDArray[np.int64]

# A trunk costs a forward pass of its own; shorter prefixes are fed again in every batch.
SHORTEST_TRUNK = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A continuation to score: `fed` holds the context and all of the continuation but its end."""

    fed: tuple[int, ...]
    continuation: tuple[int, ...]

    @property
    def tokens(self) -> tuple[int, ...]:
        """The whole sequence, which ends with the continuation."""
        return (*self.fed, self.continuation[-1])

    @property
    def first_scored(self) -> int:
        """Position in `fed` whose logits predict the first token of the continuation."""
        return len(self.fed) - len(self.continuation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trunk:
    """A prefix that several batches share, beyond that of its parent."""

    parent: "Trunk | None" = None
    tokens: tuple[int, ...] = ()

    @property
    def depth(self) -> int:
        """Tokens from the start of the sequence to the end of this trunk."""
        return len(self.tokens) + (self.parent.depth if self.parent else 0)

    def lineage(self) -> tuple["Trunk", ...]:
        """The trunks from the root to this one, without the empty root."""
        above = self.parent.lineage() if self.parent else ()
        return (*above, self) if self.tokens else above


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Requests of one forward pass: sorted by `fed`, all of them below `trunk`."""

    trunk: Trunk
    requests: tuple[Request, ...]


def make_request(context: Sequence[int], continuation: Sequence[int], max_length: int) -> Request:
    """Cut a request to the window, from the left, as lm-eval's `hf` does.

    Raises:
        ProteinLMError: The context or the continuation is empty, or the latter exceeds the window.
    """
    if not context or not 0 < len(continuation) <= max_length:
        raise ProteinLMError(
            f"A request needs a context and a continuation of 1 to {max_length} tokens; "
            f"got {len(context)} and {len(continuation)}."
        )
    whole = (*context, *continuation)[-(max_length + 1) :]
    return Request(fed=whole[:-1], continuation=tuple(continuation))


def least_tokens(requests: Sequence[Request]) -> int:
    """Return the size of the prefix tree: no method that feeds tokens can feed fewer."""
    fed = _arrays(sorted(set(requests), key=_order))
    return sum(len(tokens) for tokens in fed) - sum(_shared_with_previous(fed))


def make_batches(requests: Sequence[Request], budget: int) -> list[Batch]:
    """Plan the forward passes; the plan depends on the set of requests and the budget alone.

    Args:
        requests: In any order, repeats allowed.
        budget: Tokens in a forward pass. Only a sequence that has a batch to itself may exceed it.

    Returns:
        Batches, those of a trunk next to each other.
    """
    ordered = sorted(set(requests), key=_order)
    fed = _arrays(ordered)
    below = _assign_trunks(ordered, fed, budget)
    return [
        Batch(trunk=trunk, requests=tuple(ordered[i] for i in members[first:last]))
        for trunk, members in below
        for first, last in _cut([fed[i] for i in members], trunk.depth, budget)
    ]


def _order(request: Request) -> tuple[bytes, int, tuple[int, ...]]:
    # Big-endian bytes compare like the tokens, at the speed of memcmp.
    fed = np.array(request.fed, dtype=">u4").tobytes()
    return fed, len(request.continuation), request.continuation


def _arrays(requests: Sequence[Request]) -> list[Tokens]:
    return [np.array(request.fed, dtype=np.int64) for request in requests]


def common_length(one: Tokens, other: Tokens) -> int:
    """Return the number of leading tokens that two sequences share."""
    shorter = min(len(one), len(other))
    differs = one[:shorter] != other[:shorter]
    return int(differs.argmax()) if differs.any() else shorter


def _shared_with_previous(fed: Sequence[Tokens]) -> list[int]:
    pairs = itertools.pairwise(fed)
    return [0, *(common_length(one, other) for one, other in pairs)][: len(fed)]


def _assign_trunks(
    requests: Sequence[Request], fed: Sequence[Tokens], budget: int
) -> list[tuple[Trunk, list[int]]]:
    """Give every request its trunk; a trunk ends before the first scored position below it."""
    shared = np.array(_shared_with_previous(fed), dtype=np.int64)
    lengths = np.array([len(tokens) for tokens in fed], dtype=np.int64)
    starts = np.array([request.first_scored for request in requests], dtype=np.int64)
    grown = np.concatenate([[0], np.cumsum(lengths - shared)])
    members: dict[Trunk, list[int]] = {}
    pending = [(0, len(fed), Trunk())] if fed else []
    while pending:
        first, last, trunk = pending.pop()
        size = lengths[first] - trunk.depth + grown[last] - grown[first + 1]
        if size <= budget or last - first == 1:
            members.setdefault(trunk, []).extend(range(first, last))
            continue
        fork = int(shared[first + 1 : last].min())
        end = min(fork, int(starts[first:last].min()))
        if end - trunk.depth >= SHORTEST_TRUNK:
            tokens = requests[first].fed[trunk.depth : min(end, trunk.depth + budget)]
            pending.append((first, last, Trunk(parent=trunk, tokens=tokens)))
            continue
        forks = first + 1 + np.flatnonzero(shared[first + 1 : last] == fork)
        edges = [first, *(int(edge) for edge in forks), last]
        pending += [(lo, hi, trunk) for lo, hi in itertools.pairwise(edges)][::-1]
    return list(members.items())


def _cut(fed: Sequence[Tokens], depth: int, budget: int) -> Iterator[tuple[int, int]]:
    """Cut sorted sequences into ranges within the budget, where neighbours share the least."""
    shared = _shared_with_previous(fed)
    first, size = 0, 0
    filled: list[int] = []  # the size before each sequence from `first` on
    position = 0
    while position < len(fed):
        added = len(fed[position]) - (shared[position] if position > first else depth)
        if added and position > first and size + added > budget:
            # A later cut fills the batch, an earlier one may spare a prefix from being fed twice.
            ends = [end for end in range(first + 1, position + 1)
                    if end == position or 2 * filled[end - first] >= budget]  # fmt: skip
            end = min(ends, key=lambda end: (shared[end], -end))
            yield first, end
            first, position, size, filled = end, end, 0, []
            continue
        filled.append(size)
        size += added
        position += 1
    if fed:
        yield first, len(fed)
