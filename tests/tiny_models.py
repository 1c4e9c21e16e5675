"""Random models of a few thousand weights, one of each kind of architecture, and a tokenizer."""

from pathlib import Path
from typing import Any

TEXT = (
    "Which residue binds the zinc ion in the active site of a metalloprotease? "
    "Histidine, cysteine and glutamate do; alanine does not. "
    "Question: Where is the protein found? Answer: in the membrane of the mitochondrion. "
) * 4
VOCABULARY = 384
_SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 512,
}  # fmt: skip
_GROUPED = _SMALL | {"num_key_value_heads": 2}
# Wide initial weights: with the usual ones the logits hardly depend on what a token attends to.
_GPT2: dict[str, Any] = {
    "vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512,
    "initializer_range": 0.3,
}  # fmt: skip
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": _GROUPED,
    "qwen3": _GROUPED | {"head_dim": 8},
    "gpt2": _GPT2,
    "gpt_neox": _SMALL,
    "gemma3_text": _GROUPED | {"head_dim": 8, "sliding_window": 16, "num_hidden_layers": 7},
    "mistral": _GROUPED | {"sliding_window": 16},
    "olmo2": _GROUPED,
    "phi": _SMALL,
    "mixtral": _GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "gemma2": _GROUPED | {"head_dim": 8, "sliding_window": 16, "attn_implementation": "eager"},
}


def save_tokenizer(folder: Path, **options: Any) -> None:
    """Train a byte-level BPE on a few sentences: it has merges across the ends of answers."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", **options
    ).save_pretrained(folder)


def save_model(folder: Path, architecture: str, *, seed: int = 0, **changes: Any) -> Path:
    """Save a random model of an architecture of transformers, and the tokenizer, in `folder`."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    options = ARCHITECTURES.get(architecture, {}) | changes
    config = AutoConfig.for_model(
        architecture, bos_token_id=0, eos_token_id=1, pad_token_id=1,
        **({"initializer_range": 0.3} | options),
    )  # fmt: skip
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder
