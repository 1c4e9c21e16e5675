"""Models that could answer differently are described differently, and equal ones the same."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proteinlm_ext.errors import UsageError
from proteinlm_ext.model_identity import _tensors, describe_model, machine

DESCRIBE = """
import json, sys
from lm_eval.models.huggingface import HFLM
from proteinlm_ext.model_identity import describe_model
options = json.loads(sys.argv[1])
print(json.dumps(describe_model(HFLM(device="cpu", **options)), sort_keys=True))
"""

Describe = Callable[..., dict[str, Any]]


def write_model(folder: Path, **config: Any) -> Path:
    """Save a random Llama of two layers with a tokenizer of letters; always the same one."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
             "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 12}  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**sizes | config)).save_pretrained(folder)
    vocabulary = {token: number for number, token in enumerate(["<s>", "</s>", *"abcdefghij"])}
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=special["bos_token"]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **special)
    tokenizer.chat_template = "{{ messages }}"
    tokenizer.save_pretrained(folder)
    return folder


def write_adapter(model: Path, folder: Path, **options: Any) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=2, target_modules=targets, init_lora_weights=False, **options)
    base = AutoModelForCausalLM.from_pretrained(model)
    get_peft_model(base, config).save_pretrained(folder)
    return folder


def load(folder: Path, **options: Any) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(str(folder), **{"device": "cpu"} | options)


def describe(folder: Path, **options: Any) -> dict[str, Any]:
    return describe_model(load(folder, **options))


def describe_elsewhere(folder: Path, **options: Any) -> dict[str, Any]:
    """Describe it in a process of its own, whose hashes of strings are others."""
    command = [sys.executable, "-c", DESCRIBE, json.dumps({"pretrained": str(folder)} | options)]
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    return json.loads(subprocess.check_output(command, env=environment, text=True))


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def differing(first: dict[str, Any], second: dict[str, Any]) -> set[str]:
    assert first.keys() == second.keys()
    return {key for key in first if first[key] != second[key]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "a-telling-name")


@pytest.fixture(scope="module")
def described(model: Path) -> dict[str, Any]:
    return describe(model)


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    """Return another folder with the same model, to be changed by the test."""
    return Path(shutil.copytree(model, tmp_path / "copy"))


# --- the same ------------------------------------------------------------------------------------


def test_the_same_model_in_two_folders_and_processes_is_one(
    described: dict[str, Any], copy: Path
) -> None:
    assert describe_elsewhere(copy) == described


def test_the_same_adapter_in_two_folders_and_processes_is_one(
    model: Path, copy: Path, tmp_path: Path
) -> None:
    first = write_adapter(model, tmp_path / "first")
    second = write_adapter(copy, tmp_path / "second")
    described = describe(model, peft=str(first))
    assert describe_elsewhere(copy, peft=str(second)) == described
    assert "telling" not in json.dumps(described)


def test_use_of_a_model_does_not_change_its_description(
    model: Path, described: dict[str, Any]
) -> None:
    lm = load(model, batch_size=2)
    lm.tok_batch_encode(["a b c", "a"], truncation=True, left_truncate_len=2)
    lm.tokenizer(["a", "a b"], padding="max_length", max_length=8, truncation=True)
    lm._model_call(lm.tokenizer(["a b"], return_tensors="pt").input_ids)
    assert describe_model(lm) == described


def test_a_description_is_json_without_names_of_places(
    model: Path, described: dict[str, Any]
) -> None:
    text = json.dumps(described)
    assert json.loads(text) == described
    for part in (*model.parts[1:], os.uname().nodename):
        assert part not in text
    assert described["adapter"] is described["settings"]["add_bos_token"] is None
    libraries = {"lm-eval", "torch", "transformers", "tokenizers", "accelerate"}
    assert set(described["versions"]) == libraries | {"proteinlm-ext"}


# --- another -------------------------------------------------------------------------------------


def test_one_weight_changed_by_one_unit_in_the_last_place_is_another_model(
    described: dict[str, Any], copy: Path
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    row = weights["model.layers.1.mlp.down_proj.weight"][3]
    row[5] = torch.nextafter(row[5], torch.tensor(9.0))
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert differing(described, describe(copy)) == {"weights"}


def test_a_weight_moved_to_another_name_is_another_model(
    described: dict[str, Any], copy: Path
) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    queries = [f"model.layers.{layer}.self_attn.q_proj.weight" for layer in (0, 1)]
    weights |= dict(zip(queries, [weights[name] for name in reversed(queries)], strict=True))
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert differing(described, describe(copy)) == {"weights"}


@pytest.mark.parametrize(("options", "keys"), [
    ({"dtype": "bfloat16"}, {"weights", "dtype", "config"}),
    ({"attn_implementation": "eager"}, {"attention"}),
    ({"softmax_dtype": "float64"}, {"settings"}),
    ({"mixed_precision_dtype": "bfloat16"}, {"settings"}),
    ({"max_length": 77}, {"settings"}),
    ({"truncation": True}, {"settings"}),
    ({"prefix_token_id": 3}, {"settings"}),
    ({"add_bos_token": True}, {"settings", "tokenizer"}),
    ({"chat_template_args": {"thinking": False}}, {"settings"}),
    ({"think_end_token": "</think>"}, {"settings"}),
])  # fmt: skip
def test_another_setting_is_another_model(
    options: dict[str, Any], keys: set[str], model: Path, described: dict[str, Any]
) -> None:
    assert differing(described, describe(model, **options)) == keys


@pytest.mark.parametrize(("file", "changes", "keys"), [
    ("config.json", {"rms_norm_eps": 1e-5}, {"config"}),
    ("config.json", {"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}},
     {"config", "weights"}),
    ("generation_config.json", {"repetition_penalty": 1.1}, {"generation_config"}),
    ("tokenizer_config.json", {"eos_token": "j", "pad_token": "j"}, {"tokenizer"}),
    ("config.json", {"_name_or_path": "x", "transformers_version": "5.0"}, set()),
    ("generation_config.json", {"transformers_version": "5.0"}, set()),
])  # fmt: skip
def test_another_configuration_is_another_model(
    file: str, changes: dict[str, Any], keys: set[str], described: dict[str, Any], copy: Path
) -> None:
    edit(copy / file, **changes)
    assert differing(described, describe(copy)) == keys


def test_another_chat_template_is_another_model(described: dict[str, Any], copy: Path) -> None:
    (copy / "chat_template.jinja").write_text("{{ messages[0] }}")
    assert differing(described, describe(copy)) == {"chat_template"}
    (copy / "chat_template.jinja").unlink()
    assert describe(copy)["chat_template"] is None


def test_another_vocabulary_is_another_model_fast_tokenizer_or_slow(
    model: Path, described: dict[str, Any], copy: Path
) -> None:
    text = (copy / "tokenizer.json").read_text()
    (copy / "tokenizer.json").write_text(text.replace('"a"', '"z"'))
    assert differing(described, describe(copy)) == {"tokenizer"}

    class Slow:
        chat_template, special_tokens_map = None, {"eos_token": "b"}

        def __init__(self, **vocabulary: int) -> None:
            self.get_vocab = vocabulary.copy

    lm, found = load(model), []
    for lm.tokenizer in (Slow(revision=0, b=1), Slow(b=1, revision=0), Slow(revision=2, b=1)):
        lm.custom_prefix_token_id = 0
        found.append(describe_model(lm)["tokenizer"])
    assert found[0] == found[1] != found[2]


def test_an_adapter_its_weights_and_its_scale_make_other_models(
    model: Path, described: dict[str, Any], tmp_path: Path
) -> None:
    adapter = write_adapter(model, tmp_path / "adapter")
    scaled = write_adapter(model, tmp_path / "scaled", lora_alpha=99)
    adapted = describe(model, peft=str(adapter))
    assert differing(described, adapted) == {"weights", "adapter", "versions"}
    assert adapted["class"] == "LlamaForCausalLM"
    assert adapted["adapter"][0]["r"] == 2
    assert differing(adapted, describe(model, peft=str(scaled))) == {"adapter"}


def test_other_code_that_came_with_the_model_is_another_model(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "m"))
    code = (
        "from transformers import LlamaForCausalLM\nclass Own(LlamaForCausalLM):\n    scale = 1\n"
    )
    edit(copy / "config.json", auto_map={"AutoModelForCausalLM": "modeling_own.Own"})
    found: list[dict[str, Any]] = []
    for number in (1, 1, 2):
        (copy / "modeling_own.py").write_text(code.replace("1", str(number)))
        found.append(describe(copy, trust_remote_code=True))
    assert found[0]["class"] == "Own"
    assert found[0] == found[1]
    assert differing(found[1], found[2]) == {"code"}


def test_the_precision_of_matrix_products_counts(model: Path, described: dict[str, Any]) -> None:
    import torch

    torch.set_float32_matmul_precision("high")  # TF32 on a GPU
    try:
        assert differing(described, describe(model)) == {"float32_matmul_precision"}
    finally:
        torch.set_float32_matmul_precision("highest")


# --- what is hashed ------------------------------------------------------------------------------


def test_tied_weights_count_once_and_buffers_outside_the_state_count(tmp_path: Path) -> None:
    tied = load(write_model(tmp_path / "tied", tie_word_embeddings=True))
    untied = load(write_model(tmp_path / "untied"))
    embeddings = {"lm_head.weight", "model.embed_tokens.weight"}
    assert set(_tensors(tied.model)) & embeddings == {"model.embed_tokens.weight"}
    assert set(_tensors(untied.model)) & embeddings == embeddings
    assert "model.rotary_emb.inv_freq" in _tensors(tied.model)
    assert list(_tensors(tied.model)) == sorted(_tensors(tied.model))


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "bfloat16", "float16", "float64", "float8_e4m3fn"]
)
def test_every_type_and_shape_of_tensor_counts(dtype: str, model: Path) -> None:
    import torch

    lm, found = load(model), set[str]()
    values = torch.tensor([[1, 0], [0, 0]]).to(getattr(torch, dtype))
    same_bytes = (values, values.reshape(-1), values.view(torch.uint8))
    variants = (*same_bytes, values.T.flip(1), values[0, 0], values[1, 1], values[0], values[:0])
    for variant in variants:
        lm.model.register_buffer("extra", variant, persistent=False)
        found.add(describe_model(lm)["weights"])
    assert len(found) == len(variants)


