"""Sequences between tags: one spelling, and no more residues than there is room for."""

import pytest

from proteinlm_train.tagged import count_residues, keep_residues, respell

MESSAGES = [
    {"role": "user", "content": "Do <seq> M K T A </seq> and <seq> W Y </seq> meet?"},
    {"role": "user", "content": "Say why."},
]


def test_a_sequence_is_written_in_one_way_however_it_was():
    for given in ("<seq> M K T </seq>", "<seq>MKT</seq>", "<seq>\nM K\nT </seq>"):
        assert respell(f"a {given} b", "spaced") == "a <seq> M K T </seq> b"
        assert respell(f"a {given} b", "joined") == "a <seq> MKT </seq> b"


def test_text_without_tags_stays():
    assert respell("M K T, not tagged", "joined") == "M K T, not tagged"


def test_residues_of_all_sequences_count():
    assert count_residues(MESSAGES) == 6


@pytest.mark.parametrize(
    ("keep", "first", "second"), [(6, "M K T A", "W Y"), (5, "M K T", "W"), (3, "M K", "W")]
)
def test_every_sequence_loses_its_end_in_proportion_and_the_question_stays(keep, first, second):
    kept = keep_residues(MESSAGES, keep, 6, "spaced")

    assert kept[0]["content"] == f"Do <seq> {first} </seq> and <seq> {second} </seq> meet?"
    assert kept[1] == MESSAGES[1]
    assert count_residues(kept) <= keep
