"""How answers about proteins are scored: a perfect one, a wrong one, an empty one."""

from typing import Any

import pytest
import sacrebleu
from annotation_rows import ENZYMES, TEXTS, protein_row

from proteinlm_ext import annotation_scoring as scoring
from proteinlm_ext.enzyme_numbers import add_numbers, learn_names
from proteinlm_sft.templates import FIELDS, fill_answer

WRONG = "The moon is made of cheese."
SCORERS = {"disease": scoring.score_disease, "tissue_specificity": scoring.score_tissue}
CONFIGS = [*TEXTS, "enzyme_cot"]


def document(config: str) -> dict[str, Any]:
    if config != "enzyme_cot":
        return protein_row(config, "P00001", TEXTS[config]) | {"config": config}
    docs = [row | {"config": config} for row in ENZYMES]
    add_numbers(docs, learn_names(ENZYMES))
    return docs[0]


def score(doc: dict[str, Any], answer: str) -> dict[str, Any]:
    default = scoring.score_enzyme if doc["config"] == "enzyme_cot" else scoring.score_text
    return SCORERS.get(doc["config"], default)(doc, [answer])


@pytest.mark.parametrize("config", CONFIGS)
def test_the_right_output_has_full_marks(config: str) -> None:
    doc = document(config)
    scores = score(doc, doc["output"])
    assert scoring.corpus_bleu([scores.pop("bleu")]) == pytest.approx(100)
    assert scores.pop("empty_rate") == 0
    assert scores.pop("ec_invalid", 0) == 0
    assert set(scores.values()) == {1.0}


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("with_template", [True, False])
def test_a_wrong_answer_has_none_even_in_the_words_of_the_template(
    config: str, with_template: bool
) -> None:
    answer = fill_answer(config, WRONG) if with_template and config in FIELDS else WRONG
    scores = score(document(config), answer)
    assert scores["rougeL"] < 0.3
    assert scoring.corpus_bleu([scores["bleu"]]) < 10
    assert scores["has_opening"] == float(answer != WRONG)
    assert scores["empty_rate"] == 0
    assert {scores[name] for name in scores if name in ("term_f1", "ec1", "ec4")} <= {0.0}


@pytest.mark.parametrize("config", TEXTS)
def test_an_empty_answer_scores_nothing_and_is_counted_with_or_without_the_opening(
    config: str,
) -> None:
    for answer, opening in (("", 0.0), (fill_answer(config, ""), 1.0), (" \n", 0.0)):
        scores = score(document(config), answer)
        assert (scores["empty_rate"], scores["has_opening"], scores["rougeL"]) == (1, opening, 0)
        assert scoring.corpus_bleu([scores["bleu"]]) == 0


def test_the_opening_lends_no_score_to_either_side() -> None:
    doc = document("function")
    assert scoring.strip_template("function", doc["output"]) == TEXTS["function"]
    bare, opened = (score(doc, text) for text in (TEXTS["function"], doc["output"]))
    assert (bare.pop("has_opening"), opened.pop("has_opening")) == (0, 1)
    assert bare == opened


def test_an_enzymes_text_keeps_comment_name_and_reaction() -> None:
    said = scoring.strip_template("enzyme_cot", ENZYMES[0]["output"])
    assert "".join(said.split("\n")).split(".") == [
        "Slow", " See also EC 2", "7", "7", "7", "  Lampase", "  A + B = C", "",
    ]  # fmt: skip


def test_bleu_is_that_of_sacrebleu_over_the_corpus() -> None:
    pairs = [
        ("Binds zinc and opens the gate.", "Binds zinc, and shuts the gate of the vesicle."),
        ("Homotrimer of two lids.", "A homotrimer of two lids and a kettle."),
        ("By salt.", ""),
    ]
    docs = [protein_row("function", "P1", right) | {"config": "function"} for right, _ in pairs]
    counts = [score(doc, said)["bleu"] for doc, (_, said) in zip(docs, pairs, strict=True)]
    expected = sacrebleu.corpus_bleu([said for _, said in pairs], [[right for right, _ in pairs]])
    assert scoring.corpus_bleu(counts) == pytest.approx(expected.score)
    assert 5 < expected.score < 95


def test_a_disease_row_that_names_none_is_not_counted_in_the_overlap() -> None:
    doc = protein_row("disease", "P1", "Note: May cause lamp fever.") | {"config": "disease"}
    scores = scoring.score_disease(doc, [doc["output"]])
    assert scores["term_f1"] is None
    assert scores["rougeL"] == 1


def test_loss_is_in_nats_per_byte_of_the_right_output() -> None:
    doc = {"output": "\u03b2-lamp"}
    scores = scoring.score_loss(doc, [(-14.0, False)])
    assert scores == {"nats_per_byte": (14.0, 7), "row_nats_per_byte": 2.0}
    assert scoring.total_ratio([(14.0, 7), (2.0, 9)]) == 1.0
