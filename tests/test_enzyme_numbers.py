"""The EC number of an answer: from the conclusion, by name or number, never from a comment."""

import pytest
from annotation_rows import ENZYMES

from proteinlm_ext.enzyme_numbers import _AFTER, _BEFORE, add_numbers, learn_names, read_numbers
from proteinlm_ext.enzyme_numbers import score_numbers as score
from proteinlm_sft.templates import ENZYME

NAMES = {"lampase": ("1.1.1.1",), "wick reductase": ("2.3.4.5", "2.3.4.6")}


def concluded(name: str) -> str:
    return f"See EC 9.9. So, this enzyme should belong to the {name}. Therefore, by synthesizing it"


def test_the_marks_of_the_conclusion_are_those_of_the_template() -> None:
    assert ENZYME.answer.count(_BEFORE + "{name}" + _AFTER) == 1


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (concluded("Lampase"), ("1.1.1.1",)),
        (concluded("  LAMPASE  "), ("1.1.1.1",)),
        (concluded("wick  reductase"), ("2.3.4.5", "2.3.4.6")),
        (concluded("Lampase (EC 4.2.1.-)"), ("4.2.1.-",)),
        (concluded("1.1.1.1, 2.7.11.1, 3.4.21.4"), ("1.1.1.1",)),
        (concluded("Unheard-of enzyme"), ()),
        ("this enzyme should belong to the Lampase", ("1.1.1.1",)),
        ("this enzyme should belong to the Lampase.\nIt is", ("1.1.1.1",)),
        ("See also EC 2.7.7.7. So, " + concluded("Unheard-of enzyme"), ()),
        ("EC 2.7.7.7 it is.", ("2.7.7.7",)),
        ("EC 2.7.7.7, not EC 2.7.7.8.", ()),
        ("EC:3.5.1.n3, yes, 3.5.1.n3.", ("3.5.1.n3",)),
        ("Version 1.2.3.4.5 of 11.2.3.4 and x1.2.3.4", ()),
        ("Lampase", ()),
        ("", ()),
    ],
)
def test_the_conclusion_counts_and_other_numbers_only_where_there_is_none(
    text: str, numbers: tuple[str, ...]
) -> None:
    assert read_numbers(text, NAMES) == numbers


def documents() -> list[dict]:
    docs = [{name: row[name] for name in ("id", "accession", "output")} for row in ENZYMES]
    add_numbers(docs, learn_names(ENZYMES))
    return docs


def test_every_right_output_is_right_at_all_levels_and_readable() -> None:
    for doc in documents():
        assert score(doc, doc["output"]) == {
            "ec4": 1.0, "ec3": 1.0, "ec2": 1.0, "ec1": 1.0, "ec_invalid": 0.0,
        }  # fmt: skip


def test_any_right_number_of_the_protein_counts() -> None:
    docs = documents()
    assert score(docs[0], docs[1]["output"])["ec4"] == 1.0


def test_a_near_number_is_right_as_far_as_it_goes() -> None:
    docs = documents()
    assert score(docs[0], docs[2]["output"]) == {
        "ec4": 0.0, "ec3": 1.0, "ec2": 1.0, "ec1": 1.0, "ec_invalid": 0.0,
    }  # fmt: skip
    levels = [score(docs[0], f"EC {number}") for number in ("1.2.1.1", "2.1.1.1", "1.1.1.-")]
    assert [[found[f"ec{level}"] for level in (1, 2, 3, 4)] for found in levels] == [
        [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0],
    ]  # fmt: skip


def test_an_answer_that_cannot_be_read_is_wrong_and_counted() -> None:
    assert score(documents()[0], "It is an enzyme.") == {
        "ec4": 0.0, "ec3": 0.0, "ec2": 0.0, "ec1": 0.0, "ec_invalid": 1.0,
    }  # fmt: skip


def test_two_fields_that_are_unknown_do_not_agree() -> None:
    doc = documents()[0] | {"numbers": ["1.1.1.-"]}
    assert score(doc, "EC 1.1.1.-")["ec4"] == 0.0
    assert score(doc, "EC 1.1.1.-")["ec3"] == 1.0
