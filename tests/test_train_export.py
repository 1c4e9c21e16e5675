"""What leaves a run: adapters and merged models that load elsewhere and name no local folder."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

from safetensors import safe_open  # noqa: E402
from tiny_models import save_model, save_tokenizer  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainingArguments  # noqa: E402

from proteinlm_ext.errors import ProteinLMError, UsageError  # noqa: E402
from proteinlm_train import export as export_module  # noqa: E402
from proteinlm_train.export import clean_folder, export  # noqa: E402

NAME, SHA = "someone/base", "a" * 40
IDS = torch.arange(40)[None]
TEMPLATE = "{% for m in messages %}{{ m['content'] }}</s>{% endfor %}"

pytestmark = pytest.mark.usefixtures("one_thread")


def load(folder: Path, dtype: Any = torch.float32) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()


def logits(model: Any) -> Any:
    with torch.inference_mode():
        return model(input_ids=IDS).logits.float()


def save_run(folder: Path, *, seed: int = 0, **lora: Any) -> Path:
    """Save `base/` and an adapter on it in `final/`, with all that a trainer leaves there."""
    base = save_model(
        folder / "base", "llama", seed=seed, tie_word_embeddings=seed % 2 == 0,
        initializer_range=0.1,
    )  # fmt: skip
    torch.manual_seed(seed)
    settings = {"target_modules": "all-linear", "init_lora_weights": False} | lora
    config = peft.LoraConfig(r=4, task_type="CAUSAL_LM", **settings)
    peft.get_peft_model(load(base), config).save_pretrained(folder / "final")
    add_training_files(folder / "final")
    return folder


def add_training_files(final: Path) -> None:
    save_tokenizer(final, chat_template=TEMPLATE)
    torch.save(TrainingArguments(output_dir=str(final)), final / "training_args.bin")
    torch.save({}, final / "optimizer.pt")
    (final / "trainer_state.json").write_text(json.dumps({"best": str(final)}))


@pytest.fixture(scope="module", params=[0, 1], ids=["tied", "untied"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("run"), seed=request.param)


def adapter_logits(run: Path) -> Any:
    return logits(peft.PeftModel.from_pretrained(load(run / "base"), run / "final").eval())


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def assert_names_no_folder(out: Path, *folders: Path) -> None:
    for path in (path for path in out.rglob("*") if path.is_file()):
        for folder in folders:
            assert str(folder).encode() not in path.read_bytes(), path


def test_a_merged_model_answers_as_base_and_adapter_do(run: Path, tmp_path: Path) -> None:
    files = export(
        run / "final", tmp_path / "out", base=run / "base", revision=None, merge=True,
        dtype="float32",
    )  # fmt: skip
    expected, merged = adapter_logits(run), logits(load(tmp_path / "out"))
    assert torch.allclose(merged, expected, rtol=0, atol=1e-5)
    assert not torch.allclose(merged, logits(load(run / "base")), rtol=0, atol=1e-2)
    assert [path.name for path in files] == [
        "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors",
        "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip


def test_a_merged_model_is_bfloat16_and_generates(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(run / "final", out, base=run / "base", revision=None, merge=True)
    assert read(out / "config.json")["dtype"] == "bfloat16"
    with safe_open(out / "model.safetensors", "pt") as weights:
        assert {weights.get_tensor(name).dtype for name in weights.keys()} == {torch.bfloat16}  # noqa: SIM118
    model = AutoModelForCausalLM.from_pretrained(out)
    assert model.dtype == torch.bfloat16
    assert model.generate(IDS, max_new_tokens=4, min_new_tokens=4).shape == (1, 44)
    close = (logits(model) - adapter_logits(run)).abs().max() / adapter_logits(run).abs().max()
    assert close < 0.05


def test_tied_weights_stay_one_matrix_and_others_stay_two(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(run / "final", out, base=run / "base", revision=None, merge=True)
    tied = read(run / "base" / "config.json")["tie_word_embeddings"]
    assert read(out / "config.json")["tie_word_embeddings"] is tied
    with safe_open(out / "model.safetensors", "pt") as weights:
        assert ("lm_head.weight" in weights.keys()) is not tied  # noqa: SIM118
    model = load(out)
    embeddings, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert (embeddings.data_ptr() == head.data_ptr()) is tied


@pytest.mark.parametrize("merge", [True, False])
def test_an_export_names_no_local_folder(run: Path, tmp_path: Path, merge: bool) -> None:
    out = tmp_path / "out"
    export(run / "final", out, base=run / "base", revision=SHA, merge=merge, base_name=NAME)
    assert_names_no_folder(out, run, tmp_path)
    assert not list(out.glob("*.bin")) + list(out.glob("*.pt")) + list(out.glob("trainer_state*"))
    assert not set(read(out / "tokenizer_config.json")) & {"name_or_path", "is_local"}
    assert AutoTokenizer.from_pretrained(out).chat_template == TEMPLATE


def test_an_adapter_is_copied_and_names_its_base(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(run / "final", out, base=None, revision=SHA, merge=False, base_name=NAME)
    settings = read(out / "adapter_config.json")
    assert (settings["base_model_name_or_path"], settings["revision"]) == (NAME, SHA)
    assert settings["target_modules"] == sorted(settings["target_modules"])
    assert not (out / "README.md").exists(), "PEFT's card has only gaps"
    adapted = peft.PeftModel.from_pretrained(load(run / "base"), out).eval()
    assert torch.equal(logits(adapted), adapter_logits(run))


def test_an_adapter_keeps_a_name_and_revision_that_were_given_before(
    run: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    export(run / "final", first, base=None, revision=SHA, merge=False, base_name=NAME)
    export(first, second, base=None, revision=None, merge=False)
    settings = read(second / "adapter_config.json")
    assert (settings["base_model_name_or_path"], settings["revision"]) == (NAME, SHA)


def test_a_base_without_a_name_goes_by_its_folder(run: Path, tmp_path: Path) -> None:
    export(run / "final", tmp_path / "out", base=run / "base", revision=None, merge=False)
    assert read(tmp_path / "out" / "adapter_config.json")["base_model_name_or_path"] == "base"


def test_a_whole_model_is_cast_and_cleaned(run: Path, tmp_path: Path) -> None:
    final, out = tmp_path / "final", tmp_path / "out"
    shutil.copytree(run / "base", final)
    add_training_files(final)
    config = read(final / "config.json") | {"use_cache": False, "_name_or_path": str(run)}
    (final / "config.json").write_text(json.dumps(config))
    export(final, out, base=None, revision=None, merge=True)
    cleaned = read(out / "config.json")
    assert cleaned["use_cache"] is True
    assert cleaned["dtype"] == "bfloat16"
    assert_names_no_folder(out, run, tmp_path)
    expected = logits(load(run / "base", torch.bfloat16))
    assert torch.equal(logits(load(out, torch.bfloat16)), expected)


def test_a_second_export_is_refused_and_the_first_stays(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()  # an empty folder is no obstacle
    files = export(run / "final", out, base=None, revision=None, merge=False)
    before = [path.read_bytes() for path in files]
    with pytest.raises(UsageError, match="exists and is not empty"):
        export(run / "final", out, base=run / "base", revision=None, merge=True)
    assert [path.read_bytes() for path in files] == before


def test_an_export_that_is_interrupted_leaves_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export_module, "clean_folder", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(
            run / "final", tmp_path / "new" / "out", base=run / "base", revision=None, merge=True
        )
    assert list((tmp_path / "new").iterdir()) == []


def test_two_exports_are_equal_byte_for_byte(run: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        export(run / "final", tmp_path / name, base=run / "base", revision=None, merge=True)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_another_base_than_the_adapter_was_trained_on_is_refused(run: Path, tmp_path: Path) -> None:
    known = {
        name: hashlib.sha256((run / "base" / name).read_bytes()).hexdigest()
        for name in ("config.json", "model.safetensors")
    }
    export(
        run / "final", tmp_path / "out", base=run / "base", revision=None, merge=True,
        base_sha256=known,
    )  # fmt: skip
    tied = read(run / "base" / "config.json")["tie_word_embeddings"]
    other = save_model(
        tmp_path / "other", "llama", seed=7, tie_word_embeddings=tied, initializer_range=0.1
    )
    with pytest.raises(ProteinLMError, match=r"not the model .* model\.safetensors has sha256"):
        export(
            run / "final", tmp_path / "no", base=other, revision=None, merge=True,
            base_sha256=known,
        )  # fmt: skip
    assert not (tmp_path / "no").exists()


def test_a_base_of_another_size_is_refused(run: Path, tmp_path: Path) -> None:
    other = save_model(tmp_path / "other", "llama", hidden_size=64)
    with pytest.raises(ProteinLMError, match="does not fit"):
        export(run / "final", tmp_path / "out", base=other, revision=None, merge=True)
    assert not (tmp_path / "out").exists()


def test_a_base_with_more_layers_than_the_adapter_is_refused(run: Path, tmp_path: Path) -> None:
    settings = read(run / "final" / "adapter_config.json") | {"target_modules": ["q_proj"]}
    final = shutil.copytree(run / "final", tmp_path / "final")
    (final / "adapter_config.json").write_text(json.dumps(settings))
    other = save_model(tmp_path / "other", "llama", num_hidden_layers=3)
    with pytest.raises(ProteinLMError, match="missing adapter keys"):
        export(final, tmp_path / "out", base=other, revision=None, merge=True)


def test_an_adapter_that_would_untie_the_embeddings_is_not_merged(tmp_path: Path) -> None:
    run = save_run(tmp_path, modules_to_save=["embed_tokens", "lm_head"])
    with pytest.raises(ProteinLMError, match="one matrix for both"):
        export(run / "final", tmp_path / "out", base=run / "base", revision=None, merge=True)


def test_a_whole_model_without_some_of_its_weights_is_refused(run: Path, tmp_path: Path) -> None:
    final = shutil.copytree(run / "base", tmp_path / "final")
    config = read(final / "config.json") | {"num_hidden_layers": 3}
    (final / "config.json").write_text(json.dumps(config))
    with pytest.raises(ProteinLMError, match=r"has no weights for model\.layers\.2"):
        export(final, tmp_path / "out", base=None, revision=None, merge=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "float16"}, "choose bfloat16 or float32"),
        ({"final": "nothing"}, "neither adapter_config.json nor config.json"),
        ({"base": None}, "needs the model that it was trained on"),
        ({"base": "nothing"}, "cannot be loaded"),
    ],
)
def test_what_cannot_be_exported_is_told(
    run: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    options: dict[str, Any] = {"final": "final", "base": "base"} | changes
    final, base = run / options.pop("final"), options.pop("base")
    with pytest.raises(ProteinLMError, match=message):
        export(
            final, tmp_path / "out", base=base and run / base, revision=None, merge=True, **options
        )
    assert list(tmp_path.iterdir()) == []


def test_cleaning_leaves_a_checkpoint_what_resuming_needs(run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run / "final", tmp_path / "checkpoint-1")
    clean_folder(folder, base_name=NAME, revision=None)
    assert {"optimizer.pt", "trainer_state.json"} <= {path.name for path in folder.iterdir()}
    (folder / "trainer_state.json").unlink()
    assert_names_no_folder(folder, run)
    assert peft.PeftConfig.from_pretrained(folder).base_model_name_or_path == NAME


def test_cleaning_twice_changes_nothing_more(run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run / "final", tmp_path / "final")
    clean_folder(folder, base_name=NAME, revision=SHA)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    clean_folder(folder, base_name=NAME, revision=SHA)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_card_of_ours_stays_but_for_the_path_that_peft_puts_in(run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run / "final", tmp_path / "final")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model of ours\n")
    peft.PeftModel.from_pretrained(load(run / "base"), run / "final").save_pretrained(folder)
    assert str(run) in (folder / "README.md").read_text()
    clean_folder(folder, base_name=NAME, revision=SHA)
    card = (folder / "README.md").read_text()
    assert "# A model of ours" in card
    assert f"base_model: {NAME}\n" in card
    assert str(run) not in card


def test_a_file_that_is_no_json_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ProteinLMError, match="Could not clean"):
        clean_folder(tmp_path, base_name=None, revision=None)
