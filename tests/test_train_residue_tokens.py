"""A table of residues gives the tokens that the tokenizer gives, or there is no table."""

import random
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import TEXT
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from proteinlm_train.residue_tokens import encode_texts, make_table

LETTERS = "ABCDEFGHIKLMNPQRSTUVWXYZJO"
WORDS = pre_tokenizers.Split(Regex(r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+"), "isolated")
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
# How a tokenizer cuts before it looks for tokens, and whether letters of a sequence stand alone.
CUTS: dict[str, tuple[Any, bool]] = {
    "regex of bytes": (pre_tokenizers.ByteLevel(add_prefix_space=False), True),
    "prefix space": (pre_tokenizers.ByteLevel(add_prefix_space=True), True),
    "split, then bytes": (pre_tokenizers.Sequence([WORDS, BYTES]), True),
    "blocks of blanks": (pre_tokenizers.Metaspace(prepend_scheme="never"), True),
    "blocks, the first marked": (pre_tokenizers.Metaspace(prepend_scheme="first"), None),
    "blocks, all marked": (pre_tokenizers.Metaspace(prepend_scheme="always"), None),
    "no cut at blanks": (BYTES, False),
    "no cut": (None, False),
}
PIECES = (
    "<seq> M K </seq>", "<seq> W </seq>", "<seq>", " </seq>", "</seq>", " M", " K W", " m", " M*",
    "<s>", "zinc", " ", "\n", "é", "7", "'s", "<",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


def make_tokenizer(cut: Any) -> Any:
    """Train a BPE on words and on sequences, whose letters it would merge if it could."""
    draw = random.Random(1)
    sequences = [" ".join(draw.choices(LETTERS, k=60)) + " M K" * 30 for _ in range(40)]
    tokenizer = Tokenizer(models.BPE())
    if cut is not None:
        tokenizer.pre_tokenizer = cut
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<s>", "</s>"], show_progress=False,
        initial_alphabet=[*pre_tokenizers.ByteLevel.alphabet(), "▁"],
    )  # fmt: skip
    tokenizer.train_from_iterator(
        [TEXT, *(f"<seq> {found} </seq>" for found in sequences)], trainer
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Any]:
    return {name: make_tokenizer(cut) for name, (cut, _) in CUTS.items()}


def plain(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]


@pytest.mark.parametrize("name", [name for name, (_, alone) in CUTS.items() if alone is not None])
def test_there_is_a_table_where_letters_stand_alone_and_nowhere_else(tokenizers, name):
    assert (make_table(tokenizers[name]) is not None) == CUTS[name][1]


@pytest.mark.parametrize("name", CUTS)
def test_texts_get_the_tokens_of_the_tokenizer(tokenizers, name):
    tokenizer = tokenizers[name]
    table = make_table(tokenizer)

    @given(texts=st.lists(TEXTS, max_size=3))
    @settings(max_examples=100, deadline=None, derandomize=True)
    def check(texts: list[str]) -> None:
        assert encode_texts(tokenizer, table, texts) == plain(tokenizer, texts)

    check()


def test_there_is_no_table_where_only_three_letters_at_once_are_joined():
    """No pair of letters shows it: the tokenizer itself has to say where it cuts."""
    letters = [(f"▁{letter}", -5.0) for letter in ascii_uppercase]
    rest = [(mark, -9.0) for mark in ("<unk>", "▁", *"<>/:.aseq")]
    model = models.Unigram([*rest, *letters, ("▁M▁K▁W", -1.0)], unk_id=0)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    whole = PreTrainedTokenizerFast(tokenizer_object=tokenizer)

    assert make_table(whole) is None
    assert len(plain(whole, [" M K W"])[0]) == 1


def test_there_is_no_table_where_a_letter_alone_loses_its_blank(tokenizers):
    fast = Tokenizer.from_str(tokenizers["regex of bytes"].backend_tokenizer.to_str())
    fast.normalizer = normalizers.Strip()
    stripping = PreTrainedTokenizerFast(tokenizer_object=fast)

    assert plain(stripping, [" M"]) == plain(stripping, ["M"])
    assert make_table(stripping) is None


def test_a_tokenizer_in_which_a_letter_is_two_tokens_has_no_table(tmp_path):
    from tiny_models import save_tokenizer

    save_tokenizer(tmp_path)

    assert make_table(AutoTokenizer.from_pretrained(tmp_path)) is None


def test_smollm2_has_a_table_and_keeps_its_tokens(smollm2: Path):
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    table = make_table(tokenizer)
    draw = random.Random(2)
    texts = [
        f"Look{before}<seq> {' '.join(draw.choices(LETTERS, k=k))} </seq>{after}"
        for k, before, after in zip(
            (1, 2, 30, 500), (" ", "", ": ", "\n"), ("", ".", "<|im_end|>", "\n\nx"), strict=True
        )
    ]

    assert table is not None
    assert encode_texts(tokenizer, table, texts) == plain(tokenizer, texts)


def test_equal_pieces_do_not_share_a_list(tokenizers):
    tokenizer = tokenizers["regex of bytes"]

    first, second = encode_texts(tokenizer, make_table(tokenizer), ["zinc", "zinc"])
    first.append(0)

    assert second == plain(tokenizer, ["zinc"])[0]
