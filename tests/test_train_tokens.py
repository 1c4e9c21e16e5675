"""Rows become the tokens and labels that TRL makes of them, in three bytes a token."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import save_tokenizer
from trained import TEMPLATE

from proteinlm_ext.errors import ProteinLMError
from proteinlm_train.encoding import START, decode, encode, from_bytes, to_bytes
from proteinlm_train.tokens import Counts, Tokenizing

# What follows a prompt alone is not what follows it in the whole.
THINKING = TEMPLATE.replace("'<s>assistant\n' }}{% endif", "'<s>assistant\n<s></s>' }}{% endif")
# No added token: the whole prompt is one stretch for the tokenizer.
PLAIN = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
ASKS_ONLY = "{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}"
TEMPLATES = {"chat": TEMPLATE, "thinking": THINKING, "plain": PLAIN}
PIECES = (
    "<s>",
    "</s>",
    "<",
    "\n",
    " ",
    "  ",
    "the ",
    "protein",
    "residue",
    "é",
    "蛋白",
    "🧬",
    "\u0301",
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from transformers import AutoTokenizer

    found: dict[str, Any] = {}
    for name, template in (TEMPLATES | {"asks_only": ASKS_ONLY}).items():
        folder = tmp_path_factory.mktemp(name)
        save_tokenizer(folder, chat_template=template)
        found[name] = AutoTokenizer.from_pretrained(folder)
    return found


@pytest.fixture
def tokenizer(tokenizers: dict[str, Any]) -> Any:
    return tokenizers["chat"]


def make(tokenizer: Any, *, residues="spaced", overlong="drop", limit=None) -> Tokenizing:
    return Tokenizing(tokenizer=tokenizer, residues=residues, overlong=overlong, limit=limit)


def chat(asked: str, answer: str, key: str = "one") -> tuple[str, list[Any], list[Any]]:
    return (
        key,
        [{"role": "user", "content": asked}],
        [{"role": "assistant", "content": answer}],
    )


def as_trl(tokenizer: Any, row: tuple[str, list[Any], list[Any]]) -> tuple[list[int], list[int]]:
    """Return tokens and labels as TRL's tokenize_fn and build_labels make them."""
    from trl.data_utils import common_prefix_length

    _, prompt, completion = row
    said = {"tokenize": True, "return_dict": True}
    asked = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, **said)["input_ids"]
    whole = tokenizer.apply_chat_template(prompt + completion, **said)["input_ids"]
    context = common_prefix_length(asked, whole)
    return whole, [-100] * context + whole[context:]


def learned(tokenizer: Any, document: Any) -> str:
    said = decode(document.tokens)
    return tokenizer.decode(said["input_ids"][said["labels"] != -100])


def text(tokenizer: Any, document: Any) -> str:
    return tokenizer.decode(decode(document.tokens)["input_ids"])


@pytest.mark.parametrize("name", TEMPLATES)
@given(asked=TEXTS, answer=TEXTS)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_tokens_and_labels_are_those_of_trl(tokenizers, name, asked, answer):
    row = chat(asked, answer)
    expected = as_trl(tokenizers[name], row)

    (document,) = make(tokenizers[name]).conversations([row], Counts())

    said = decode(document.tokens)
    assert (said["input_ids"].tolist(), said["labels"].tolist()) == expected


@pytest.mark.parametrize("name", TEMPLATES)
def test_turns_before_the_last_are_context(tokenizers, name):
    turns = [("system", "Be brief."), ("user", "Which?"), ("assistant", "Zinc."), ("user", "Why?")]
    row = (
        "many",
        [{"role": role, "content": content} for role, content in turns],
        [{"role": "assistant", "content": "Histidine binds it."}],
    )

    (document,) = make(tokenizers[name]).conversations([row], Counts())

    said = decode(document.tokens)
    assert (said["input_ids"].tolist(), said["labels"].tolist()) == as_trl(tokenizers[name], row)
    assert "Zinc" not in learned(tokenizers[name], document)
    assert "Histidine binds it." in learned(tokenizers[name], document)


def test_loss_is_on_the_answer_and_its_stop_token(tokenizer):
    (document,) = make(tokenizer).conversations([chat("Where?", "In the membrane.")], Counts())

    assert learned(tokenizer, document) == "In the membrane.</s>\n"


