"""Training runs in seconds: a random model of a few thousand weights in a recipe's place."""

import json
from pathlib import Path

from tiny_models import save_model, save_tokenizer

from proteinlm_ext.paths import recipes_dir
from proteinlm_train.recipe import Recipe, load_recipe

TEMPLATE = (
    "{% for m in messages %}{{ '<s>' + m['role'] + '\n' + m['content'] + '</s>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant\n' }}{% endif %}"
)
TEXTS = [
    f"Protein {number} was isolated from a culture at {20 + number} degrees. "
    f"<seq> {' '.join('MKTAYIAKQR'[number % 10 :] * 4)} </seq> It binds {number % 7} ions of zinc."
    for number in range(48)
]


def save_chat_model(folder: Path) -> Path:
    """Save a random Llama with tied embeddings, and a tokenizer with a chat template."""
    save_model(folder, "llama", tie_word_embeddings=True, max_position_embeddings=1024)
    save_tokenizer(folder, chat_template=TEMPLATE)
    return folder


def save_texts(path: Path) -> Path:
    """Save a few dozen texts as JSON Lines."""
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return path


def shipped_recipe(name: str, folder: Path, *changes: str) -> Recipe:
    """Return a shipped recipe with a tiny model and a few rows in place of its own.

    Args:
        name: Of a recipe in `sft/recipes/train`.
        folder: Where model, texts and the run are kept.
        changes: Further settings.
    """
    path = recipes_dir("train") / f"{name}.yaml"
    rows = "smoke" if load_recipe(path).stage == "sft" else save_texts(folder / "texts.jsonl")
    model = folder / "model"
    return load_recipe(
        path,
        (
            f"model.path={model if model.is_dir() else save_chat_model(model)}",
            "model.revision=null",
            f"data.sources=[{{path: {rows}}}]",
            "data.validation.rows=4",
            "data.decontamination=waived",
            "train.epochs=null",
            "train.max_steps=2",
            "train.grad_accum=2",
            "train.max_length=1024",
            "train.precision=fp32",
            "distribution={strategy: none}",
            f"run.output_dir={folder / 'run'}",
            *changes,
        ),
    )
