"""A model that is fed a packed tree answers as it does request by request."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from request_trees import plan, prefixes, request, request_lists
from tiny_models import ARCHITECTURES, save_model

from proteinlm_ext.prefix_tree import Batch, Request, Trunk, least_tokens
from proteinlm_ext.tree_attention import UnsupportedModelError, attention_of
from proteinlm_ext.tree_model import Answer, TreeModel, probe

CPU = torch.device("cpu")
Load = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Return a function that makes a tiny model of an architecture."""
    from transformers import AutoModelForCausalLM

    def make(architecture: str, **changes: Any) -> Any:
        folder = save_model(tmp_path_factory.mktemp(architecture), architecture, **changes)
        return AutoModelForCausalLM.from_pretrained(folder).eval()

    return make


def score(tree: TreeModel, batches: Sequence[Batch]) -> dict[Request, Answer]:
    with tree.ready():
        pairs = [zip(batch.requests, tree.score(batch), strict=True) for batch in batches]
    return dict(pair for answers in pairs for pair in answers)


def score_alone(model: Any, one: Request) -> Answer:
    with torch.no_grad():
        logits = model(torch.tensor([one.fed])).logits[0, one.first_scored :]
    targets = torch.tensor(one.continuation)
    values = logits.log_softmax(-1)[range(len(targets)), targets]
    return float(values.sum()), bool((logits.argmax(-1) == targets).all())


def assert_answers(model: Any, answers: dict[Request, Answer], asked: Sequence[Request]) -> None:
    assert set(answers) == set(asked)
    for one in asked:
        value, greedy = score_alone(model, one)
        assert answers[one] == (pytest.approx(value, abs=1e-4), greedy)


def with_greedy_twin(model: Any, one: Request) -> list[Request]:
    """Return the request, and one for the last token that the model would choose."""
    with torch.no_grad():
        best = int(model(torch.tensor([one.fed])).logits[0, -1].argmax())
    return [one, request(one.fed, best, 1)]


def questions() -> list[Request]:
    """Three questions below common examples, with options of 1 to 15 tokens, and one apart."""
    shots = [(7 * i) % 300 + 2 for i in range(40)]
    stems = [[*shots, *((11 * i + q) % 300 + 2 for i in range(5 + 9 * q))] for q in range(3)]
    asked = [
        request([*stem, *((option * i) % 300 + 2 for i in range(1, 1 + 4 * option))], 9 + option,
                1 + 4 * option)
        for stem in stems for option in range(4)
    ]  # fmt: skip
    return [*asked, request([*range(50, 90)], 3, 40), request([5], 6, 1)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_tree_gives_the_answers_of_single_requests(architecture: str, load: Load) -> None:
    model = load(architecture)
    asked = [twin for one in questions() for twin in with_greedy_twin(model, one)]
    tree = TreeModel(model, device=CPU)
    for budget, shortest in ((1, 64), (1, 2), (30, 2), (70, 16), (5000, 2)):
        batches = plan(asked, budget, shortest)
        answers = score(tree, batches)
        assert_answers(model, answers, asked)
        assert {greedy for _, greedy in answers.values()} == {True, False}
    assert max(len(batch.trunk.lineage()) for batch in plan(asked, 30, 2)) > 1


@pytest.mark.parametrize("architecture", ["llama", "gemma3_text"])
def test_random_trees_give_the_answers_of_single_requests(architecture: str, load: Load) -> None:
    model = load(architecture)
    tree = TreeModel(model, device=CPU)

    @settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
    @given(
        request_lists(tokens=5, most=8, longest_branch=24),
        st.integers(1, 60), st.sampled_from([1, 2, 5]), st.sampled_from([0, 4, 192]),
    )  # fmt: skip
    def check(asked: list[Request], budget: int, shortest: int, small: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("proteinlm_ext.packed_batch.SMALL_SUBTREE", small)
            patch.setattr("proteinlm_ext.packed_batch.PAIRS_PER_COPY", small)
            assert_answers(model, score(tree, plan(asked, budget, shortest)), asked)

    check()


def test_the_tokens_fed_are_those_of_the_plan_with_every_trunk_once(load: Load) -> None:
    asked, tree = questions(), TreeModel(load("llama"), device=CPU)
    batches = plan(asked, 30, 2)
    score(tree, batches)
    trunks = {trunk for batch in batches for trunk in batch.trunk.lineage()}
    rows = sum(len(prefixes(batch.requests, batch.trunk.depth)) for batch in batches)
    assert len(trunks) > 1
    assert tree.tokens_fed == rows + sum(len(trunk.tokens) for trunk in trunks)
    assert tree.tokens_fed < sum(len(one.fed) for one in asked)


def test_one_large_batch_feeds_the_least(load: Load) -> None:
    asked, tree = questions(), TreeModel(load("llama"), device=CPU)
    score(tree, plan(asked, 5000, 64))
    assert tree.tokens_fed == least_tokens(asked)


def test_many_scored_tokens_are_normalised_in_parts(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load("llama")
    asked = questions()
    whole = score(TreeModel(model, device=CPU), plan(asked, 5000, 64))
    monkeypatch.setattr("proteinlm_ext.tree_model.ROWS_AT_A_TIME", 3)
    assert score(TreeModel(model, device=CPU), plan(asked, 5000, 64)) == whole


def test_no_keys_and_values_are_kept_after_scoring(load: Load) -> None:
    tree = TreeModel(load("llama"), device=CPU)
    batches = plan(questions(), 30, 2)
    with tree.ready():
        for batch in batches:
            tree.score(batch)
            assert set(tree._states) == set(batch.trunk.lineage())
    assert tree._states == {}
    assert attention_of(tree.base) == "sdpa"


def refused(model: Any) -> str:
    with pytest.raises(UnsupportedModelError) as info:
        TreeModel(model, device=CPU)
    return str(info.value)


def test_a_model_with_flash_attention_is_refused(load: Load) -> None:
    model = load("llama")
    model.config._attn_implementation = "flash_attention_2"
    assert refused(model) == "its attention is flash_attention_2, not sdpa or eager"


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0},
        {"rope_type": "longrope", "factor": 4.0, "rope_theta": 10000.0, "long_factor": [1.0] * 4,
         "short_factor": [2.0] * 4, "original_max_position_embeddings": 64},
    ],
    ids=lambda rope: rope["rope_type"],
)  # fmt: skip
def test_a_rotary_embedding_that_depends_on_the_length_is_refused(
    rope: dict[str, Any], load: Load
) -> None:
    model = load("llama", rope_parameters=rope)
    assert f"its {rope['rope_type']} rotary embedding" in refused(model)


