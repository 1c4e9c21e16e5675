"""Scores by how near the most similar training protein is."""

from typing import Any

import pytest

from proteinlm_ext.identity_bins import BINS, bin_of, count_hits, score_by_identity


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        (0.0, "<30%"), (0.299, "<30%"), (0.3, "30-50%"), (0.499, "30-50%"), (0.5, "50-90%"),
        (0.899, "50-90%"), (0.9, ">=90%"), (1.0, ">=90%"),
    ],
)  # fmt: skip
def test_a_bin_holds_its_lower_bound_and_not_its_upper(identity: float, name: str) -> None:
    assert bin_of({"identity": identity}) == name
    assert name in BINS


def test_a_row_without_a_hit_has_a_bin_of_its_own() -> None:
    assert bin_of(None) == "no hit" == BINS[0]


def sample(number: int, score: float, identity: float | None) -> dict[str, Any]:
    neighbour = None if identity is None else {"accession": "Q1", "identity": identity}
    doc = {"accession": f"P{number}", "neighbour": neighbour}
    return {"doc_id": number, "doc": doc, "rougeL": score}


SAMPLES = [sample(0, 0.1, None), sample(1, 0.3, None), sample(2, 0.5, 0.35), sample(3, 0.9, 0.95)]


def test_every_bin_has_its_own_score_and_n() -> None:
    found = {part.name: part for part in score_by_identity("rougeL", SAMPLES)}
    assert list(found) == list(BINS)
    assert [found[name].num_rows for name in BINS] == [2, 0, 1, 0, 1]
    assert found["no hit"].value == pytest.approx(0.2)
    assert found["no hit"].interval is not None
    assert found["no hit"].interval.low == pytest.approx(0.1)
    assert found[">=90%"].value == pytest.approx(0.9)
    assert (found["<30%"].value, found["<30%"].interval) == (None, None)


def test_hits_are_counted_by_row_and_not_at_all_where_none_were_looked_for() -> None:
    assert count_hits([*SAMPLES, *SAMPLES]) == 2
    assert count_hits([{"doc_id": 0, "doc": {"accession": "P1"}}]) is None
