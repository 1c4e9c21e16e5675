"""Every query sees its ancestors within the window; a model's own attention comes back."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from request_trees import budgets, plan, prefixes, request, request_lists, shortest_trunks
from tiny_models import save_model

from proteinlm_ext.packed_batch import pack
from proteinlm_ext.prefix_tree import Batch, Trunk
from proteinlm_ext.tree_attention import (
    NAME,
    TreeLayout,
    UnsupportedModelError,
    attention_of,
    follow,
    make_layout,
    replaced_attention,
)

CPU = torch.device("cpu")


def layout_of(batch: Batch, window: int | None, implementation: str = "sdpa") -> TreeLayout:
    return make_layout(
        pack(batch), {0: window}, implementation=implementation, dtype=torch.float32,
        device=CPU, trunk={},
    )  # fmt: skip


def seen_by_place(layout: TreeLayout, window: int | None, depth: int) -> list[list[int]]:
    """List what each query of all groups sees: trunk positions, then depth + row index."""
    found: list[list[int]] = []
    for group in layout.groups:
        mask = group.masks[window]
        for i, queries in enumerate(group.queries):
            keys = [*range(depth), *(depth + group.keys[i]).tolist()]
            for q in range(len(queries)):
                if mask is None:  # plain causal attention
                    found.append(sorted(set(keys[: q + 1])))
                else:
                    visible = (mask[i, 0, q] == 0).tolist()
                    assert len(visible) == len(keys)
                    found.append(sorted(k for k, v in zip(keys, visible, strict=True) if v))
    return found


@settings(deadline=None, max_examples=200)
@given(
    request_lists(), budgets, shortest_trunks,
    st.sampled_from([None, 1, 2, 5, 1000]), st.sampled_from(["sdpa", "eager"]), st.data(),
)  # fmt: skip
def test_a_token_sees_its_ancestors_and_the_trunk_within_the_window(
    asked: Any, budget: int, shortest: int, window: int | None, implementation: str, data: Any
) -> None:
    batch = data.draw(st.sampled_from(plan(asked, budget, shortest)))
    with pytest.MonkeyPatch.context() as patch:
        small = data.draw(st.sampled_from([0, 4, 192]))
        patch.setattr("proteinlm_ext.packed_batch.SMALL_SUBTREE", small)
        patch.setattr("proteinlm_ext.packed_batch.PAIRS_PER_COPY", small)
        layout = layout_of(batch, window, implementation)
    depth = batch.trunk.depth
    row = prefixes(batch.requests, depth)
    place = {prefix: depth + i for i, prefix in enumerate(row)}
    by_place = seen_by_place(layout, window, depth)
    assert len(layout.places) == len(row)
    for index, prefix in enumerate(row):
        path = [*range(depth), *(place[prefix[:end]] for end in range(1, len(prefix) + 1))]
        expected = path[-window:] if window else path
        assert by_place[layout.places[index]] == expected


def test_a_plain_sequence_has_no_mask_where_the_window_does_not_cut() -> None:
    batch = Batch(trunk=Trunk(), requests=(request((1, 2, 3), 4, 1),))
    assert layout_of(batch, None).groups[0].masks == {None: None}
    assert layout_of(batch, 3).groups[0].masks == {3: None}
    assert layout_of(batch, 2).groups[0].masks[2] is not None
    assert layout_of(batch, None, "eager").groups[0].masks[None] is not None


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoModelForCausalLM

    folder: Path = save_model(tmp_path_factory.mktemp("llama"), "llama")
    return AutoModelForCausalLM.from_pretrained(folder)


def test_a_models_attention_is_replaced_and_comes_back(model: Any) -> None:
    assert attention_of(model) == "sdpa"
    with replaced_attention(model):
        assert attention_of(model) == NAME
    assert attention_of(model) == "sdpa"


def test_a_models_attention_comes_back_after_an_exception(model: Any) -> None:
    with pytest.raises(KeyboardInterrupt), replaced_attention(model):
        raise KeyboardInterrupt
    assert attention_of(model) == "sdpa"


def test_a_model_that_keeps_its_attention_is_refused(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "set_attn_implementation", lambda name: None)
    refused = pytest.raises(UnsupportedModelError, match="cannot be replaced")
    with refused, replaced_attention(model):
        pytest.fail("the model was used")


def feed(model: Any, batch: Batch, windows: dict[int, int | None]) -> Any:
    packed = pack(batch)
    layout = make_layout(
        packed, windows, implementation="sdpa", dtype=torch.float32, device=CPU, trunk={}
    )
    with replaced_attention(model), follow(layout), torch.no_grad():
        row, positions = (
            torch.from_numpy(part)[None] for part in (packed.tokens, packed.positions)
        )
        return model(input_ids=row, position_ids=positions, use_cache=False).logits[0]


BRANCHES = ((5, 6, 7, 8), (5, 6, 9), (10, 11))


def test_a_row_of_branches_gives_what_each_branch_gives_by_itself(model: Any) -> None:
    batch = Batch(trunk=Trunk(), requests=tuple(request(fed, 0, 1) for fed in BRANCHES))
    logits = feed(model, batch, {0: None, 1: None})
    row = prefixes(batch.requests)
    with torch.no_grad():
        for fed in BRANCHES:
            places = [row.index(fed[:end]) for end in range(1, len(fed) + 1)]
            torch.testing.assert_close(
                logits[places], model(torch.tensor([fed])).logits[0], atol=1e-5, rtol=0
            )


@pytest.mark.parametrize("windows", [{0: None}, {1: None}, {}])
def test_a_layer_whose_window_is_unknown_is_refused(model: Any, windows: Any) -> None:
    batch = Batch(trunk=Trunk(), requests=(request((1, 2), 3, 1),))
    with pytest.raises(UnsupportedModelError, match=r"unexpected attention window|not numbered"):
        feed(model, batch, windows)


def test_a_layer_that_asks_for_another_window_is_refused(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    mistral = AutoModelForCausalLM.from_pretrained(save_model(tmp_path, "mistral"))
    batch = Batch(trunk=Trunk(), requests=(request((1, 2), 3, 1),))
    with pytest.raises(UnsupportedModelError, match="layer 0"):
        feed(mistral, batch, {0: 8, 1: 16})
