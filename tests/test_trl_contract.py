"""The facts of TRL and transformers that training relies on, one test each."""

import json
from pathlib import Path
from typing import Any

import pytest
from trained import TEXTS, read_run, save_chat_model, save_recipe

from proteinlm_train.encoding import decode
from proteinlm_train.recipe import Recipe
from proteinlm_train.recipe_file import load_recipe
from proteinlm_train.settings import to_sft_config
from proteinlm_train.tokens import Counts, Tokenizing

CONVERSATIONS: list[list[dict[str, str]]] = [
    [("user", "Which ion? <seq> M K T </seq>"), ("assistant", "Zinc.")],
    [("user", "Où est la protéine ? 蛋白质"), ("assistant", "膜 \U0001f9ec é")],
    [("user", "ends in a multibyte é"), ("assistant", "é begins with one")],
    [("user", "An empty answer"), ("assistant", "")],
    [("user", "Only space"), ("assistant", "  \n")],
    [("user", "Says </s> itself"), ("assistant", "A <s> within </s> an answer")],
    [("system", "Be brief."), ("user", "One?"), ("assistant", "Yes."), ("user", "Two?"),
     ("assistant", "No, </s> never.")],
    [("user", "\n"), ("assistant", "\nthe membrane\n")],
]  # fmt: skip
CONVERSATIONS = [[{"role": r, "content": c} for r, c in turns] for turns in CONVERSATIONS]
STRINGS = ["A text.", "Ends with </s>", "膜 é \U0001f9ec", " ", "<seq> M K </seq>\n", *TEXTS[:3]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_chat_model(tmp_path_factory.mktemp("trl") / "model")


@pytest.fixture(scope="module")
def tokenizer(folder) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa")


def sft_config(out: Path, **options: Any) -> Any:
    from trl import SFTConfig

    given = {"use_cpu": True, "bf16": False, "report_to": "none", "max_length": None}
    return SFTConfig(**(given | {"output_dir": str(out)} | options))


def make_trainer(folder: Path, out: Path, rows: list[dict[str, Any]], **options: Any) -> Any:
    from datasets import Dataset
    from trl import SFTTrainer

    return SFTTrainer(
        model=load(folder), args=sft_config(out, **options), train_dataset=Dataset.from_list(rows)
    )


def packed_rows() -> list[dict[str, Any]]:
    """Return two rows of two and of one document, with 3 and 6 labels after the shift."""
    return [
        {
            "input_ids": [5, 6, 7, 8, 9, 10, 11], "seq_lengths": [4, 3], "row": 0,
            "labels": [-100, -100, 7, 8, -100, -100, 11],
        },
        {"input_ids": [*range(20, 27)], "seq_lengths": [7], "row": 1, "labels": [*range(20, 27)]},
    ]  # fmt: skip


def skipping(folder: Path, out: Path, **options: Any) -> Any:
    """Return a trainer on prepared rows, as ours is set up."""
    return make_trainer(
        folder, out, packed_rows(), max_length=512, packing=True, packing_strategy="bfd",
        dataset_kwargs={"skip_prepare_dataset": True}, remove_unused_columns=False, **options,
    )  # fmt: skip


def nll(model: Any, ids: list[int], labels: list[int]) -> float:
    """Return the summed negative log-likelihood of a document's labels, from plain logits."""
    import torch

    with torch.no_grad():
        scores = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return -sum(float(scores[n - 1, t]) for n, t in enumerate(labels) if n and t != -100)


def row_nll(model: Any, row: dict[str, Any]) -> float:
    total, start = 0.0, 0
    for length in row["seq_lengths"]:
        piece = slice(start, start + length)
        total += nll(model, row["input_ids"][piece], row["labels"][piece])
        start += length
    return total


def test_prepared_rows_are_taken_as_they_come(folder, tmp_path, one_thread):
    trainer = skipping(folder, tmp_path)

    assert trainer.train_dataset.to_list() == packed_rows()
    assert trainer.data_collator.padding_free


def test_the_collator_begins_positions_anew_and_masks_the_first_label_of_a_document(
    folder, tmp_path, one_thread
):
    batch = skipping(folder, tmp_path).data_collator(packed_rows())

    assert batch["input_ids"].tolist() == [[*range(5, 12), *range(20, 27)]]
    assert batch["position_ids"].tolist() == [[*range(4), *range(3), *range(7)]]
    assert batch["labels"].tolist() == [[-100, -100, 7, 8, -100, -100, 11, -100, *range(21, 27)]]
    assert batch["cu_seq_lens_q"].tolist() == [0, 4, 7, 14]
    assert not {"attention_mask", "row"} & batch.keys()


def test_the_loss_is_the_sum_over_labels_by_the_number_given_or_counted(
    folder, tmp_path, one_thread
):
    trainer = skipping(folder, tmp_path)
    row = packed_rows()[0]
    batch = trainer.data_collator([row])
    expected = row_nll(trainer.model.eval(), row)

    given = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=10)
    assert float(given.detach()) == pytest.approx(expected / 10, rel=1e-5)
    counted = trainer.compute_loss(trainer.model, dict(batch))
    assert float(counted.detach()) == pytest.approx(expected / 3, rel=1e-5)


