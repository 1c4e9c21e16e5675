"""Plans feed every request once, within the budget, and hardly more tokens than the tree has."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from request_trees import budgets, plan, prefixes, request, request_lists, shortest_trunks
from tiny_models import save_model, save_tokenizer

from proteinlm_ext.errors import ProteinLMError
from proteinlm_ext.prefix_tree import (
    Batch,
    Request,
    Trunk,
    least_tokens,
    make_batches,
    make_request,
)


def row_size(batch: Batch) -> int:
    return len(prefixes(batch.requests, batch.trunk.depth))


def fed_tokens(batches: Sequence[Batch]) -> int:
    """Count as the model does: it keeps the trunks above the current batch, no others."""
    total, kept = 0, set[Trunk]()
    for batch in batches:
        lineage = batch.trunk.lineage()
        total += sum(len(trunk.tokens) for trunk in lineage if trunk not in kept)
        total += row_size(batch)
        kept = set(lineage)
    return total


def trunk_tokens(batch: Batch) -> tuple[int, ...]:
    return tuple(token for trunk in batch.trunk.lineage() for token in trunk.tokens)


def for_any_plan(*more: Any) -> Callable[..., Any]:
    given_plan = given(request_lists(), budgets, shortest_trunks, *more)
    return lambda test: settings(deadline=None)(given_plan(test))


@for_any_plan()
def test_every_request_is_in_exactly_one_batch(
    asked: list[Request], budget: int, shortest: int
) -> None:
    planned = [one for batch in plan(asked, budget, shortest) for one in batch.requests]
    assert len(planned) == len(set(asked))
    assert set(planned) == set(asked)


@for_any_plan()
def test_a_batch_is_sorted_and_not_empty(asked: list[Request], budget: int, shortest: int) -> None:
    for batch in plan(asked, budget, shortest):
        fed = [one.fed for one in batch.requests]
        assert fed
        assert fed == sorted(fed)


@for_any_plan()
def test_only_a_single_sequence_exceeds_the_budget(
    asked: list[Request], budget: int, shortest: int
) -> None:
    for batch in plan(asked, budget, shortest):
        assert row_size(batch) <= budget or len({one.fed for one in batch.requests}) == 1


@for_any_plan()
def test_requests_lie_below_their_trunk_and_score_nothing_inside_it(
    asked: list[Request], budget: int, shortest: int
) -> None:
    for batch in plan(asked, budget, shortest):
        head = trunk_tokens(batch)
        assert len(head) == batch.trunk.depth
        for one in batch.requests:
            assert one.fed[: len(head)] == head
            assert one.first_scored >= len(head)


@for_any_plan()
def test_a_trunk_is_worth_a_pass_and_serves_several_requests(
    asked: list[Request], budget: int, shortest: int
) -> None:
    served: dict[Trunk, int] = {}
    for batch in plan(asked, budget, shortest):
        for trunk in batch.trunk.lineage():
            assert len(trunk.tokens) >= min(shortest, budget)
            served[trunk] = served.get(trunk, 0) + len(batch.requests)
    assert all(number > 1 for number in served.values())


@for_any_plan()
def test_a_trunk_is_fed_once(asked: list[Request], budget: int, shortest: int) -> None:
    batches = plan(asked, budget, shortest)
    trunks = {trunk for batch in batches for trunk in batch.trunk.lineage()}
    once = sum(len(trunk.tokens) for trunk in trunks) + sum(map(row_size, batches))
    assert fed_tokens(batches) == once


@for_any_plan(st.randoms(use_true_random=False))
def test_the_plan_does_not_depend_on_order_or_repeats(
    asked: list[Request], budget: int, shortest: int, order: random.Random
) -> None:
    shuffled = [*asked, *order.choices(asked, k=3)]
    order.shuffle(shuffled)
    assert plan(shuffled, budget, shortest) == plan(asked, budget, shortest)


def test_the_order_of_requests_that_feed_the_same_does_not_matter() -> None:
    """Such requests, the letters of a question, are a tie by what they feed."""
    asked = [request((1, 2, 3), letter, 1) for letter in range(40)]
    assert make_batches(asked[::-1], 100) == make_batches(asked, 100)


@settings(deadline=None)
@given(request_lists())
def test_the_least_number_of_tokens_is_the_number_of_distinct_prefixes(
    asked: list[Request],
) -> None:
    assert least_tokens(asked) == len(prefixes(asked))


@for_any_plan()
def test_a_plan_feeds_between_the_least_and_every_request_whole(
    asked: list[Request], budget: int, shortest: int
) -> None:
    fed = fed_tokens(plan(asked, budget, shortest))
    assert least_tokens(asked) <= fed <= sum(len(one.fed) for one in set(asked))


@settings(deadline=None)
@given(request_lists(), shortest_trunks)
def test_within_a_large_budget_one_batch_feeds_the_least(
    asked: list[Request], shortest: int
) -> None:
    (batch,) = plan(asked, least_tokens(asked), shortest)
    assert batch.trunk == Trunk()
    assert fed_tokens([batch]) == least_tokens(asked)


def test_nothing_asked_needs_no_batch() -> None:
    assert make_batches([], 100) == []
    assert least_tokens([]) == 0


def test_examples_and_questions_become_nested_trunks() -> None:
    shots, stems = (*range(100),), [(*range(1000 * q, 1000 * q + 70),) for q in (1, 2)]
    asked = [
        request((*shots, *stem, *[option] * 30), 9, 31) for stem in stems for option in range(5)
    ]
    batches = make_batches(asked, 120)
    lineages = {batch.trunk.lineage() for batch in batches}
    assert [[len(trunk.tokens) for trunk in one] for one in lineages] == [[100, 69], [100, 69]]
    assert [len(batch.requests) for batch in batches] == [3, 2] * 2
    # The stem's last token predicts the first of an option: it is in the row of every batch.
    assert fed_tokens(batches) == 100 + 2 * (69 + 2) + 10 * 30 == least_tokens(asked) + 2


def test_a_prefix_shorter_than_a_trunk_is_fed_in_every_batch() -> None:
    asked = [request((*range(63), *[option] * 30), 9, 1) for option in range(4)]
    batches = make_batches(asked, 130)
    assert [len(batch.requests) for batch in batches] == [2, 2]
    assert {batch.trunk for batch in batches} == {Trunk()}


def test_a_cut_falls_between_questions_rather_than_between_options() -> None:
    asked = [
        request((*[question] * 20, *[option] * 10), 9, 1)
        for question in (1, 2, 3)
        for option in (4, 5, 6)
    ]
    batches = make_batches(asked, 119)
    assert [len(batch.requests) for batch in batches] == [6, 3]
    assert fed_tokens(batches) == least_tokens(asked)


@pytest.fixture(scope="module")
def encode(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Request]:
    """Return a function that makes the request of two strings with the tiny tokenizer."""
    from lm_eval.api.model import TemplateLM
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoder: Any = SimpleNamespace(
        backend="causal", tok_encode=lambda text: tokenizer(text).input_ids
    )

    def make(context: str, continuation: str) -> Request:
        pair = TemplateLM._encode_pair(encoder, context, continuation)
        return make_request(*pair, 100_000)

    return make


@pytest.mark.parametrize("shots", [0, 5])
@pytest.mark.parametrize("task", ["proteinlmbench_sample", "proteinlmbench_sample_cloze"])
def test_the_sample_is_fed_in_at_most_a_tenth_more_tokens_than_the_least(
    task: str, shots: int, load_tasks: Callable[..., dict[str, Any]],
    encode: Callable[..., Request],
) -> None:  # fmt: skip
    loaded = load_tasks(task)[task]
    loaded.set_config("num_fewshot", shots)
    loaded.build_all_requests()
    asked = [encode(*instance.args) for instance in loaded.instances]
    batches = make_batches(asked, 1024)
    assert len(asked) >= 240
    assert len(batches) > 5
    assert fed_tokens(batches) <= 1.10 * least_tokens(asked)


WINDOW = 24
token_lists = st.lists(st.integers(0, 99), min_size=1, max_size=40)


@settings(deadline=None)
@given(token_lists, token_lists.filter(lambda tokens: len(tokens) <= WINDOW))
def test_a_request_keeps_the_end_of_what_it_was_made_from(
    context: list[int], continuation: list[int]
) -> None:
    made = make_request(context, continuation, WINDOW)
    assert made.tokens == (*context, *continuation)[-(WINDOW + 1) :]
    assert made.continuation == tuple(continuation)
    assert made.tokens[made.first_scored + 1 :] == made.continuation


@pytest.mark.parametrize(
    ("context", "continuation", "counts"),
    [([], [1], "0 and 1"), ([1], [], "1 and 0"), ([1], [2] * 25, "1 and 25")],
)
def test_a_request_without_context_or_that_exceeds_the_window_is_refused(
    context: list[int], continuation: list[int], counts: str
) -> None:
    with pytest.raises(ProteinLMError, match=f"1 to {WINDOW} tokens; got {counts}"):
        make_request(context, continuation, WINDOW)


def test_a_request_is_cut_as_lm_eval_cuts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.models.huggingface import HFLM

    stock = HFLM(
        pretrained=str(save_model(tmp_path, "llama")), device="cpu", batch_size=1,
        max_length=WINDOW, logits_cache=False,
    )  # fmt: skip
    fed: set[tuple[int, ...]] = set()
    forward = stock._model_call

    def watch(tokens: Any, **options: Any) -> Any:
        fed.add(tuple(tokens[0].tolist()))
        return forward(tokens, **options)

    monkeypatch.setattr(stock, "_model_call", watch)
    sizes = [(1, 1), (1, WINDOW), (30, WINDOW), (30, 1), (WINDOW, 1), (WINDOW - 1, 2), (40, 7)]
    pairs = [[[*range(9 * i, 9 * i + n)] for n in size] for i, size in enumerate(sizes)]
    stock._loglikelihood_tokens([(None, *pair) for pair in pairs], disable_tqdm=True)
    assert {make_request(*pair, WINDOW).fed for pair in pairs} == fed
