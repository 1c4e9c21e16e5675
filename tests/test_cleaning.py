"""What is taken out of comments, what must survive, and that cleaning twice changes nothing."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proteinlm_sft.cleaning import clean_text, normalise, paper_text
from proteinlm_sft.templates import FIELDS


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ("Binds zinc. {ECO:0000269|PubMed:1, ECO:0000305}.", "Binds zinc."),
        ("Binds zinc {ECO:0000305}. More.", "Binds zinc. More."),
        ("Binds {ECO:0000305} zinc.", "Binds zinc."),
        ("Binds zinc (PubMed:1, PubMed:2). {ECO:0000269}.", "Binds zinc."),
        ("Binds zinc (By similarity, PubMed:1), iron (PubMed:1, Ref.2).", "Binds zinc, iron."),
        ("Binds zinc (in vitro, PubMed:1; PubMed:2).", "Binds zinc (in vitro)."),
        ("Binds zinc (PubMed:1 and PubMed:2).", "Binds zinc."),
        ("Binds zinc (in vitro (PubMed:1)).", "Binds zinc (in vitro)."),
        ("Binds (Ref.3) zinc (see PubMed:1).", "Binds zinc."),
        ("Testosis (TST) [MIM:1]: A trait.", "Testosis (TST): A trait."),
        ("Testosis [MIM:1, MIM:2] or [MIM:1; MIM:2].", "Testosis or."),
        ("Cleaved (By similarity). Bound (Probable). Free (Potential).", "Cleaved. Bound. Free."),
        ("Inhibitor (Potential agonist). Probable kinase.",) * 2,
        ("[Isoform 2]: Idle (Probable).", "Isoform 2: Idle."),
        ("[Chain [1]-b]: Idle.", "Chain [1]-b: Idle."),
        ("A trait. {ECO:0000269}. Note=Rare.", "A trait. Note: Rare."),
        ("A  b .  C , d\t( ) e..", "A b. C, d e."),
        ("According to PubMed:1, idle.", "According to one study, idle."),
    ],
)
def test_tags_references_and_old_evidence_words_leave_the_text(block: str, text: str):
    assert clean_text([block]).text == text


@pytest.mark.parametrize(
    "text",
    [
        "Oxidizes (S)-malate with Ca(2+) and D-ribulose 5-phosphate.",
        "Holds [4Fe-4S] clusters and {Glu(-Cys)}(N)-Gly.",
        "Cleaves N,N-dimethyl-(1->4)-beta-D-glucan .5 mM...",
    ],
)
def test_chemical_names_survive(text: str):
    assert clean_text([text]).text == text


def test_what_leaves_the_text_is_kept_beside_it():
    found = clean_text(
        [
            "Binds (PubMed:9, PubMed:2). {ECO:0000269|PubMed:7, ECO:0000250}.",
            "Trait [MIM:5]. {ECO:0000269|PubMed:2}.",
        ]
    )
    assert found.text == "Binds.\nTrait."
    assert found.evidence == ("ECO:0000250", "ECO:0000269")
    assert found.references == ("PubMed:9", "PubMed:2", "PubMed:7")
    assert found.mim == ("MIM:5",)


@pytest.mark.parametrize(
    ("block", "evidence", "experimental"),
    [
        ("A. {ECO:0000269|PubMed:1}.", ("ECO:0000269",), True),
        ("A. {ECO:0000269|PubMed:1, ECO:0000305}.", ("ECO:0000269", "ECO:0000305"), False),
        ("A (By similarity). {ECO:0000269}.", ("ECO:0000250", "ECO:0000269"), False),
        ("A (Probable).", ("ECO:0000305",), False),
        ("A (Potential).", ("ECO:0000255",), False),
        ("A.", (), None),
    ],
)
def test_a_text_is_experimental_only_when_all_its_evidence_is(
    block: str, evidence: tuple[str, ...], experimental: bool | None
):
    found = clean_text([block])
    assert (found.evidence, found.experimental) == (evidence, experimental)


def test_blocks_become_lines_in_the_order_of_the_source():
    found = clean_text(["Binds zinc.", "{ECO:0000305}.", "[Isoform 2]: Idle."])
    assert found.text == "Binds zinc.\nIsoform 2: Idle."


def test_a_text_of_tags_alone_is_empty():
    assert clean_text(["(PubMed:1). {ECO:0000269|PubMed:1}."]).text == ""
    assert clean_text([]).text == ""


_PIECES = st.sampled_from(
    [
        "Binds zinc", "(S)-malate", "[4Fe-4S]", "Ca(2+)", "{x}", ".", "..", ",", ";", " ", "  ",
        "(", ")", "[", "]", "]: ", "and ", "see ", "(PubMed:1)", "(PubMed:1, PubMed:2)", "PubMed:3",
        "PubMed:", "Ref.4", "(Ref.4, PubMed:5)", "[MIM:1]", "[MIM:1; MIM:2]", "MIM:9",
        "{ECO:0000269}", " {ECO:0000250|UniProtKB:P1, ECO:0000269|PubMed:6}.", "(By similarity)",
        "By similarity", "(Probable)", "Potential", "[Isoform 2]: ", "Note=", "...", "\n",
        "\u00a0", "\u03b2",
    ]
)  # fmt: skip


@given(st.lists(st.lists(_PIECES, max_size=12).map("".join), max_size=3))
def test_cleaning_a_clean_text_changes_nothing(blocks: list[str]):
    once = clean_text(blocks)
    again = clean_text(once.text.split("\n"))
    assert again.text == once.text
    assert again.references == again.mim == ()


@given(st.lists(st.text("(PubMed:1, )[MI]{ECO:0269}.", max_size=60), max_size=2))
def test_no_reference_or_closed_tag_is_left(blocks: list[str]):
    found = clean_text(blocks)
    assert not any(mark in found.text for mark in ("PubMed:1", "MIM:1", "  "))
    assert not re.search(r"\{ECO:[^{}]*\}", found.text)


@given(st.text(max_size=200))
def test_any_text_can_be_cleaned_and_normalised_once(text: str):
    once = clean_text([text]).text
    assert clean_text(once.split("\n")).text == once
    assert normalise(normalise(text)) == normalise(text)


def test_texts_that_differ_in_case_and_punctuation_are_equal_when_normalised():
    assert normalise("Binds Zn(2+), and  \u03b2-D-glucan.") == "binds zn 2 and \u03b2 d glucan"
    assert normalise("BINDS zn(2+) and \u0392-D glucan") == normalise(
        "Binds Zn 2 and \u03b2 D-Glucan"
    )
    assert normalise("a_b") == "a b"


@pytest.mark.parametrize(
    ("config", "blocks", "text"),
    [
        ("function", ["A. {ECO:1|PubMed:1}.", "B {ECO:1}"], "FUNCTION: A. ; FUNCTION: B {ECO:1}"),
        ("subunit", ["A.", "B."], " A.; SUBUNIT: B."),
        ("induction", ["A. {ECO:1}. {ECO:2}."], "A.  "),
        ("tissue_specificity", ["A (PubMed:1)."], " A ."),
        ("disease", ["A [MIM:1, MIM:2] [MIM:1; MIM:2]."], "DISEASE: A  [MIM:1; MIM:2]."),
        ("ptm", ["A (By similarity, PubMed:1). ."], "PTM: A (By similarity, PubMed:1)."),
    ],
)  # fmt: skip
def test_paper_text_has_the_faults_of_the_paper(config: str, blocks: list[str], text: str):
    assert paper_text(FIELDS[config], blocks) == text
