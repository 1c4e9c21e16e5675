"""`--model proteinlm-hf` gives the answers of lm-eval's `hf`, on every path."""

import functools
import logging
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tiny_models import ARCHITECTURES, TEXT, VOCABULARY, save_model, save_tokenizer

from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_ext.harness import MODELS, add_models
from proteinlm_ext.prefix_lm import PrefixTreeLM
from proteinlm_ext.tree_attention import attention_of
from proteinlm_ext.tree_model import TreeModel

Answers = list[tuple[float, bool]]
Pair = tuple[str, str]
WORDS = TEXT.split()
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that saves a tiny model of an architecture, the same one once."""

    @functools.cache
    def save(architecture: str) -> Path:
        return save_model(tmp_path_factory.mktemp(architecture), architecture)

    return save


@pytest.fixture(scope="module")
def llama(saved: Callable[..., Path]) -> Path:
    return saved("llama")


def load(kind: Any, pretrained: Any, **options: Any) -> Any:
    """Load without the cache of logits, which is wrong where requests collide."""
    name = str(pretrained) if isinstance(pretrained, Path) else pretrained
    usual = {"device": "cpu", "dtype": "float32", "batch_size": 4, "logits_cache": False}
    return kind(pretrained=name, **(usual | options))


stock_model = functools.partial(load, HFLM)
our_model = functools.partial(load, PrefixTreeLM)


def text(first: int, length: int) -> str:
    """Return `length` words of the training text, another order for every `first`."""
    return " ".join(WORDS[(first + i * (2 * first + 3)) % len(WORDS)] for i in range(length))


def instances(pairs: Sequence[tuple[Any, ...]], kind: str = "loglikelihood") -> list[Instance]:
    return [Instance(kind, {}, pair, i) for i, pair in enumerate(pairs)]


def pairs() -> list[Pair]:
    """Return questions below common examples, and all that is odd about requests."""
    shots = text(1, 60)
    asked: list[Pair] = []
    for question in range(4):
        stem = f"{shots} {text(question, 6 + 9 * question)}"
        asked += [(stem, " " + text(question + option, 1 + 2 * option)) for option in range(3)]
        asked += [(stem, " A"), (stem, " B")]
    stem = text(2, 12) + " Answer:"
    asked += [(stem[:-3], stem[-3:] + " A"), (stem, " A")]  # the same tokens, split elsewhere
    asked += [(stem + " ", "histidine"), (stem + "\n", " B")]  # white space goes over the border
    asked += [("", " A"), ("", " histidine, cysteine"), (text(3, 2), " A")]
    return [*asked, asked[0], asked[3]]


def loglikelihoods(model: Any, asked: Sequence[Pair]) -> Answers:
    return model.loglikelihood(instances(asked), disable_tqdm=True)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "proteinlm_ext"]


def assert_same(found: Answers, expected: Answers, tolerance: float = 1e-4) -> None:
    assert [value for value, _ in found] == pytest.approx(
        [value for value, _ in expected], abs=tolerance
    )
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]


def shared(model: Any) -> bool:
    """Tell whether prefixes were shared: the model was fed a tree."""
    return bool(model._tree and model._tree.tokens_fed and not model._stock_because)


def spread(answers: Answers) -> float:
    values = [value for value, _ in answers]
    return max(values) - min(values)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_answers_are_those_of_hf(
    architecture: str, saved: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(architecture)
    ours, expected = our_model(folder), loglikelihoods(stock_model(folder), pairs())
    assert spread(expected) > 10
    for budget, shortest in ((1024, 64), (150, 64), (40, 2), (1, 2)):
        monkeypatch.setattr("proteinlm_ext.prefix_tree.SHORTEST_TRUNK", shortest)
        ours.token_budget = budget
        assert_same(loglikelihoods(ours, pairs()), expected)
    assert shared(ours)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma3_text"])
def test_contexts_over_the_window_are_cut_as_hf_cuts_them(
    architecture: str, saved: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = saved(architecture)
    ours, stock = (make(folder, max_length=32) for make in (our_model, stock_model))
    ours.token_budget = 60
    sizes = [len(a) + len(b) for a, b in (stock._encode_pair(*pair) for pair in pairs() if pair[0])]
    assert min(sizes) <= 33 < max(sizes)
    assert_same(loglikelihoods(ours, pairs()), loglikelihoods(stock, pairs()))
    assert shared(ours)
    cut = sum(size > 33 for size in sizes)
    assert messages(caplog) == [f"{cut} requests exceed 32 tokens; cut on the left."]


def test_requests_are_fed_far_fewer_tokens_than_they_have(llama: Path) -> None:
    ours = our_model(llama, token_budget=200)
    loglikelihoods(ours, pairs())
    encoded = [ours._encode_pair(*pair) for pair in pairs() if pair[0]]
    assert 3 * ours._tree.tokens_fed < sum(len(a) + len(b) - 1 for a, b in encoded)


def test_a_request_asked_twice_is_answered_twice_and_computed_once(llama: Path) -> None:
    ours = our_model(llama)
    answers = loglikelihoods(ours, pairs())
    assert len(answers) == len(pairs())
    assert answers[-2:] == [answers[0], answers[3]]
    assert ours.resume.counts["computed"] == len(set(pairs()))


def test_hf_with_its_cache_of_logits_is_wrong_where_requests_split_the_same_tokens(
    llama: Path,
) -> None:
    """The continuation with fewer tokens gets log-probabilities of positions before its own."""
    tokens = [*range(5, 15)]
    asked = [(None, tokens[:end], tokens[end:]) for end in (6, 9)]

    def answers(model: Any) -> list[float]:
        return [value for value, _ in model._loglikelihood_tokens(asked, disable_tqdm=True)]

    right = answers(stock_model(llama))
    cached = answers(stock_model(llama, logits_cache=True))
    assert cached[0] == pytest.approx(right[0], abs=1e-4)
    assert abs(cached[1] - right[1]) > 0.1
    assert answers(our_model(llama, logits_cache=True)) == pytest.approx(right, abs=1e-4)


def test_lm_evals_own_cache_is_told_every_answer(llama: Path) -> None:
    ours, told = our_model(llama), []
    ours.cache_hook = SimpleNamespace(add_partial=lambda *entry: told.append(entry))
    answers = loglikelihoods(ours, pairs())
    expected = [("loglikelihood", *entry) for entry in zip(pairs(), answers, strict=True)]
    assert told == expected


def test_nothing_asked_is_nothing_answered(llama: Path) -> None:
    ours = our_model(llama)
    assert ours._loglikelihood_tokens([], disable_tqdm=True) == []


def test_a_request_without_continuation_is_refused(llama: Path) -> None:
    with pytest.raises(ProteinLMError, match="got 3 and 0"):
        our_model(llama)._loglikelihood_tokens([(None, [5, 6, 7], [])], disable_tqdm=True)


# Numbers of 16 bits


def errors(answers: Answers, exact: Answers) -> torch.Tensor:
    return torch.tensor([a - b for (a, _), (b, _) in zip(answers, exact, strict=True)]).abs()


@pytest.mark.parametrize(
    "options", [{"dtype": "bfloat16"}, {"mixed_precision_dtype": "bfloat16"}], ids=str
)
@pytest.mark.parametrize("architecture", ["llama", "gemma3_text"])
def test_in_16_bits_we_are_as_far_from_exact_as_hf(
    architecture: str, options: dict[str, str], saved: Callable[..., Path]
) -> None:
    folder = saved(architecture)
    exact = loglikelihoods(stock_model(folder), pairs())
    ours = our_model(folder, token_budget=150, **options)
    found = errors(loglikelihoods(ours, pairs()), exact)
    stock = errors(loglikelihoods(stock_model(folder, **options), pairs()), exact)
    assert shared(ours)
    assert stock.mean() > 1e-3  # the option had an effect
    assert found.mean() <= 1.5 * stock.mean()


def is_bfloat16(value: float) -> bool:
    return float(torch.tensor(value).bfloat16()) == value


@pytest.mark.parametrize("make", [stock_model, our_model], ids=["hf", "proteinlm-hf"])
@pytest.mark.parametrize(
    ("options", "rounded"),
    [
        ({"dtype": "bfloat16"}, True),
        ({"dtype": "bfloat16", "softmax_dtype": "float32"}, False),
        ({"mixed_precision_dtype": "bfloat16"}, True),
        ({"mixed_precision_dtype": "bfloat16", "softmax_dtype": "float32"}, False),
        ({}, False),
    ],
    ids=str,
)
def test_logits_are_normalised_in_the_type_asked_for(
    make: Callable[..., Any], options: dict[str, str], rounded: bool, llama: Path
) -> None:
    asked = [(None, [*range(5, 25)], [token]) for token in range(30, 50)]
    answers = make(llama, **options)._loglikelihood_tokens(asked, disable_tqdm=True)
    assert all(is_bfloat16(value) for value, _ in answers) == rounded


# Attention


@pytest.mark.parametrize("architecture", ["llama", "gemma3_text", "gpt2"])
def test_eager_attention_is_followed_and_kept(
    architecture: str, saved: Callable[..., Path]
) -> None:
    folder = saved(architecture)
    ours = our_model(folder, token_budget=100, attn_implementation="eager")
    assert_same(loglikelihoods(ours, pairs()), loglikelihoods(stock_model(folder), pairs()))
    assert shared(ours)
    assert ours._tree.implementation == attention_of(ours.model) == "eager"


def test_the_models_attention_comes_back_after_scoring(llama: Path) -> None:
    ours = our_model(llama)
    loglikelihoods(ours, pairs())
    assert attention_of(ours.model) == "sdpa"


def test_the_models_attention_comes_back_after_an_exception(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = our_model(llama)

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(TreeModel, "score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        loglikelihoods(ours, pairs())
    assert attention_of(ours.model) == "sdpa"


# What goes through the parent


@pytest.mark.parametrize("architecture", ["llama", "gemma3_text"])
def test_generation_and_rolling_are_those_of_hf_also_after_scoring(
    architecture: str, saved: Callable[..., Path]
) -> None:
    ours, stock = (make(saved(architecture), max_length=48) for make in (our_model, stock_model))
    loglikelihoods(ours, pairs())
    settings = {"until": ["."], "max_gen_toks": 8, "do_sample": False}
    prompts = instances([(context, settings) for context, _ in pairs()[:6]], "generate_until")
    generated = ours.generate_until(prompts, disable_tqdm=True)
    assert generated == stock.generate_until(prompts, disable_tqdm=True)
    assert any(generated)
    texts = instances([(text(i, 5 + 20 * i),) for i in range(4)], "loglikelihood_rolling")
    fed = ours._tree.tokens_fed
    assert ours.loglikelihood_rolling(texts, disable_tqdm=True) == pytest.approx(
        stock.loglikelihood_rolling(texts, disable_tqdm=True), abs=1e-4
    )
    assert ours._tree.tokens_fed == fed


def assert_falls_back(ours: Any, stock: Any, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    """Check that all is as with `hf`, after one line that says why."""
    for _ in range(2):
        assert loglikelihoods(ours, pairs()) == loglikelihoods(stock, pairs())
    assert ours._tree is None
    (record,) = (r for r in caplog.records if r.name == "proteinlm_ext")
    assert record.levelno == logging.WARNING
    assert "Prefixes are not shared, as in --model hf" in record.message
    assert reason in record.message
    assert reason in ours.get_model_info()["stock_path_because"]


SMALL_MAMBA = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2}
DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}


@pytest.mark.parametrize(
    ("architecture", "changes", "reason"),
    [
        ("mamba", SMALL_MAMBA, "layers of type linear_attention"),
        ("llama", {"rope_parameters": DYNAMIC}, "dynamic rotary embedding"),
        ("bloom", {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 2, "n_head": 4},
         "attention cannot be replaced"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_fed_a_tree_takes_hfs_path(
    architecture: str, changes: Any, reason: str, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    save_model(tmp_path, architecture, **changes)
    assert_falls_back(our_model(tmp_path), stock_model(tmp_path), reason, caplog)


def test_an_encoder_decoder_takes_hfs_path(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    config = T5Config(
        vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
        pad_token_id=1, eos_token_id=1, decoder_start_token_id=1,
    )  # fmt: skip
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    ours, stock = our_model(tmp_path), stock_model(tmp_path)
    assert_falls_back(ours, stock, "it is an encoder-decoder", caplog)


def test_a_model_whose_probe_differs_takes_hfs_path(
    llama: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ours, stock = our_model(llama), stock_model(llama)
    for lm in (ours, stock):  # tokens of a row see each other outside attention
        layer = lm.model.model.layers[0].mlp
        layer.register_forward_hook(lambda _, __, out: out + out.cumsum(1))
    assert_falls_back(ours, stock, "its logits in a tree are off by", caplog)
    assert attention_of(ours.model) == "sdpa"


def test_a_model_whose_own_code_fails_on_a_tree_takes_hfs_path(
    llama: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ours = our_model(llama)
    own_rope = ours.model.model.rotary_emb.forward

    def needs_rising_positions(states: Any, position_ids: Any, *rest: Any, **named: Any) -> Any:
        if (position_ids.diff() < 0).any():
            raise IndexError("positions must rise")
        return own_rope(states, position_ids, *rest, **named)

    ours.model.model.rotary_emb.forward = needs_rising_positions
    assert_falls_back(ours, stock_model(llama), "positions must rise", caplog)
    assert attention_of(ours.model) == "sdpa"


# Adapters and ways of loading


def adapter(folder: Path, llama: Path, config: Any) -> Path:
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    get_peft_model(AutoModelForCausalLM.from_pretrained(llama), config).save_pretrained(folder)
    return folder


def test_prompt_tuning_takes_hfs_path(
    llama: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from peft import PromptTuningConfig

    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    peft = str(adapter(tmp_path, llama, config))
    ours, stock = our_model(llama, peft=peft), stock_model(llama, peft=peft)
    assert_falls_back(ours, stock, "virtual tokens", caplog)


def test_a_lora_adapter_goes_through_the_tree(llama: Path, tmp_path: Path) -> None:
    from peft import LoraConfig

    config = LoraConfig(
        task_type="CAUSAL_LM", r=4, init_lora_weights=False, target_modules=["q_proj", "up_proj"]
    )
    peft = str(adapter(tmp_path, llama, config))
    ours, expected = (
        our_model(llama, peft=peft),
        loglikelihoods(stock_model(llama, peft=peft), pairs()),
    )
    assert_same(loglikelihoods(ours, pairs()), expected)
    assert shared(ours)
    without = loglikelihoods(stock_model(llama), pairs())
    assert errors(expected, without).max() > 0.1


def test_a_model_in_memory_can_be_given(llama: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(llama)
    ours = our_model(model, tokenizer=AutoTokenizer.from_pretrained(llama))
    assert_same(loglikelihoods(ours, pairs()), loglikelihoods(stock_model(llama), pairs()))
    assert shared(ours)


@pytest.mark.parametrize("device_map", ["auto", {"": "cpu"}], ids=str)
def test_a_device_map_is_heeded(device_map: Any, llama: Path) -> None:
    ours = our_model(llama, device_map=device_map)
    assert_same(loglikelihoods(ours, pairs()), loglikelihoods(stock_model(llama), pairs()))
    assert shared(ours)


def test_weights_that_hooks_fetch_layer_by_layer_are_used(llama: Path, tmp_path: Path) -> None:
    from accelerate import dispatch_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    places = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk"}
    places |= dict.fromkeys(("model.norm", "model.rotary_emb", "lm_head"), "cpu")
    model = AutoModelForCausalLM.from_pretrained(llama)
    dispatch_model(model, places, main_device="cpu", offload_dir=tmp_path, force_hooks=True)
    assert model.model.layers[1].mlp.up_proj.weight.is_meta
    ours = our_model(model, tokenizer=AutoTokenizer.from_pretrained(llama))
    assert_same(loglikelihoods(ours, pairs()), loglikelihoods(stock_model(llama), pairs()))
    assert shared(ours)


# Memory

MEMORY = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."


def limit_memory(ours: Any, most: int, message: str = MEMORY) -> None:
    """Let forward passes of more than `most` tokens fail."""
    forward = ours.model.forward

    @functools.wraps(forward)  # the signature tells that few logits can be asked for
    def limited(*args: Any, **inputs: Any) -> Any:
        if inputs and inputs["input_ids"].numel() > most:
            raise RuntimeError(message)
        return forward(*args, **inputs)

    ours.model.forward = limited


def test_out_of_memory_halves_the_budget_and_goes_on(
    llama: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ours, expected = our_model(llama), loglikelihoods(our_model(llama), pairs())
    limit_memory(ours, 140)
    assert_same(loglikelihoods(ours, pairs()), expected)
    halved = ["Out of memory: the token budget is now 512.",
              "Out of memory: the token budget is now 256.",
              "Out of memory: the token budget is now 128."]  # fmt: skip
    assert messages(caplog) == halved
    assert ours.get_model_info()["token_budget"] == 128
    assert shared(ours)
    assert attention_of(ours.model) == "sdpa"
    loglikelihoods(ours, pairs())
    assert messages(caplog) == halved  # the smaller budget is kept


def test_what_was_answered_before_memory_ran_out_is_not_computed_again(
    llama: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ours, expected = our_model(llama, token_budget=60), loglikelihoods(our_model(llama), pairs())
    scored: list[Any] = []
    own = TreeModel.score

    def score(tree: Any, batch: Any) -> Answers:
        if len(scored) > 3 and not messages(caplog):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")
        scored.extend(batch.requests)
        return own(tree, batch)

    monkeypatch.setattr(TreeModel, "score", score)
    assert_same(loglikelihoods(ours, pairs()), expected)
    assert messages(caplog) == ["Out of memory: the token budget is now 30."]
    assert len(scored) == len(set(scored)) == ours.resume.counts["computed"]


def test_a_request_that_does_not_fit_by_itself_raises(
    llama: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ours = our_model(llama, token_budget=64)
    limit_memory(ours, 20)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        loglikelihoods(ours, pairs())
    budgets = [message.split()[-1] for message in messages(caplog)]
    assert budgets == ["32.", "16.", "8.", "4.", "2.", "1."]
    assert attention_of(ours.model) == "sdpa"


def test_another_error_is_raised_at_once(llama: Path, caplog: pytest.LogCaptureFixture) -> None:
    ours = our_model(llama, token_budget=64)
    limit_memory(ours, 20, "shapes do not match")
    with pytest.raises(RuntimeError, match="shapes do not match"):
        loglikelihoods(ours, pairs())
    assert messages(caplog) == []
    assert ours.token_budget == 64


# In lm-eval


def mutual_information() -> dict[str, Any]:
    """Return a task that also asks for every option without its question."""
    from proteinlm_ext.benchmark import load_sample_for_harness

    return {
        "task": "sample_mutual_information",
        "custom_dataset": load_sample_for_harness,
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "metric_list": [{"metric": name} for name in ("acc", "acc_norm", "acc_mutual_info")],
    }


def run(model: Any, tasks: list[Any], **options: Any) -> dict[str, Any]:
    import lm_eval
    from lm_eval.tasks import TaskManager

    from proteinlm_ext.paths import tasks_dir

    manager = TaskManager(include_path=tasks_dir(), include_defaults=False)
    return lm_eval.simple_evaluate(
        model, tasks=tasks, task_manager=manager, bootstrap_iters=0, **options
    )


def logged(results: dict[str, Any]) -> dict[str, list[float]]:
    return {
        task: [float(answer[0]) for sample in samples for (answer,) in sample["resps"]]
        for task, samples in results["samples"].items()
    }


@pytest.mark.parametrize("shots", [0, 2])
def test_an_evaluation_has_the_scores_of_hf(
    shots: int, llama: Path, sample_as_benchmark: Path
) -> None:
    tasks = ["proteinlmbench_sample", "proteinlmbench_sample_cloze", "proteinlmbench_perm"]
    lms = (make(llama, max_length=4096) for make in (our_model, stock_model))
    ours, stock = (
        run(lm, [*tasks, mutual_information()], limit=3, num_fewshot=shots) for lm in lms
    )
    assert len(ours["results"]) == 4
    assert "acc_mutual_info,none" in ours["results"]["sample_mutual_information"]
    assert ours["results"] == stock["results"]
    found, expected = logged(ours), logged(stock)
    assert found.keys() == expected.keys()
    for task, values in expected.items():
        assert len(values) >= 12
        assert found[task] == pytest.approx(values, abs=1e-4)
    assert ours["config"]["stock_path_because"] is None


def test_lm_eval_finds_the_backend_by_name_and_makes_it_from_arguments(llama: Path) -> None:
    import lm_eval.models  # noqa: F401 -- this import fills the registry
    from lm_eval.api.registry import get_model

    add_models()
    found = get_model("proteinlm-hf")
    assert found is PrefixTreeLM
    made = found.create_from_arg_string(f"pretrained={llama},token_budget=77,device=cpu")
    assert made.token_budget == 77


def test_the_entry_points_are_the_models_of_the_hook() -> None:
    file = Path(__file__).parent.parent / "pyproject.toml"
    points = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["entry-points"]
    assert points["lm_eval.models"] == MODELS


@pytest.mark.parametrize("budget", [0, -5, "0"])
def test_a_budget_below_one_token_is_refused(budget: Any, llama: Path) -> None:
    with pytest.raises(UsageError, match=f"token_budget={budget}: give 1 or more tokens"):
        our_model(llama, token_budget=budget)


def test_the_budget_depends_on_the_device_unless_it_is_given(llama: Path) -> None:
    assert our_model(llama).token_budget == 1024
    assert our_model(llama, token_budget=300).token_budget == 300


def test_what_the_probe_is_too_short_to_meet_ends_on_hfs_path(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Doge makes masks of its own; they only matter beyond `keep_window_size`.
    folder = save_model(tmp_path, "doge", **ARCHITECTURES["llama"], keep_window_size=16)
    ours, stock = load(PrefixTreeLM, folder), load(HFLM, folder)
    assert_falls_back(ours, stock, "it makes attention masks of its own", caplog)
