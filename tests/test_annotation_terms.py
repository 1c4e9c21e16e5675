"""Diseases and tissues that a text names."""

import pytest

from proteinlm_ext.annotation_terms import disease_names, overlap_f1, tissue_terms

DISEASES = (
    "Note: Found in a patient with lamp cancer (LC). Variants are frequent.\n"
    "Lamp fever, wick-related, 2 (LMPF2): A fever of lamps. Includes: soot cough (SC), and others. "
    "Note: Caused by variants.\n"
    "46,XY kettle reversal (KTLX): Severe. It may look like lid disease (LID)."
)


def test_diseases_are_the_names_before_an_acronym_and_a_colon() -> None:
    assert disease_names(DISEASES) == {"lamp fever wick related 2", "46 xy kettle reversal"}


def test_a_disease_in_one_line_with_others_or_with_its_mim_number_is_found() -> None:
    line = "Seen in homes. Lamp fever (LMPF) [MIM:100200]: Hot. Note: Rare. Lid rot (LID): Cold."
    assert disease_names(line) == {"lamp fever", "lid rot"}


def test_a_note_alone_names_no_disease() -> None:
    assert disease_names("Note: Variants of it may cause lamp fever (LMPF).") == frozenset()


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Expressed by the lamp gland.", {"lamp gland"}),
        ("Expressed in liver, skeletal muscle, and brain.", {"liver", "skeletal muscle", "brain"}),
        ("Highly expressed in T-cells; at lower levels in the testis.", {"t-cell", "testis"}),
        ("Detected in fibroblasts (at protein level).", {"fibroblast"}),
        ("Widely expressed.", {"widely"}),
        ("Isoform 1 and isoform 2 are found in the small intestine.", {"small intestine"}),
        ("Constitutively expressed.", set()),
        ("", set()),
    ],
)
def test_tissues_are_the_runs_of_words_that_say_where(text: str, terms: set[str]) -> None:
    assert tissue_terms(text) == terms


def test_overlap_is_the_harmonic_mean_of_precision_and_recall() -> None:
    right = frozenset({"liver", "brain", "lung"})
    assert overlap_f1(frozenset({"liver"}), right) == pytest.approx(2 * 1 * (1 / 3) / (1 + 1 / 3))
    assert overlap_f1(right, right) == 1.0
    assert overlap_f1(frozenset(), right) == 0.0
    assert overlap_f1(frozenset({"liver"}), frozenset()) is None
