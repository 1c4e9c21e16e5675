"""A training recipe is checked whole before anything is loaded, and says where it is wrong."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from proteinlm_ext.errors import UsageError
from proteinlm_train.recipe_file import json_schema, load_recipe

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SFT = """
name: mine
stage: sft
method: lora
model: {path: smollm2}
data: {sources: [{path: smoke}]}
train: {lr: 1e-4, max_steps: 3}
run: {output_dir: runs/mine}
"""
FULL = ("method=full", "train.lr=1e-5")
CPT = ("stage=cpt", *FULL)


def write(folder: Path, text: str = SFT) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def refusal(path: Path, *changes: str) -> str:
    with pytest.raises(UsageError) as refused:
        load_recipe(path, changes)
    return str(refused.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["train.lrr=1"], "train.lrr: Extra inputs are not permitted (got 1)"),
        (["model.path=null"], "model.path: Input should be a valid string (got None)"),
        (["train={max_steps: 3}"], "train.lr: Field required"),
        (["stage=dpo"], "stage: Input should be 'cpt' or 'sft' (got 'dpo')"),
        (["lora.r=-1"], "lora.r: Input should be greater than or equal to 1 (got -1)"),
        (["lora.target=[q_proj, lm_head]"], "lora.target: an adapter on lm_head would not be "),
        (["train.micro_batch=0"], "train.micro_batch: Input should be greater than or equal to 1"),
        (["train.lr=.nan"], "train.lr: Input should be a finite number (got nan)"),
        (["train.schedule=off"], "train.schedule: Input should be 'cosine', 'linear', 'constant'"),
        (["train.epochs=1"], "train.epochs: give either epochs or max_steps"),
        (["train.max_steps=null"], "train.epochs: give either epochs or max_steps"),
        (
            ["train.packing=bdf"],
            "train.packing: Input should be 'auto', 'none', 'bfd', 'bfd_split'",
        ),
        (["train.packing=wrapped"], "train.packing: wrapped lets documents attend to each other"),
        (["train.packing=bfd_split"], "train.packing: bfd_split tears answers from their proteins"),
        (["model.path=owner/model"], "model.revision: pin owner/model to a commit of 40 hex"),
        (
            ["model={path: owner/model, revision: main}"],
            "model.revision: pin owner/model to a commit of 40 hexadecimal digits (got 'main')",
        ),
        (["data.sources=[]"], "data.sources: name at least one"),
        (["data.sources.0.path=owner/rows"], "data.sources.0.revision: pin owner/rows to a commit"),
        (["data.sources.0.weight=0"], "data.sources.0.weight: Input should be greater than 0"),
        (["data.sources.0.format=text"], "data.sources: text has no prompt; use stage: cpt"),
        (["data.max_overlong_share=5"], "data.max_overlong_share: Input should be less than or eq"),
        (
            ["data.validation={from: test}"],
            "data.validation.from: Input should be 'split', 'train'",
        ),
        (
            ["data.streaming=true", "train={lr: 1e-4, epochs: 1}"],
            "data.streaming: needs train.max_",
        ),
        (["method=full", "train.lr=1e-3"], "train.lr: 0.001 destroys a full model; at most 1e-4"),
        ([*FULL, "lora={r: 8}"], "lora: has no effect with method: full"),
        ([*FULL, "model.dtype=bfloat16"], "model.dtype: full training in bfloat16 loses small"),
        ([*CPT, "data.overlong=crop_sequence"], "data.overlong: crop_sequence is for sft"),
        ([*CPT, "data.sources.0.format=messages"], "data.sources: stage cpt reads text"),
        (
            ["distribution.strategy=zero3"],
            "distribution.strategy: Input should be 'none', 'ddp' or",
        ),
        (["distribution.strategy=ddp"], "distribution.processes: ddp needs at least 2"),
        (
            ["distribution.processes=8"],
            "distribution.strategy: several processes need ddp or fsdp2",
        ),
        (["run.keep=1"], "run.keep: Input should be greater than or equal to 2 (got 1)"),
        (
            ["run.early_stopping_patience=2", "data.validation={from: none}"],
            "run.early_stopping_patience: needs data.validation and run.eval_steps",
        ),
        (["run.early_stopping_patience=2", "run.eval_steps=null"], "run.early_stopping_patience: "),
        (
            ["run.early_stopping_patience=2", "run.eval_steps=3", "run.save_steps=4"],
            "run.save_steps: must equal run.eval_steps",
        ),
        (["hub={repo_id: a/b/c, license: mit}"], "hub.repo_id: String should match pattern"),
        (["name=my model"], "name: String should match pattern"),
    ],
)
def test_a_wrong_recipe_is_refused_with_one_message_and_its_path(tmp_path, changes, said):
    path = write(tmp_path)

    message = refusal(path, *changes)

    assert message.startswith(f"{path}: {said}")
    assert len(re.findall(r"(?:yaml: |; )[a-z_.0-9]+: ", message)) == 1


def test_all_faults_are_told_at_once(tmp_path):
    message = refusal(write(tmp_path), "train.lr=fast", "run.keep=0", "data.seed=-1")

    assert [key in message for key in ("train.lr: ", "run.keep: ", "data.seed: ")] == [True] * 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1, 2]", "must be a YAML mapping"),
        ("", "must be a YAML mapping"),
        ("train: {lr: 1", "cannot be read"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text, said):
    assert said in refusal(write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path):
    assert f"The recipe {tmp_path / 'none.yaml'} cannot be read" in refusal(tmp_path / "none.yaml")


def test_set_reaches_into_sections_lists_and_sections_that_are_not_there(tmp_path):
    recipe = load_recipe(
        write(tmp_path),
        ("train.lr=3e-4", "data.sources.0.weight=2", "lora.r=8", "run.report_to=[wandb]",
         "data.sources.0.configs=[function, ptm]"),
    )  # fmt: skip

    assert recipe.train.lr == 3e-4
    assert recipe.data.sources[0].weight == 2
    assert recipe.data.sources[0].configs == ("function", "ptm")
    assert recipe.adapter.r == 8
    assert recipe.run.report_to == ("wandb",)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("train.lr", "write KEY=VALUE"),
        ("=3", "write KEY=VALUE"),
        ("train.lr=[1", "the value is no YAML"),
        ("data.sources.4.path=x", "there is no such place"),
        ("data.sources.first.path=x", "there is no such place"),
        ("name.first=x", "there is no such place"),
    ],
)
def test_set_refuses_what_is_no_setting(tmp_path, change, said):
    message = refusal(write(tmp_path), change)

    assert message.startswith(f"--set {change!r}: {said}")


def test_numbers_are_read_where_yaml_sees_text(tmp_path):
    assert isinstance(yaml.safe_load("1e-4"), str)

    assert load_recipe(write(tmp_path)).train.lr == 1e-4


def test_the_hash_ignores_comments_order_and_spelling(tmp_path):
    plain = load_recipe(write(tmp_path)).sha256
    lines = SFT.strip().splitlines()
    random.Random(0).shuffle(lines)
    text = "# a comment\n" + "\n".join(lines).replace("1e-4", "0.00010")

    assert load_recipe(write(tmp_path, text)).sha256 == plain
    assert load_recipe(write(tmp_path), ("train.schedule=cosine",)).sha256 == plain


def variants(section: BaseModel) -> Iterator[BaseModel]:
    """Give a section once for each of its settings, with that one changed."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        inner = variants(value) if isinstance(value, BaseModel) else ["something else"]
        for other in inner:
            yield section.model_copy(update={name: other})


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_the_hash_changes_with_every_setting(tmp_path):
    recipe = load_recipe(write(tmp_path), ("lora={}",))

    hashes = [other.sha256 for other in variants(recipe)]

    assert len(hashes) > 40
    assert len({recipe.sha256, *hashes}) == len(hashes) + 1


def test_defaults_follow_the_stage(tmp_path):
    sft = load_recipe(write(tmp_path))
    cpt = load_recipe(write(tmp_path), CPT)

    assert (sft.packing, cpt.packing) == ("bfd", "bfd_split")
    assert (sft.adapter.r, cpt.adapter) == (64, None)


def test_a_folder_with_the_form_of_a_hub_id_needs_no_revision(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "final").mkdir(parents=True)

    assert load_recipe(write(tmp_path), ("model.path=runs/final",)).model.revision is None
    assert load_recipe(
        write(tmp_path), ("model.path=owner/model", f"model.revision={COMMIT}")
    ).model.revision == COMMIT  # fmt: skip


def test_the_shipped_schema_is_that_of_the_code():
    from proteinlm_ext.paths import recipes_dir

    shipped = recipes_dir("train") / "recipe.schema.json"

    assert shipped.read_text() == json_schema(), (
        "regenerate it: proteinlm train schema > sft/recipes/train/recipe.schema.json"
    )
