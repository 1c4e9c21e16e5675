"""Random requests that share prefixes, and the naive way to tell what their tree is."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import strategies as st

from proteinlm_ext.prefix_tree import Batch, Request, make_batches


def request(fed: Sequence[int], last: int, length: int) -> Request:
    """Return a request whose continuation has `length` tokens, the last of them `last`."""
    return Request(fed=tuple(fed), continuation=(*fed, last)[-length:])


@st.composite
def request_lists(
    draw: Any, tokens: int = 3, most: int = 12, longest_branch: int = 8
) -> list[Request]:
    """Draw requests that fork off others anywhere: identical, nested, split at other places."""
    token = st.integers(0, tokens - 1)
    drawn: list[Request] = []
    for _ in range(draw(st.integers(1, most))):
        head: tuple[int, ...] = ()
        if drawn and draw(st.booleans()):
            known = draw(st.sampled_from(drawn)).fed
            head = known[: draw(st.integers(0, len(known)))]
        branch = st.lists(token, min_size=0 if head else 1, max_size=longest_branch)
        fed = (*head, *draw(branch))
        drawn.append(request(fed, draw(token), draw(st.integers(1, len(fed)))))
    return drawn


# With its own setting the module makes no trunk of a drawn prefix.
shortest_trunks = st.sampled_from([1, 2, 5, 64])
budgets = st.integers(1, 60)


def plan(asked: Sequence[Request], budget: int, shortest_trunk: int) -> list[Batch]:
    """Make batches with trunks of `shortest_trunk` tokens and more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("proteinlm_ext.prefix_tree.SHORTEST_TRUNK", shortest_trunk)
        return make_batches(asked, budget)


def prefixes(asked: Sequence[Request], depth: int = 0) -> list[tuple[int, ...]]:
    """Return all prefixes of what the requests feed below `depth`, depth first."""
    return sorted(
        {one.fed[depth:end] for one in asked for end in range(depth + 1, len(one.fed) + 1)}
    )