def test_a_rotary_embedding_by_layer_type_is_looked_through(load: Load) -> None:
    default = {"rope_type": "default", "rope_theta": 10000.0}
    dynamic = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}
    rope = {"sliding_attention": default, "full_attention": dynamic}
    assert "dynamic" in refused(load("gemma3_text", rope_parameters=rope))


def test_a_model_that_computes_all_logits_is_refused(load: Load) -> None:
    model = load("llama")
    model.forward = lambda input_ids, position_ids: None
    assert refused(model) == "it computes the logits of every token"


def test_a_recurrent_model_is_refused(load: Load) -> None:
    model = load("mamba", vocab_size=384, hidden_size=32, num_hidden_layers=2)
    assert "linear_attention" in refused(model)


def test_windows_are_known_layer_by_layer(load: Load) -> None:
    windows = TreeModel(load("gemma3_text"), device=CPU).windows
    assert windows == dict.fromkeys(range(7), 16) | {5: None}
    assert TreeModel(load("llama"), device=CPU).windows == {0: None, 1: None}
    assert TreeModel(load("mistral"), device=CPU).windows == {0: 16, 1: 16}


def test_logits_of_other_positions_are_noticed(load: Load) -> None:
    model = load("llama")
    forward = model.forward

    def all_logits(logits_to_keep: Any = 0, **inputs: Any) -> Any:
        return forward(**inputs)

    model.forward = all_logits
    tree = TreeModel(model, device=CPU)
    batch = Batch(trunk=Trunk(), requests=(request((1, 2, 3), 4, 1),))
    with tree.ready(), pytest.raises(UnsupportedModelError, match="other positions"):
        tree.score(batch)


def plain(model: Any) -> Callable[[Any], Any]:
    def call(tokens: Any) -> Any:
        with torch.no_grad():
            return model(tokens).logits

    return call


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_probe_lets_known_architectures_pass(
    architecture: str, dtype: torch.dtype, load: Load
) -> None:
    model = load(architecture).to(dtype)
    probe(TreeModel(model, device=CPU), plain(model))
    assert attention_of(model) == ARCHITECTURES[architecture].get("attn_implementation", "sdpa")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_probe_notices_tokens_that_mix_outside_attention(
    dtype: torch.dtype, load: Load
) -> None:
    model = load("llama").to(dtype)
    model.model.layers[0].mlp.register_forward_hook(lambda _, __, out: out + out.cumsum(1))
    with pytest.raises(UnsupportedModelError, match="logits in a tree are off by"):
        probe(TreeModel(model, device=CPU), plain(model))


def test_the_probe_notices_what_is_not_a_number(load: Load) -> None:
    model = load("llama")
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(UnsupportedModelError, match="off by nan"):
        probe(TreeModel(model, device=CPU), plain(model))
