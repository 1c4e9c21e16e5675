"""The published scores are those of their sources, and are compared with their like only."""

import csv
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from proteinlm_ext import catalog
from proteinlm_ext.differences import difference_to_published
from proteinlm_ext.paths import data_file
from proteinlm_ext.published_scores import (
    PROTOCOLS,
    PublishedScore,
    load_published_scores,
    protocol_departures,
    reason_not_comparable,
)

SCORES = load_published_scores()


def score(protocol: str, num_questions: int = 944) -> PublishedScore:
    return PublishedScore(
        model="m", accuracy=0.5, num_questions=num_questions, protocol=protocol, source="s"
    )


def test_there_are_45_scores_with_model_source_and_a_known_protocol() -> None:
    assert Counter(item.protocol for item in SCORES) == {
        "paper": 18,
        "scienceeval": 11,
        "opencompass judge": 9,
        "opencompass, scorer not stated": 4,
        "opencompass, presumed": 3,
    }
    assert set(PROTOCOLS) == {item.protocol for item in SCORES}
    assert all(item.model.strip() and item.source.strip() for item in SCORES)
    assert len({(item.model, item.source) for item in SCORES}) == 45


def test_accuracies_are_shares_and_keep_the_published_digits() -> None:
    assert all(0 < item.accuracy < 1 for item in SCORES)
    assert SCORES[0].model == "InternLM2-Protein-7B"
    assert SCORES[0].accuracy == 0.6218
    with data_file("published_scores.csv").open(encoding="utf-8", newline="") as file:
        published = [row["accuracy"] for row in csv.DictReader(file)]
    assert [f"{float(text) / 100:.6f}" for text in published] == [
        f"{item.accuracy:.6f}" for item in SCORES
    ]


def test_question_counts_are_those_of_the_protocols() -> None:
    for item in SCORES:
        assert item.num_questions == (942 if item.protocol == "scienceeval" else 944)


def test_the_scores_are_those_of_the_collected_tables(real_benchmark: Path) -> None:
    tables: list[list[dict[str, str]]] = []
    for name in ("paper_table3.csv", "later_scores.csv"):
        path = real_benchmark.parent / name
        if not path.is_file():
            pytest.skip(f"no table at {path}")
        with path.open(encoding="utf-8", newline="") as file:
            tables.append(list(csv.DictReader(file)))
    paper, later = tables
    assert [item.accuracy for item in SCORES] == [
        float(f"{row['accuracy_pct']}e-2") for row in [*paper, *later]
    ]
    assert [(item.model, item.source, item.num_questions) for item in SCORES[18:]] == [
        (row["model"], row["source"], int(row["n"])) for row in later
    ]
    renamed = {
        "toursynbio7b": "internlm2protein7b",
        "internlm2protein7bnossl": "internlm2protein7bsftonly",
    }
    ids = [_letters(row["model_id"].removeprefix("proteinlmbench-")) for row in paper]
    assert [_letters(item.model) for item in SCORES[:18]] == [renamed.get(i, i) for i in ids]


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


@pytest.mark.parametrize(("protocol", "num_questions"), [("paper", 944), ("scienceeval", 942)])
def test_a_run_under_the_same_protocol_and_questions_is_comparable(
    protocol: str, num_questions: int
) -> None:
    ours = f"published, {protocol}"
    assert ours in {task.protocol for task in catalog.list_tasks()}
    published = score(protocol, num_questions)
    assert reason_not_comparable(published, ours, num_questions) is None
    assert reason_not_comparable(published, ours, 600) == (
        f"published on {num_questions} questions, this run on 600"
    )


def test_another_protocol_is_named_beside_the_published_one() -> None:
    assert reason_not_comparable(score("paper"), "letter log-likelihood", 944) == (
        "published under the paper's protocol (generated answer, first integer); "
        "this run: letter log-likelihood"
    )
    swapped = reason_not_comparable(score("scienceeval", 942), "published, paper", 942)
    assert swapped is not None
    assert "ScienceEval's protocol" in swapped
    assert swapped.endswith("this run: published, paper")


@pytest.mark.parametrize(
    ("protocol", "why"),
    [
        ("opencompass judge", "LLM judge"),
        ("opencompass, scorer not stated", "scorer not stated in the source"),
        ("opencompass, presumed", "not stated in the source, OpenCompass's is presumed"),
    ],
)
def test_no_task_rebuilds_a_judge_or_an_unstated_scorer(protocol: str, why: str) -> None:
    for task in catalog.list_tasks():
        reason = reason_not_comparable(score(protocol), task.protocol, 944)
        assert reason is not None
        assert why in reason
        assert reason.endswith(f"; this run: {task.protocol}")


def test_the_papers_table_says_what_the_docs_say_of_it() -> None:
    table = [score for score in load_published_scores() if score.protocol == "paper"]
    shares = sorted((score.accuracy for score in table), reverse=True)
    assert len(shares) == 18
    assert sum(share < 0.440 for share in shares) == 6
    assert sum(share < 0.466 for share in shares) == 7
    p_values = [
        difference_to_published(round(better * 944), 944, worse, 944).p_value
        for better, worse in pairwise(shares)
    ]
    assert len(p_values) == 17
    assert sum(p < 0.05 for p in p_values) == 1


API = {"model": "local-chat-completions"}


def departures(
    rule: str | None = None, model: str = "m", source: str = "hub", **run: Any
) -> list[str]:
    metadata = {"provenance": {"source": source}} | ({"chat_template": rule} if rule else {})
    results = {"configs": {"t": {"metadata": metadata}}, "config": {}, "model_name": model} | run
    return list(protocol_departures("t", results))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (departures(), []),
        (departures("required"), ["no chat template"]),
        (departures("required", chat_template_sha="ab"), []),
        (departures("required", config=API), []),
        (departures("named", "org-chat/base"), []),
        (departures("named", "org/Some-7B-Chat"), ["no chat template"]),
        (departures("named", "org/Some-7B-Chat", config=API), []),
        (departures("named", "org/base", chat_template_sha="ab"), ["a chat template"]),
        (departures("named", "org/Yi-6B-Chat", chat_template_sha="ab"), ["a chat template"]),
        (departures(system_instruction_sha="ab"), ["a system instruction"]),
        (departures(config={"gen_kwargs": "temperature=1"}), ["--gen_kwargs temperature=1"]),
        (departures(source="x.csv"), ["data from x.csv, not the pinned Hub file"]),
    ],
)
def test_where_a_run_departs_from_its_protocol_is_said(
    found: list[str], expected: list[str]
) -> None:
    assert found == expected


def test_every_departure_is_named() -> None:
    found = departures(
        "required", source="x.csv", system_instruction_sha="ab", config={"gen_kwargs": "k=1"}
    )
    assert [text.split()[0] for text in found] == ["no", "a", "--gen_kwargs", "data"]