def test_a_character_of_several_bytes_at_the_boundary_is_learned_whole(tokenizer):
    rows = [chat("Which residue?é", "é蛋白🧬"), chat("🧬", "🧬")]

    documents = make(tokenizer).conversations(rows, Counts())

    assert [learned(tokenizer, found) for found in documents] == ["é蛋白🧬</s>\n", "🧬</s>\n"]


def test_a_row_without_label_is_refused_by_its_id(tokenizers):
    rows = [chat("Where?", "In the membrane.", "P12345#3")]

    with pytest.raises(ProteinLMError, match="Row P12345#3 has no token to learn from"):
        make(tokenizers["asks_only"]).conversations(rows, Counts())


def test_a_message_that_is_no_text_is_refused_by_its_id(tokenizer):
    row = ("P1", [{"role": "user", "content": [{"type": "image"}]}], chat("", "No.")[2])

    with pytest.raises(ProteinLMError, match="Row P1: the content of a message must be a text"):
        make(tokenizer).conversations([row], Counts())


def test_what_the_template_refuses_is_refused_by_its_id(tmp_path):
    from transformers import AutoTokenizer

    save_tokenizer(tmp_path, chat_template="{{ raise_exception('roles must alternate') }}")
    strict = AutoTokenizer.from_pretrained(tmp_path)

    with pytest.raises(ProteinLMError, match=r"Row P1: the chat template .*roles must alternate"):
        make(strict).conversations([chat("a", "b", "P1")], Counts())


@pytest.mark.parametrize("written", ["<seq>M K</seq>", "<seq>MK</seq>", "<seq>\nM K\n</seq>"])
@pytest.mark.parametrize(("residues", "said"), [("spaced", "M K"), ("joined", "MK")])
def test_a_sequence_is_spelled_in_one_way(tokenizer, written, residues, said):
    counts = Counts()

    tokenizing = make(tokenizer, residues=residues)
    (document,) = tokenizing.conversations([chat(f"Here: {written}.", written)], counts)
    (pretext,) = tokenizing.texts([("text", f"Here: {written}.")], counts)

    assert text(tokenizer, document).count(f"<seq> {said} </seq>") == 2
    assert text(tokenizer, pretext) == f"Here: <seq> {said} </seq>.</s>"
    assert counts.respelled == 3


def test_a_sequence_in_canonical_spelling_is_not_counted_as_respelled(tokenizer):
    counts = Counts()

    make(tokenizer).conversations([chat("<seq> M K </seq>", "None.")], counts)

    assert counts.respelled == 0


def test_rows_that_are_too_long_are_dropped_and_counted(tokenizer):
    counts = Counts()
    rows = [chat("a" * 50, "No.", "long"), chat("a", "No.", "short")]

    dropped, kept = make(tokenizer, limit=40).conversations(rows, counts)

    assert dropped is None
    assert kept.id == "short"
    assert (counts.read, counts.kept, counts.overlong, counts.dropped) == (2, 1, 1, 1)
    assert counts.longest == ["long"]


def test_a_row_that_is_too_long_is_an_error_where_the_recipe_says_so(tokenizer):
    with pytest.raises(ProteinLMError, match=r"Row P1 has \d+ tokens, more than train.max_length"):
        make(tokenizer, overlong="error", limit=40).conversations(
            [chat("a" * 50, "No.", "P1")], Counts()
        )


@pytest.mark.parametrize("residues", ["spaced", "joined"])
def test_a_cropped_row_keeps_tags_question_and_answer_and_the_beginning(tokenizer, residues):
    sequence = "MKTAYIAKQR" * 20
    counts = Counts()
    row = chat(f"Look at <seq> {' '.join(sequence)} </seq> and answer.", "It binds zinc.")

    tokenizing = make(tokenizer, residues=residues, overlong="crop_sequence", limit=120)
    (document,) = tokenizing.conversations([row], counts)

    said = text(tokenizer, document)
    kept = re.search(r"Look at <seq> ([A-Z ]*) </seq> and answer\.", said)[1].replace(" ", "")
    assert learned(tokenizer, document) == "It binds zinc.</s>\n"
    assert 0 < len(kept) < len(sequence)
    assert sequence.startswith(kept)
    assert 100 < len(document.tokens) <= 120
    assert (counts.cropped, counts.dropped, counts.kept) == (1, 0, 1)
    assert counts.residues_cut == len(sequence) - len(kept)


