"""A packed row holds every token of the tree once, and its blocks see exactly their ancestors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from request_trees import budgets, plan, prefixes, request, request_lists, shortest_trunks

from proteinlm_ext.packed_batch import Block, PackedBatch, pack, pack_trunk
from proteinlm_ext.prefix_tree import Batch, Request, Trunk

Prefix = tuple[int, ...]


@st.composite
def packed_batches(draw: Any) -> tuple[Batch, PackedBatch, list[Prefix]]:
    """Draw a batch of a plan, its layout, and what each token of its row follows."""
    asked = draw(request_lists())
    batch = draw(st.sampled_from(plan(asked, draw(budgets), draw(shortest_trunks))))
    # With its own settings the module makes one block of so small a tree.
    with pytest.MonkeyPatch.context() as patch:
        for name, values in (("SMALL_SUBTREE", [0, 4, 192]), ("PAIRS_PER_COPY", [0, 4, 250])):
            patch.setattr(f"proteinlm_ext.packed_batch.{name}", draw(st.sampled_from(values)))
        return batch, pack(batch), prefixes(batch.requests, batch.trunk.depth)


def for_any_batch(test: Callable[..., None]) -> Callable[..., None]:
    return settings(deadline=None, max_examples=200)(given(packed_batches())(test))


Drawn = tuple[Batch, PackedBatch, list[Prefix]]


@for_any_batch
def test_the_row_holds_every_prefix_once_depth_first(drawn: Drawn) -> None:
    batch, packed, row = drawn
    assert packed.trunk_depth == batch.trunk.depth
    assert packed.tokens.tolist() == [prefix[-1] for prefix in row]
    depths = [batch.trunk.depth + len(prefix) - 1 for prefix in row]
    assert packed.positions.tolist() == depths


@for_any_batch
def test_a_token_is_below_those_whose_subtree_has_not_ended(drawn: Drawn) -> None:
    _, packed, row = drawn
    for index, prefix in enumerate(row):
        above = [i for i in range(index + 1) if packed.ends[i] > index]
        assert [row[i] for i in above] == [prefix[:end] for end in range(1, len(prefix) + 1)]


@for_any_batch
def test_a_span_points_at_the_tokens_before_each_of_the_continuation(drawn: Drawn) -> None:
    batch, packed, row = drawn
    assert len(packed.spans) == len(batch.requests)
    for one, span in zip(batch.requests, packed.spans, strict=True):
        found = [row[packed.scored[i]] for i in span]
        ends = range(one.first_scored + 1, len(one.fed) + 1)
        assert found == [one.fed[packed.trunk_depth : end] for end in ends]
        assert len(found) == len(one.continuation)


@for_any_batch
def test_only_logits_that_a_request_needs_are_asked_for(drawn: Drawn) -> None:
    _, packed, _ = drawn
    assert packed.scored.tolist() == sorted(set(packed.scored.tolist()))
    asked = {int(i) for span in packed.spans for i in span}
    assert asked == set(range(len(packed.scored)))


@for_any_batch
def test_blocks_cover_the_row_without_overlap(drawn: Drawn) -> None:
    _, packed, row = drawn
    covered = [i for block in packed.blocks for i in range(block.first, block.last)]
    assert covered == list(range(len(row)))
    assert all(block.queries > 0 for block in packed.blocks)


@for_any_batch
def test_the_queries_of_a_block_have_the_same_ancestors_before_it(drawn: Drawn) -> None:
    _, packed, row = drawn
    place = {prefix: i for i, prefix in enumerate(row)}
    for block in packed.blocks:
        for index in range(block.first, block.last):
            above = [place[row[index][:end]] for end in range(1, len(row[index]))]
            assert [i for i in above if i < block.first] == block.ancestors.tolist()
        assert block.keys == block.queries + len(block.ancestors)


@for_any_batch
def test_a_block_called_a_path_has_no_fork(drawn: Drawn) -> None:
    _, packed, row = drawn
    for block in packed.blocks:
        lengths = [len(prefix) for prefix in row[block.first : block.last]]
        if block.is_path:
            assert lengths == list(range(lengths[0], lengths[0] + block.queries))


def block(first: int, last: int, ancestors: int, *, is_path: bool) -> tuple[Any, ...]:
    return first, last, list(range(ancestors)), is_path


def blocks(packed: PackedBatch) -> list[tuple[Any, ...]]:
    return [(b.first, b.last, b.ancestors.tolist(), b.is_path) for b in packed.blocks]


def batch_of(*fed: Prefix) -> Batch:
    return Batch(trunk=Trunk(), requests=tuple(request(one, 0, 1) for one in fed))


def test_a_small_tree_is_one_block() -> None:
    packed = pack(batch_of((1, 2, 3), (1, 2, 4)))
    assert blocks(packed) == [block(0, 4, 0, is_path=False)]


def test_a_long_stem_is_a_path_of_its_own_and_its_small_branches_are_joined() -> None:
    stem = (*range(300),)
    packed = pack(batch_of((*stem, 7, 7), (*stem, 8), (*stem, 9)))
    assert blocks(packed) == [block(0, 300, 0, is_path=True), block(300, 304, 300, is_path=False)]


def test_long_branches_attend_apart() -> None:
    stem, long = (*range(10),), [(*range(1000 * k, 1000 * k + 400),) for k in (1, 2)]
    packed = pack(batch_of((*stem, *long[0]), (*stem, *long[1])))
    assert blocks(packed) == [
        block(0, 10, 0, is_path=True),
        block(10, 410, 10, is_path=True),
        block(410, 810, 10, is_path=True),
    ]


def test_unrelated_requests_are_blocks_without_ancestors() -> None:
    packed = pack(batch_of((*range(200),), (*range(1000, 1300),)))
    assert blocks(packed) == [block(0, 200, 0, is_path=True), block(200, 500, 0, is_path=True)]


def test_requests_that_feed_the_same_share_a_row_but_not_their_spans() -> None:
    fed = (1, 2, 3)
    asked: tuple[Request, ...] = (request(fed, 4, 1), request(fed, 5, 1), request(fed, 4, 3))
    packed = pack(Batch(trunk=Trunk(), requests=asked))
    assert packed.tokens.tolist() == [1, 2, 3]
    assert [span.tolist() for span in packed.spans] == [[2], [2], [0, 1, 2]]


def test_a_trunk_is_one_path_below_its_parent() -> None:
    packed = pack_trunk((5, 6, 7), 10)
    assert packed.tokens.tolist() == [5, 6, 7]
    assert packed.positions.tolist() == [10, 11, 12]
    assert packed.trunk_depth == 10
    assert blocks(packed) == [block(0, 3, 0, is_path=True)]
    assert packed.ends.tolist() == [3, 3, 3]
    assert packed.spans == ()


def test_a_block_counts_its_queries_and_keys() -> None:
    made = Block(first=4, last=9, ancestors=np.array([0, 1]), is_path=True)
    assert (made.queries, made.keys) == (5, 7)