def test_tensors_that_only_the_state_has_or_that_wrap_others_count(model: Path) -> None:
    import torch
    from torch.testing._internal.two_tensor import TwoTensor

    lm, found = load(model), set[str]()
    for scale in (1.0, 2.0):  # bitsandbytes keeps the scales of its weights like this
        lm.model.register_state_dict_post_hook(
            lambda module, state, prefix, _, scale=scale: state.update(scale=torch.tensor(scale))
        )
        found.add(describe_model(lm)["weights"])
        lm.model._state_dict_hooks.clear()
        lm.model.register_buffer("two", TwoTensor(torch.ones(2), torch.full((2,), scale)))
        found.add(describe_model(lm)["weights"])
        del lm.model.two
    assert len(found) == 4


def test_an_offloaded_model_is_refused(model: Path) -> None:
    lm = load(model)
    lm.model.model.layers[1].to("meta")
    with pytest.raises(UsageError, match=r"offloaded.*layers\.1\..*Load it whole"):
        describe_model(lm)


def test_nothing_is_shown_where_hashing_is_quick(model: Path, capfd: Any) -> None:
    lm = load(model)
    capfd.readouterr()
    describe_model(lm)
    assert capfd.readouterr() == ("", "")


def test_the_device_counts_but_the_weights_are_the_same(
    model: Path, described: dict[str, Any]
) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    assert differing(described, describe(model, device="cuda")) == {"devices"}


def test_the_machine_is_told_by_processor_and_threads() -> None:
    import torch

    found, threads = machine(), torch.get_num_threads()
    assert json.loads(json.dumps(found)) == found == machine()
    assert found["processor"]
    torch.set_num_threads(threads + 1)
    try:
        assert machine() == found | {"threads": threads + 1}
    finally:
        torch.set_num_threads(threads)