def test_several_sequences_are_cropped_in_proportion_and_counted_exactly(tokenizer):
    counts = Counts()
    lengths = (90, 45, 7)
    asked = " and ".join(f"<seq> {' '.join('M' * length)} </seq>" for length in lengths)

    tokenizing = make(tokenizer, overlong="crop_sequence", limit=200)
    (document,) = tokenizing.conversations([chat(asked, "Alike.")], counts)

    kept = [
        found.count("M") for found in re.findall(r"<seq>(.*?)</seq>", text(tokenizer, document))
    ]
    assert sum(lengths) - sum(kept) == counts.residues_cut
    assert kept[0] / kept[1] == pytest.approx(2, rel=0.05)
    assert all(0 < now < before for now, before in zip(kept, lengths, strict=True))


def test_a_row_whose_question_alone_is_too_long_is_dropped_however_it_is_cropped(tokenizer):
    counts = Counts()
    row = chat("a" * 100 + " <seq> M K T </seq>", "No.")

    assert make(tokenizer, overlong="crop_sequence", limit=60).conversations([row], counts) == [
        None
    ]
    assert (counts.overlong, counts.dropped, counts.cropped, counts.residues_cut) == (1, 1, 0, 0)


def test_a_text_ends_in_one_end_token_and_is_learned_whole(tokenizer):
    rows = [("a", "Zinc binds."), ("b", "Zinc binds.</s>")]

    first, second = make(tokenizer).texts(rows, Counts())

    assert text(tokenizer, first) == text(tokenizer, second) == "Zinc binds.</s>"
    assert learned(tokenizer, first) == "Zinc binds.</s>"


def test_an_empty_text_is_refused_by_its_id(tokenizer):
    with pytest.raises(ProteinLMError, match="Row PMC7 has no token to learn from"):
        make(tokenizer).texts([("PMC7", "")], Counts())


def test_a_text_that_is_too_long_is_dropped_where_texts_are_not_split(tokenizer):
    counts = Counts()

    assert make(tokenizer, limit=20).texts([("a", "b" * 40)], counts) == [None]
    assert (counts.read, counts.kept, counts.dropped) == (1, 0, 1)


@given(
    documents=st.lists(
        st.lists(st.integers(0, START - 1), min_size=1, max_size=9).flatmap(
            lambda ids: st.tuples(st.just(ids), st.integers(0, len(ids)))
        ),
        min_size=1, max_size=5,
    )
)  # fmt: skip
@settings(max_examples=200, deadline=None, derandomize=True)
def test_ids_mask_and_documents_come_back_from_three_bytes_a_token(documents):
    row = np.concatenate([encode(ids, context) for ids, context in documents])
    data = to_bytes(row).tobytes()

    said = decode(from_bytes(data))

    assert len(data) == 3 * len(row)
    assert said["input_ids"].tolist() == [token for ids, _ in documents for token in ids]
    assert said["seq_lengths"] == [len(ids) for ids, _ in documents]
    assert said["labels"].tolist() == [
        label for ids, context in documents for label in [-100] * context + ids[context:]
    ]


def test_an_id_that_does_not_fit_is_refused():
    assert decode(encode([START - 1], 0))["input_ids"].tolist() == [START - 1]
    with pytest.raises(ProteinLMError, match=f"Token {START} does not fit"):
        encode([1, START], 0)


def test_smollm2_gives_the_tokens_and_labels_of_trl(smollm2: Path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    rows = [
        chat(f"Describe <seq> {' '.join('MKTAYIAKQR' * n)} </seq>", answer, str(n))
        for n, answer in enumerate(["Zinc.", " It", "\n\nIt", "", "é", "<|im_end|>", "\n"])
    ]

    documents = make(tokenizer).conversations(rows, Counts())

    for row, document in zip(rows, documents, strict=True):
        said = decode(document.tokens)
        assert (said["input_ids"].tolist(), said["labels"].tolist()) == as_trl(tokenizer, row)
