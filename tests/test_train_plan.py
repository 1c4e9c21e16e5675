"""A plan says what a run learns from and costs, and refuses what it should not learn from."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_models import save_tokenizer
from trained import TEMPLATE, save_chat_model

from proteinlm_ext.cli import main
from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_train.plan import make_plan, to_json, to_text
from proteinlm_train.recipe import Recipe
from proteinlm_train.recipe_file import load_recipe
from proteinlm_train.record import SCHEMA_VERSION, write_record

pytestmark = pytest.mark.usefixtures("one_thread")


CLEANED: dict[str, Any] = {"decontaminated": True, "reason": ""}
RECORD: dict[str, Any] = {
    "schema_version": SCHEMA_VERSION, "name": "first", "recipe": {"sha256": "a"},
    "base_model": {}, "data": {"fingerprint": "b"}, "decontamination": {"policy": "waived"},
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_chat_model(tmp_path_factory.mktemp("model"))


def save_rows(path: Path, count: int = 24) -> Path:
    lines = [
        {"id": f"P{n}", "prompt": f"Which? <seq> {'M ' * (300 if n == 5 else 9)}</seq>",
         "completion": f"It is number {n}.", "split": "validation" if n % 8 == 7 else "train"}
        for n in range(count)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def save_recipe(folder: Path, model: Path) -> Path:
    settings: dict[str, Any] = {
        "name": "mine", "stage": "sft", "method": "lora", "model": {"path": str(model)},
        "data": {"sources": [{"path": str(save_rows(folder / "rows.jsonl"))}],
                 "overlong": "crop_sequence", "decontamination": "waived"},
        "lora": {"r": 4, "alpha": 8},
        "train": {"lr": 1e-3, "epochs": 2, "grad_accum": 2, "max_length": 256,
                  "precision": "fp32"},
        "run": {"output_dir": str(folder / "run")},
    }  # fmt: skip
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def recipe(folder: Path, model: Path, *changes: str) -> Recipe:
    return load_recipe(save_recipe(folder, model), changes)


def test_counts_and_steps_follow_from_the_rows(model, tmp_path):
    plan = make_plan(recipe(tmp_path, model))

    train = plan.data["train"]
    counts = train["counts"]
    assert (counts["read"], counts["kept"], counts["overlong"], counts["cropped"]) == (21, 21, 1, 1)
    assert counts["residues_cut"] > 0
    assert train["documents"] == 21
    assert plan.data["validation"]["counts"]["kept"] == 3
    assert plan.steps == 2 * -(-train["rows"] // 2)
    assert plan.epochs == 2
    assert plan.tokens_per_step == pytest.approx(2 * train["tokens"] / train["rows"])
    assert 0 < train["labels"] < train["tokens"] <= 256 * train["rows"]


def test_costs_are_those_of_the_adapter_and_of_the_tokens(model, tmp_path):
    import torch

    lora = make_plan(recipe(tmp_path, model))
    full = make_plan(recipe(tmp_path, model, "method=full", "lora=null", "train.lr=1e-5"))

    weights = sum(
        tensor.numel()
        for name, tensor in load_weights(model).items()
        if isinstance(tensor, torch.Tensor) and name != "lm_head.weight"
    )
    assert lora.parameters == full.parameters == full.trainable == weights
    assert 0 < lora.trainable < full.trainable
    assert 0 < lora.flops < full.flops
    assert lora.memory_estimate["total"] < full.memory_estimate["total"]
    tokens = sum(split["tokens"] for split in lora.data.values())
    assert lora.disk_bytes == {
        "shards": 3 * tokens,
        "checkpoints": 2 * 12 * lora.trainable,
        "model": 4 * lora.trainable,
    }
    assert lora.measured is None
    assert lora.hours_estimate is None or torch.cuda.is_available()


def load_weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_a_plan_refuses_the_base_that_the_run_would_refuse(model, tmp_path, monkeypatch):
    monkeypatch.setattr("proteinlm_train.provenance._decontamination", lambda *_: CLEANED)
    base = tmp_path / "first" / "final"
    shutil.copytree(model, base)
    write_record(base.parent, RECORD)
    with pytest.raises(UsageError, match="trained by first with decontamination waived"):
        make_plan(recipe(tmp_path, base, "data.decontamination=required"))


def test_examples_show_what_is_context_and_what_is_learned(model, tmp_path):
    plan = make_plan(recipe(tmp_path, model))

    rows = {row["id"]: row for row in map(json.loads, (tmp_path / "rows.jsonl").open())}
    assert len(plan.examples) == 3
    for example in plan.examples:
        row = rows[example["id"]]
        assert example["learned"] == f"{row['completion']}</s>\\n"
        assert example["context"].startswith("<s>user\\nWhich? <seq> M M")
        assert example["context"].endswith("</seq></s>\\n<s>assistant\\n")
    assert plan.stop_tokens == ("</s>",)


def test_a_template_without_a_stop_token_is_told(model, tmp_path):
    template = tmp_path / "plain.jinja"
    template.write_text(TEMPLATE.replace("</s>", ""))

    plan = make_plan(recipe(tmp_path, model, f"model.chat_template={template}"))

    assert plan.stop_tokens == ()
    assert "stop token  NONE is learned: the model will not know when" in to_text(plan)


def test_texts_are_learned_whole_with_their_end(model, tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": f"{n}: " + "zinc " * n}) + "\n" for n in range(99)))
    changes = ("stage=cpt", f"data.sources=[{{path: {path}}}]", "data.overlong=drop",
               "data.validation.from=none")  # fmt: skip

    plan = make_plan(recipe(tmp_path, model, *changes))

    text = to_text(plan)
    assert plan.stop_tokens == ("</s>",)
    assert all(example["context"] == "" for example in plan.examples)
    assert "  context" not in text
    assert "validation  none" in text
    assert "packing     bfd_split" in text


def test_the_text_names_rows_tokens_costs_and_what_is_not_checked(model, tmp_path):
    text = to_text(make_plan(recipe(tmp_path, model)))

    lines = dict(line.split(maxsplit=1) for line in text.split("\n\n")[0].splitlines())
    assert list(lines) == [
        "recipe", "model", "rows", "packing", "tokens", "stop", "validation", "benchmark", "steps",
        "compute", "memory", "disk", "time",
    ]  # fmt: skip
    assert lines["rows"].startswith("21 of 21; 1 longer than 256 tokens: 0 dropped, 1 cropped by ")
    assert lines["validation"] == "3 rows, held out by unknown"
    assert lines["benchmark"].startswith("NOT checked")
    assert lines["stop"] == "token  </s> is learned at the end"
    assert text.count("\n  learned  ") == text.count("\n  context  ") == 3
    assert max(map(len, text.splitlines())) < 340


def test_long_texts_are_shown_by_both_ends(model, tmp_path):
    text = to_text(make_plan(recipe(tmp_path, model, "train.max_length=1024")))

    assert "M M M  [...] M M M" in text


def test_rows_without_label_are_refused_by_id(model, tmp_path):
    template = tmp_path / "asks.jinja"
    template.write_text(
        "{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}"
    )

    with pytest.raises(ProteinLMError, match="Row P0 has no token to learn from"):
        make_plan(recipe(tmp_path, model, f"model.chat_template={template}"))


def test_data_without_a_record_of_decontamination_are_refused_unless_waived(model, tmp_path):
    with pytest.raises(UsageError, match="without a record that the benchmark's questions"):
        make_plan(recipe(tmp_path, model, "data.decontamination=required"), dry_run=True)

    plan = make_plan(recipe(tmp_path, model))
    assert plan.decontamination["policy"] == "waived"


def test_a_missing_chat_template_is_told(tmp_path):
    folder = save_chat_model(tmp_path / "base")
    save_tokenizer(folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)

    with pytest.raises(UsageError, match="has no chat template"):
        make_plan(recipe(tmp_path, folder))


def test_a_dry_run_measures_and_leaves_no_folder_and_stdout_is_json(
    model, tmp_path, capsys, monkeypatch
):
    elsewhere = tmp_path / "temporary"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    path = save_recipe(tmp_path, model)

    assert main(["train", "plan", str(path), "--dry-run", "--json", "--workers", "1"]) == 0

    plan = json.loads(capsys.readouterr().out)
    assert plan["measured"]["seconds_per_step"] > 0
    assert plan["measured"]["peak_bytes"] > 1e8
    assert plan["measured"]["hours"] == pytest.approx(
        plan["measured"]["seconds_per_step"] * plan["steps"] / 3600
    )
    assert list(elsewhere.iterdir()) == []
    assert [found.name for found in (tmp_path / "run").iterdir()] == ["prepared"]


def test_the_json_holds_every_field_of_the_plan(model, tmp_path):
    plan = make_plan(recipe(tmp_path, model))

    said = json.loads(to_json(plan))
    assert said["steps"] == plan.steps
    assert said["recipe_sha256"] == plan.recipe_sha256
    assert said["data"]["train"]["labels"] == plan.data["train"]["labels"]
    assert set(said["memory_estimate"]) >= {"parameters", "gradients", "optimizer", "activations",
                                            "total"}  # fmt: skip
    assert said["flops_convention"]


def test_a_plan_is_printed_for_a_reader(model, tmp_path, capsys):
    path = save_recipe(tmp_path, model)

    assert main(["train", "plan", str(path), "--workers", "1", "--set", "train.max_steps=3",
                 "--set", "train.epochs=null"]) == 0  # fmt: skip

    assert "steps       3 of " in capsys.readouterr().out