def test_micro_batches_of_a_step_weigh_by_their_labels(folder, tmp_path, one_thread):
    trainer = skipping(
        folder, tmp_path, max_steps=1, per_device_train_batch_size=1, logging_steps=1,
        gradient_accumulation_steps=2, save_strategy="no",
    )  # fmt: skip
    expected = sum(row_nll(trainer.model.eval(), row) for row in packed_rows()) / 9
    trainer.train()

    assert trainer.state.log_history[0]["loss"] == pytest.approx(expected, rel=1e-5)


def test_tokens_and_labels_of_conversations_are_those_of_trl(folder, tokenizer, tmp_path):
    rows = [{"prompt": turns[:-1], "completion": turns[-1:]} for turns in CONVERSATIONS]
    trainer = make_trainer(folder, tmp_path, rows, completion_only_loss=True)
    ours = Tokenizing(tokenizer=tokenizer, residues="spaced", overlong="error", limit=None)
    found = ours.conversations(
        [(str(n), row["prompt"], row["completion"]) for n, row in enumerate(rows)], Counts()
    )

    for document, expected in zip(found, trainer.train_dataset, strict=True):
        decoded = decode(document.tokens)
        assert decoded["input_ids"].tolist() == expected["input_ids"]
        assert decoded["labels"].tolist() == expected["labels"]
        assert decoded["labels"].tolist() != expected["input_ids"]


def test_the_end_of_the_answer_is_trained(tokenizer):
    ours = Tokenizing(tokenizer=tokenizer, residues="spaced", overlong="error", limit=None)
    for turns in CONVERSATIONS:
        [document] = ours.conversations([("a", turns[:-1], turns[-1:])], Counts())
        labels = [token for token in decode(document.tokens)["labels"].tolist() if token != -100]
        assert tokenizer.decode(labels).endswith("</s>\n")


def test_tokens_of_texts_are_those_of_trl(folder, tokenizer, tmp_path):
    trainer = make_trainer(folder, tmp_path, [{"text": text} for text in STRINGS])
    ours = Tokenizing(tokenizer=tokenizer, residues="spaced", overlong="error", limit=None)
    found = ours.texts([(str(n), text) for n, text in enumerate(STRINGS)], Counts())

    for document, expected in zip(found, trainer.train_dataset, strict=True):
        decoded = decode(document.tokens)
        assert decoded["input_ids"].tolist() == expected["input_ids"]
        assert decoded["labels"].tolist() == expected["labels"]
        assert expected["input_ids"][-1] == tokenizer.eos_token_id


def trl_losses(recipe: Recipe, rows: list[dict[str, Any]], out: Path) -> list[float]:
    """Return the losses of TRL's own pipeline with a recipe's settings."""
    from datasets import Dataset
    from transformers import set_seed
    from trl import SFTTrainer

    arguments = to_sft_config(recipe, layer_classes=[], evaluates=False, first=True)
    arguments.output_dir = str(out)
    arguments.dataset_kwargs = None
    arguments.remove_unused_columns = True
    arguments.packing_strategy = recipe.packing
    set_seed(recipe.train.seed)
    trainer = SFTTrainer(
        model=load(Path(recipe.model.path)), args=arguments, train_dataset=Dataset.from_list(rows)
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("stage", ["sft", "cpt"])
def test_losses_are_those_of_trl_on_the_same_rows(stage, tmp_path, one_thread):
    from proteinlm_train.run import train

    tmp_path = tmp_path / "r"
    tmp_path.mkdir()
    source = tmp_path / "rows.jsonl"
    texts = [{"text": text} for text in TEXTS]
    chats = [{"prompt": [{"role": "user", "content": text}],
              "completion": [{"role": "assistant", "content": f"It is number {n}."}]}
             for n, text in enumerate(TEXTS)]  # fmt: skip
    rows = texts if stage == "cpt" else chats
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = save_recipe(
        tmp_path, f"stage={stage}", f"data.sources=[{{path: {source}}}]",
        "data.validation={from: none}",
    )  # fmt: skip
    recipe = load_recipe(path)
    train(recipe)

    log = read_run(tmp_path / "run")["log"]
    expected = trl_losses(recipe, rows, tmp_path / "trl")
    assert [line["loss"] for line in log.values()] == pytest.approx(expected, rel=1e-6)
    assert len(expected) == 8


def test_our_readme_is_not_written_over_and_checkpoints_get_no_card(tmp_path, one_thread):
    from proteinlm_train.run import train

    path = save_recipe(tmp_path / "r", "method=lora", "train.max_steps=2")
    readme = tmp_path / "r" / "run" / "README.md"
    readme.parent.mkdir()
    readme.write_text("Ours.\n")
    train(load_recipe(path))

    assert [*readme.parent.rglob("README.md")] == [readme]
    assert readme.read_text() == "Ours.\n"


@pytest.mark.parametrize("strategy", ["bfd", "bfd_split", "wrapped"])
def test_packing_moves_all_columns_of_a_document_alike(strategy):
    from datasets import Dataset
    from trl import pack_dataset

    lengths = [3, 9, 2, 5, 4, 1]
    rows = [{"tokens": [n] * length, "owner": [n] * length} for n, length in enumerate(lengths)]
    packed = pack_dataset(Dataset.from_list(rows), 8, strategy, {"batch_size": 6}).to_list()

    assert all(row["tokens"] == row["owner"] for row in packed)
    kept = sum(len(row["tokens"]) for row in packed)
    assert kept == (23 if strategy == "bfd" else 24)  # bfd cuts the end of what is too long
