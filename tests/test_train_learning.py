"""A tiny model finds a planted rule in sequences that it has not seen, and none where none is."""

import json
import math
import random
from pathlib import Path

from tiny_models import save_model
from trained import save_recipe

from proteinlm_train.recipe_file import load_recipe

# A motif of two residues that occur nowhere else decides the answer.
MOTIFS = {"zinc": "CHC", "iron": "HCH"}
OTHERS = "ADEFGIKLMNPQRSTVWY"
TRAIN, HELD_OUT = 480, 64
# Each row trains its word and the end of the turn, and only the word is uncertain.
ENTROPY = math.log(2) / 2
TEMPLATE = (
    "{% for m in messages %}{{ '<s> ' + m['role'] + ' ' + m['content'] + ' </s> ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s> assistant ' }}{% endif %}"
)


def save_residue_model(folder: Path) -> None:
    """Save a model with one token a residue."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<s>", "</s>", "?", "user", "assistant", "<seq>", "</seq>", *MOTIFS, *OTHERS, "C", "H"]
    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(words)}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    save_model(folder, "llama", seed=1, vocab_size=len(words))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="?",
        chat_template=TEMPLATE,
    ).save_pretrained(folder)  # fmt: skip


def save_rows(path: Path, *, shuffled: bool) -> None:
    """Save as many rows of each answer, the held-out ones of other sequences."""
    draw = random.Random(0)
    lines = []
    for split, count in (("train", TRAIN), ("validation", HELD_OUT)):
        answers = [*MOTIFS] * (count // 2)
        said = draw.sample(answers, count) if shuffled else answers
        for answer, word in zip(answers, said, strict=True):
            start = draw.randrange(10)
            residues = [*draw.choices(OTHERS, k=start), *MOTIFS[answer]]
            residues += draw.choices(OTHERS, k=13 - len(residues))
            prompt = f"<seq> {' '.join(residues)} </seq>"
            lines.append({"prompt": prompt, "completion": word, "split": split})
    assert len({line["prompt"] for line in lines}) == len(lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def held_out_losses(folder: Path, *, shuffled: bool) -> list[float]:
    from proteinlm_train.run import train
    from proteinlm_train.step_log import read_log

    folder.mkdir()
    save_residue_model(folder / "model")
    save_rows(folder / "rows.jsonl", shuffled=shuffled)
    recipe = save_recipe(
        folder, "stage=sft", "method=lora", "lora={r: 16, alpha: 32, dropout: 0}",
        f"data.sources=[{{path: {folder / 'rows.jsonl'}}}]",
        f"data.validation={{from: split, rows: {HELD_OUT}}}",
        "train.lr=1e-2", "train.max_steps=100", "train.grad_accum=1", "train.max_length=512",
        "run.eval_steps=25", "run.save_steps=1000",
    )  # fmt: skip
    run = train(load_recipe(recipe))
    counts = json.loads((run / "training_run.json").read_text())["data"]
    assert counts["label_tokens_per_epoch"] == 2 * TRAIN
    return [entry["eval_loss"] for entry in read_log(run / "log.jsonl") if "eval_loss" in entry]


def test_a_planted_rule_is_found_in_sequences_that_were_not_seen(tmp_path, one_thread):
    losses = held_out_losses(tmp_path / "true", shuffled=False)

    assert losses[0] > ENTROPY
    assert losses[-1] < ENTROPY / 4


def test_nothing_is_found_where_answers_are_shuffled(tmp_path, one_thread):
    losses = held_out_losses(tmp_path / "shuffled", shuffled=True)

    assert min(losses) >= ENTROPY
