"""Passages that state what a question asks and answers."""

import pickle

import numpy as np
import pytest
from test_contamination import background

from proteinlm_ext.questions import Question, make_question
from proteinlm_sft.question_index import TextUnit, build_index
from proteinlm_sft.source_search import (
    BLOCK,
    FLOOR,
    SourceScores,
    _shuffle,
    passage_statistics,
    source_scores,
)

TEXTS = background(400)


def question(number: int, gold: str | None = None) -> Question:
    """Return a question whose stem and gold have five rare words each."""
    stem = " ".join(f"s{number}{letter}" for letter in "abcde")
    right = gold or " ".join(f"g{number}{letter}" for letter in "abcde")
    return make_question(f"The {stem} of the", [right, "the wrong one"], 0)


QUESTIONS = [question(number) for number in range(20)]
INDEX = build_index(QUESTIONS)


def search(units: list[TextUnit], index=INDEX) -> SourceScores:
    return source_scores(index, passage_statistics(index, units), units)


def found(units: list[TextUnit], index=INDEX) -> list[tuple[str, str]]:
    return [(hit.unit_id, hit.question_id) for hit in search(units, index).hits()]


def filled(*pieces: str, gap: int) -> str:
    return f" {'filler ' * gap}".join(pieces)


def test_a_passage_with_the_words_of_stem_and_gold_is_a_hit_in_any_order():
    text = filled("g3e s3b g3c s3d", "s3a g3a s3e g3d", gap=20)
    (hit,) = search([*TEXTS, TextUnit("article", text)]).hits()
    assert (hit.unit_id, hit.question_id, hit.where) == ("article", QUESTIONS[3].id, (0, 28))
    assert 0.7 < hit.score < 0.9  # 4 of 5 rare words of each


def test_neither_stem_nor_gold_alone_is_a_hit():
    for part in (QUESTIONS[3].question, QUESTIONS[3].choices[0]):
        assert found([*TEXTS, TextUnit("article", part)]) == []


def test_a_stem_with_the_gold_of_another_question_is_no_hit():
    text = f"{QUESTIONS[3].question} {QUESTIONS[4].choices[0]}"
    assert found([*TEXTS, TextUnit("article", text)]) == []


def test_stem_and_gold_far_apart_are_no_hit():
    parts = (QUESTIONS[3].question, QUESTIONS[3].choices[0])
    near, far = (TextUnit("article", filled(*parts, gap=gap)) for gap in (40, 2 * BLOCK))
    assert found([*TEXTS, near]) == [("article", QUESTIONS[3].id)]
    assert found([*TEXTS, far]) == []


def test_the_place_is_the_best_passage_of_a_long_text():
    text = "filler " * 1000 + f"{QUESTIONS[3].question} {QUESTIONS[3].choices[0]}" + " more" * 500
    (hit,) = search([*TEXTS, TextUnit("article", text)]).hits()
    assert hit.where[0] <= 1000 < 1014 <= hit.where[1]
    assert hit.where[1] - hit.where[0] == 2 * BLOCK


def test_a_common_gold_needs_nearly_all_of_the_stem():
    index = build_index([*QUESTIONS[1:], question(0, gold="protein")])
    half = TextUnit("half", "protein s0a s0b s0c filler")
    whole = TextUnit("whole", f"protein {QUESTIONS[0].question}")
    other = TextUnit("without", QUESTIONS[0].question)
    everywhere = [TextUnit(f"{unit.id}p", f"{unit.text} protein") for unit in TEXTS]
    scores = search([*everywhere, half, whole, other], index)
    best = {hit.unit_id: hit.score for hit in scores.above}
    assert best["whole"] > 0.95
    assert best["half"] == pytest.approx(0.58, abs=0.04)  # and not its square root
    assert "without" not in best


def test_one_in_a_hundred_shuffled_pairs_may_exceed_the_threshold():
    scores = SourceScores(np.linspace(0, 1, 1001, dtype=np.float32)[1:], ())
    assert scores.threshold == pytest.approx(0.99)
    assert (scores.shuffled > scores.threshold).sum() == 10


def test_shuffled_pairs_that_the_texts_hold_raise_the_threshold():
    pairs = [
        TextUnit(f"{one}-{other}", f"{QUESTIONS[one].question} {QUESTIONS[other].choices[0]}")
        for one in range(20)
        for other in range(20)
        if one != other
    ]
    assert search([*TEXTS, *pairs]).threshold > 0.9
    assert search(TEXTS).threshold == FLOOR


def test_no_pair_is_a_question_with_its_own_gold_and_no_pair_comes_twice():
    for count in (2, 3, 60, 944):
        order, rounds = _shuffle(np.arange(count), 0)
        pairs = {
            (stem, gold)
            for shift in range(rounds)
            for stem, gold in zip(order, np.roll(order, shift + 1), strict=True)
        }
        assert all(stem != gold for stem, gold in pairs)
        assert len(pairs) == rounds * count >= min(1000, count * (count - 1))


def test_one_question_has_no_pairs_and_is_found_at_the_floor():
    index = build_index(QUESTIONS[:1])
    text = f"{QUESTIONS[0].question} {QUESTIONS[0].choices[0]}"
    assert found([*TEXTS, TextUnit("article", text)], index) == [("article", QUESTIONS[0].id)]


def test_shards_give_what_the_whole_gives():
    articles = [TextUnit(f"a{n}", f"{q.question} {q.choices[0]}") for n, q in enumerate(QUESTIONS)]
    units = [*TEXTS[:200], *articles, *TEXTS[200:]]
    shards = [units[start::3] for start in range(3)]
    first = [passage_statistics(INDEX, shard) for shard in shards]
    statistics = first[2] + (first[0] + first[1])
    assert statistics.passages == passage_statistics(INDEX, units).passages
    parts = [
        pickle.loads(pickle.dumps(source_scores(INDEX, statistics, shard)))  # noqa: S301
        for shard in shards
    ]
    merged, whole = parts[2] + parts[0] + parts[1], search(units)
    assert merged.hits() == whole.hits()
    assert merged.threshold == whole.threshold
    assert len(whole.hits()) == len(QUESTIONS)


def test_what_is_kept_does_not_grow_with_texts_below_the_threshold():
    units = [TextUnit(f"t{n}", f"{QUESTIONS[n % 20].question} s") for n in range(500)]
    assert search(units).above == ()
