"""Intervals over proteins: with all their rows, and of scores that are no means."""

import random
from typing import Any

import pytest

from proteinlm_ext.annotation_scoring import corpus_bleu, score_text
from proteinlm_ext.protein_scores import score_rows
from proteinlm_ext.stats import bootstrap_interval, wilson_interval


def samples(values: list[tuple[str, Any]], metric: str = "rougeL") -> list[dict[str, Any]]:
    return [{"doc": {"accession": accession}, metric: value} for accession, value in values]


def test_one_row_a_protein_has_the_ordinary_bootstrap_of_a_mean() -> None:
    draw = random.Random(3)
    values = [draw.random() for _ in range(60)]
    found = score_rows("rougeL", samples([(str(n), v) for n, v in enumerate(values)]))
    expected = bootstrap_interval(values)
    assert found.value == pytest.approx(sum(values) / 60)
    assert found.num_rows == 60
    assert found.interval is not None
    assert found.interval.low == pytest.approx(expected.low, abs=0.01)
    assert found.interval.high == pytest.approx(expected.high, abs=0.01)
    assert found.interval.method == "bootstrap over proteins"


def test_right_or_wrong_of_one_row_a_protein_has_a_wilson_interval() -> None:
    found = score_rows("ec1", samples([("a", 1.0), ("b", 0.0), ("c", 1.0)], "ec1"))
    assert found.interval == wilson_interval(2, 3)


def test_rows_of_one_protein_are_drawn_together() -> None:
    """Ten copies of each row add no information."""
    rows = [(name, value) for name, value in zip("abcdefgh", [1, 0, 1, 1, 0, 1, 0, 0], strict=True)]
    one, ten = (score_rows("rougeL", samples(rows * times)) for times in (1, 10))
    assert one.value == ten.value == 0.5
    assert ten.interval is not None
    assert ten.interval.high - ten.interval.low > 0.5
    assert ten.num_rows == 80


def test_proteins_that_all_fail_leave_room_for_a_success() -> None:
    found = score_rows("ec4", samples([("a", 0.0), ("a", 0.0), ("b", 0.0)], "ec4"))
    assert found.interval == wilson_interval(0, 2)


def test_rows_that_are_not_counted_leave_the_denominator() -> None:
    found = score_rows("term_f1", samples([("a", 0.5), ("b", None), ("c", 1.0)], "term_f1"))
    assert (found.value, found.num_rows) == (0.75, 2)
    nothing = score_rows("term_f1", samples([("a", None)], "term_f1"))
    assert nothing == (None, 0, None)


def test_loss_is_a_ratio_of_sums_and_no_wilson_interval_even_at_one() -> None:
    found = score_rows(
        "nats_per_byte", samples([("a", [4.0, 1]), ("b", [2.0, 5])], "nats_per_byte")
    )
    assert found.value == 1.0
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == (0.4, 4.0)
    ones = score_rows("row_nats_per_byte", samples([("a", 1.0), ("b", 1.0)], "row_nats_per_byte"))
    assert ones.interval is not None
    assert ones.interval.method == "bootstrap over proteins"


def test_a_single_protein_has_no_interval() -> None:
    assert score_rows("rougeL", samples([("a", 0.5), ("a", 0.7)])).interval is None


def test_the_bleu_of_a_corpus_has_an_interval_around_it() -> None:
    texts = [
        "Binds zinc and opens the gate.",
        "Binds the lid of the kettle.",
        "Homotrimer of lids.",
    ]
    counts = []
    for number, text in enumerate(texts * 4):
        said = text if number % 2 else text.replace("the", "a")
        (bleu,) = [score_text({"config": "function", "output": text}, [said])["bleu"]]
        counts.append((str(number), bleu))
    found = score_rows("bleu", samples(counts, "bleu"))
    assert found.value == pytest.approx(corpus_bleu([bleu for _, bleu in counts]))
    assert found.interval is not None
    assert found.value is not None
    assert 0 < found.interval.low < found.value < found.interval.high <= 100
    assert found == score_rows("bleu", samples(counts, "bleu"))
