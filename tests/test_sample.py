"""The bundled sample questions and few-shot examples keep their promised shape and balance."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parent.parent / "proteinlm_ext" / "data"
KEYS = ["question", "options", "answer", "explanation"]
FILES = ["sample.json", "fewshot.json"]
MARGIN = 0.05

Row = dict[str, Any]


def load(name: str) -> list[Row]:
    rows: list[Row] = json.loads((DATA / name).read_text(encoding="utf-8"))
    return rows


def texts(row: Row) -> list[str]:
    return [option.split(": ", 1)[1] for option in row["options"]]


def gold(row: Row) -> int:
    return int(row["answer"].removeprefix("option ")) - 1


def gold_length_rank(row: Row) -> int:
    lengths = [len(text) for text in texts(row)]
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    return order.index(gold(row)) + 1


def chance(rows: list[Row]) -> float:
    return sum(1 / len(row["options"]) for row in rows) / len(rows)


def strings(row: Row) -> list[str]:
    return [row["question"], *texts(row), row["explanation"]]


@pytest.fixture(scope="module")
def sample() -> list[Row]:
    return load("sample.json")


@pytest.fixture(scope="module")
def fewshot() -> list[Row]:
    return load("fewshot.json")


@pytest.fixture(scope="module")
def six(sample: list[Row]) -> list[Row]:
    return [row for row in sample if len(row["options"]) == 6]


@pytest.mark.parametrize("name", FILES)
def test_file_is_indented_utf8_json_with_a_trailing_newline(name: str) -> None:
    raw = (DATA / name).read_bytes().decode("utf-8")
    assert raw == json.dumps(json.loads(raw), indent=4, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("name", FILES)
def test_every_row_has_the_four_keys_in_order_with_the_right_types(name: str) -> None:
    for row in load(name):
        assert list(row) == KEYS
        assert isinstance(row["options"], list)
        for value in (row["question"], row["answer"], row["explanation"], *row["options"]):
            assert isinstance(value, str)


@pytest.mark.parametrize("name", FILES)
def test_options_are_numbered_from_one_by_position(name: str) -> None:
    for row in load(name):
        for number, option in enumerate(row["options"], 1):
            assert option.startswith(f"option {number}: ")


@pytest.mark.parametrize("name", FILES)
def test_answer_names_one_of_the_options(name: str) -> None:
    for row in load(name):
        valid = [f"option {n}" for n in range(1, len(row["options"]) + 1)]
        assert row["answer"] in valid


@pytest.mark.parametrize("name", FILES)
def test_texts_have_no_outer_blanks_double_blanks_or_line_breaks(name: str) -> None:
    for row in load(name):
        for text in strings(row):
            assert text
            assert text == text.strip()
            assert "  " not in text
            assert text.isprintable()


@pytest.mark.parametrize("name", FILES)
def test_option_texts_are_one_to_160_characters_long(name: str) -> None:
    for row in load(name):
        assert all(1 <= len(text) <= 160 for text in texts(row))


@pytest.mark.parametrize("name", FILES)
def test_options_of_a_question_differ_even_without_case(name: str) -> None:
    for row in load(name):
        folded = [text.casefold() for text in texts(row)]
        assert len(set(folded)) == len(folded)


@pytest.mark.parametrize("name", FILES)
def test_no_option_is_nan_or_all_or_none_of_the_above(name: str) -> None:
    for row in load(name):
        for text in texts(row):
            assert text.casefold() != "nan"
            assert "of the above" not in text.casefold()
            assert "of these options" not in text.casefold()


@pytest.mark.parametrize("name", FILES)
def test_questions_do_not_lean_on_an_unseen_passage_or_figure(name: str) -> None:
    for row in load(name):
        for phrase in ("passage", "the text", "the article", "this study", "the figure"):
            assert phrase not in row["question"].casefold()


def test_explanations_are_one_short_sentence() -> None:
    for name in FILES:
        for row in load(name):
            assert row["explanation"].endswith(".")
            assert ". " not in row["explanation"]
            assert len(row["explanation"]) <= 160


def test_sample_has_sixty_questions_without_duplicates(sample: list[Row]) -> None:
    assert len(sample) == 60
    assert len({row["question"].casefold() for row in sample}) == 60


def test_sample_has_every_option_count_from_two_to_ten(sample: list[Row]) -> None:
    assert {len(row["options"]) for row in sample} == set(range(2, 11))


def test_six_options_is_by_far_the_most_common_count(sample: list[Row]) -> None:
    counts = Counter(len(row["options"]) for row in sample)
    assert counts[6] == 36
    assert all(count < counts[6] / 2 for k, count in counts.items() if k != 6)


def test_some_option_texts_contain_a_colon_and_a_blank(sample: list[Row]) -> None:
    assert sum(": " in text for row in sample for text in texts(row)) >= 5


@pytest.mark.parametrize("mark", ['"', "'"])
def test_some_option_texts_contain_quotes(sample: list[Row], mark: str) -> None:
    assert sum(mark in text for row in sample for text in texts(row)) >= 3


def test_some_option_texts_contain_commas(sample: list[Row]) -> None:
    assert sum("," in text for row in sample for text in texts(row)) >= 3


def test_at_least_eight_questions_hold_non_ascii_characters(sample: list[Row]) -> None:
    held = [row for row in sample if not "".join([row["question"], *texts(row)]).isascii()]
    assert len(held) >= 8


@pytest.mark.parametrize("position", range(10))
def test_always_naming_one_letter_stays_near_chance(sample: list[Row], position: int) -> None:
    score = sum(gold(row) == position for row in sample) / len(sample)
    assert score <= chance(sample) + MARGIN


@pytest.mark.parametrize("pick", [max, min])
def test_always_naming_the_longest_or_shortest_option_stays_near_chance(
    sample: list[Row], pick: Any
) -> None:
    hits = 0
    for row in sample:
        lengths = [len(text) for text in texts(row)]
        hits += lengths.index(pick(lengths)) == gold(row)
    assert abs(hits / len(sample) - chance(sample)) <= MARGIN


@pytest.mark.parametrize("position", range(6))
def test_each_position_is_gold_in_a_sixth_of_six_option_questions(
    six: list[Row], position: int
) -> None:
    assert sum(gold(row) == position for row in six) * 6 == len(six)


@pytest.mark.parametrize("rank", range(1, 7))
def test_each_length_rank_is_gold_in_a_sixth_of_six_option_questions(
    six: list[Row], rank: int
) -> None:
    assert sum(gold_length_rank(row) == rank for row in six) * 6 == len(six)


def test_fewshot_has_five_examples_four_with_six_options_and_one_with_four(
    fewshot: list[Row],
) -> None:
    assert sorted(len(row["options"]) for row in fewshot) == [4, 6, 6, 6, 6]


def test_fewshot_gold_positions_all_differ(fewshot: list[Row]) -> None:
    assert len({gold(row) for row in fewshot}) == 5


def test_fewshot_gold_is_the_longest_option_at_most_once(fewshot: list[Row]) -> None:
    longest = [len(texts(row)[gold(row)]) == max(map(len, texts(row))) for row in fewshot]
    assert sum(longest) <= 1


def test_fewshot_shares_no_question_with_the_sample(sample: list[Row], fewshot: list[Row]) -> None:
    asked = {row["question"].casefold() for row in sample}
    assert not asked & {row["question"].casefold() for row in fewshot}
