"""Benchmark questions that stand in a text, word by word or nearly so; recall on planted texts."""

import gzip
import json
import pickle
import random
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from proteinlm_ext.benchmark import load_sample
from proteinlm_ext.paths import data_file
from proteinlm_ext.questions import Question, make_question, parse_rows
from proteinlm_sft.contamination import LAYERS, find_contamination
from proteinlm_sft.overlap_search import _closest_window, overlap_hits
from proteinlm_sft.question_index import (
    Hit,
    TextUnit,
    build_index,
    cut_passages,
    read_batches,
    words,
)
from proteinlm_sft.templates import ENZYME, FIELDS, enzyme_answer, fill_answer, protein_input

PLANTS = runpy.run_path(str(ROOT / "benchmarks" / "contamination_plants.py"))

LID = make_question(
    "Which loop of the enzyme folds over the bound nucleotide before the hydrolysis begins?",
    ["The flap that joins helix four to the third strand of the sheet", "The amino terminal arm"],
    0,
)
METAL = make_question(
    "Which metal does the second site of the dimeric hydrolase hold in the crystal?",
    ["Zinc", "Iron"],
    0,
)
SHORT = make_question("What does the hinge bind?", ["Nothing at all", "Heme"], 1)
INDEX = build_index([LID, METAL, SHORT])


def hits(text: str, *layers: str) -> list[Hit]:
    found = overlap_hits(INDEX, [TextUnit("here", text)], layers or ("verbatim", "near_duplicate"))
    return sorted(found)


def background(count: int, length: int = 150) -> list[TextUnit]:
    """Return texts of invented words with the frequencies of a language, and common words."""
    chance = np.random.default_rng(5)
    common = "the of and in to a is that by with for as are from protein binding site cells"
    known = common.split() + [f"w{number}x" for number in range(4000)]
    shares = 1 / np.arange(1, len(known) + 1)
    drawn = chance.choice(known, (count, length), p=shares / shares.sum())
    return [
        TextUnit(f"text{row}", ". ".join([" ".join(text)] * 2)) for row, text in enumerate(drawn)
    ]


# --- words ----------------------------------------------------------------------------------------


def test_words_are_casefolded_runs_of_letters_and_digits():
    assert words("α-Helix 12: Cys_3′, (H₂O) STRASSE/straße") == [
        "α", "helix", "12", "cys", "3", "h2o", "strasse", "strasse",
    ]  # fmt: skip


def test_sequences_and_the_sentences_of_the_templates_are_no_words():
    rows = [
        f"{field.instruction}\n{protein_input('MKV')}\n{fill_answer(config, 'Binds heme.')}"
        for config, field in FIELDS.items()
    ]
    answer = enzyme_answer("", "binds heme", "", "clean")
    rows.append(f"{ENZYME.instruction}\n{protein_input('M')}\n{answer}")
    assert [words(row) for row in rows] == [["binds", "heme"]] * len(rows)
    assert words("barnase <seq> M K </seq> cleaves") == ["barnase", "cleaves"]


def test_a_passage_holds_any_run_as_long_as_a_block():
    text = " ".join(["which", "other"] * 30)
    for length in (1, 15, 16, 17, 60):
        unit = TextUnit("u", " ".join(text.split()[:length]))
        (batch,) = read_batches(INDEX, [unit, TextUnit("empty", ""), unit])
        passages = cut_passages(INDEX, batch, 16)
        of_unit = passages.first[passages.unit == 2].tolist()
        assert of_unit == list(range(0, max(1, length - 16), 16))
        assert passages.first[passages.unit == 1].tolist() == [0]
        assert passages.holds[:, INDEX.vocabulary["which"]].sum() == 2 * len(of_unit)


# --- verbatim -------------------------------------------------------------------------------------


def test_a_pasted_stem_is_found_with_its_place():
    (hit,) = hits(f"Some words before. {LID.question.upper()} And after.", "verbatim")
    assert hit == Hit(
        unit_id="here", question_id=LID.id, layer="verbatim", score=1.0, where=(3, 17)
    )


def test_a_pasted_right_option_is_found_and_a_wrong_one_is_not():
    assert [hit.question_id for hit in hits(f"x {LID.choices[0]} y", "verbatim")] == [LID.id]
    assert hits(f"x {LID.choices[1]} y", "verbatim") == []


@pytest.mark.parametrize(("kept", "found"), [(11, True), (10, False)])
def test_half_of_the_8_grams_make_a_hit(kept: int, found: bool):
    # 14 words have 7 8-grams; the first 11 words hold 4 of them, the first 10 hold 3.
    asked = LID.question.split()
    assert len(asked) == 14
    text = " ".join(asked[:kept])
    assert [hit.score for hit in hits(f"a {text} b", "verbatim")] == ([4 / 7] if found else [])


def test_an_8_gram_does_not_reach_over_an_unknown_word_or_into_the_next_text():
    asked = LID.question.split()
    assert hits(" ".join([*asked[:7], "quite", *asked[7:]]), "verbatim") == []
    halves = [TextUnit("1", " ".join(asked[:7])), TextUnit("2", " ".join(asked[7:]))]
    assert list(overlap_hits(INDEX, halves)) == []


def test_a_short_right_option_counts_only_with_a_part_of_its_stem():
    part = " ".join(METAL.question.split()[:10])  # 3 of 7 8-grams: not half
    assert hits("Zinc is in every text.", "verbatim") == []
    assert hits(part, "verbatim") == []
    (hit,) = hits(f"{part}. Answer: zinc.", "verbatim")
    assert (hit.question_id, hit.score, hit.where) == (METAL.id, 1.0, (11, 12))


def test_a_short_stem_must_stand_whole():
    assert [hit.where for hit in hits("So what does the hinge bind here?", "verbatim")] == [(1, 6)]
    assert hits("What does the hinge of it bind?", "verbatim") == []


def test_a_sequence_between_the_words_does_not_hide_a_question():
    text = LID.question.replace("bound", "bound <seq> M K V </seq>")
    assert [hit.question_id for hit in hits(text, "verbatim")] == [LID.id]


# --- near-duplicates ------------------------------------------------------------------------------


def test_reordered_clauses_are_a_near_duplicate_and_not_verbatim():
    stem, gold = LID.question.split(), LID.choices[0].split()
    pieces = [stem[i : i + 6] for i in range(0, 14, 6)] + [gold[i : i + 6] for i in range(0, 13, 6)]
    text = f"before it {' '.join(word for piece in reversed(pieces) for word in piece)} after it"
    assert [(hit.layer, hit.score, hit.where) for hit in hits(text)] == [
        ("near_duplicate", 1.0, (2, 29))
    ]


def test_the_index_is_that_of_the_best_window():
    text = f"{'padding ' * 200}{LID.question} {LID.choices[0]} {'padding ' * 200}"
    changed = text.replace("hydrolysis", "reaction").replace("flap", "lid")
    distinct = len(set(words(f"{LID.question} {LID.choices[0]}")))
    (hit,) = hits(changed, "near_duplicate")
    assert hit.score == pytest.approx((distinct - 2) / (distinct + 2))
    assert hit.where == (200, 227)


def test_a_fifth_of_the_words_changed_is_no_near_duplicate():
    text = f"{LID.question} {LID.choices[0]}"
    for word in ("loop", "enzyme", "folds", "bound"):
        text = text.replace(word, "other")
    assert hits(text, "near_duplicate") == []


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_search_finds_what_comparing_every_window_finds(data: st.DataObject):
    pool = sorted({*words(f"{LID.question} {LID.choices[0]}"), "other", "thing", "more"})
    asked = words(f"{LID.question} {LID.choices[0]}")
    copy = list(asked)
    for place in data.draw(st.lists(st.integers(0, len(asked) - 1), max_size=5)):
        copy[place] = data.draw(st.sampled_from(pool))
    before = data.draw(st.integers(0, 150))
    text = ["filler"] * before + copy + ["filler"] * 40
    best = 0.0
    for start in range(len(text) - len(asked) + 1):
        window = set(text[start : start + len(asked)])
        best = max(best, len(window & set(asked)) / len(window | set(asked)))
    assert _closest_window(asked, text)[0] == pytest.approx(best)
    found = [
        hit.score for hit in hits(" ".join(text), "near_duplicate") if hit.question_id == LID.id
    ]
    assert found == ([pytest.approx(best)] if best >= 0.8 else [])


# --- all layers -----------------------------------------------------------------------------------


def test_units_of_a_dataset_are_named_once_for_each_question_and_layer():
    pasted = f"{LID.question} {LID.choices[0]}"
    units = [*background(300), TextUnit("copy", f"{pasted} {pasted}")]
    found = find_contamination(INDEX, lambda: units)
    assert [(hit.unit_id, hit.question_id, hit.layer) for hit in found] == [
        ("copy", LID.id, layer) for layer in sorted(LAYERS)
    ]


def test_only_the_layers_asked_for_are_searched():
    units = [TextUnit("copy", f"{LID.question} {LID.choices[0]}"), *background(50)]
    for layer in LAYERS:
        assert {hit.layer for hit in find_contamination(INDEX, lambda: units, [layer])} == {layer}
    assert find_contamination(INDEX, lambda: units, []) == []


def test_no_questions_and_no_texts_give_no_hits():
    assert find_contamination(build_index([]), lambda: background(3)) == []
    assert find_contamination(INDEX, list) == []
    assert find_contamination(INDEX, lambda: [TextUnit("empty", "")]) == []


def test_the_result_does_not_depend_on_batches_or_on_the_process(monkeypatch: pytest.MonkeyPatch):
    units = [*background(60), TextUnit("copy", f"{LID.question} {LID.choices[0]}")]
    whole = find_contamination(INDEX, lambda: units)
    monkeypatch.setattr("proteinlm_sft.question_index._BATCH_CHARACTERS", 1)
    assert find_contamination(pickle.loads(pickle.dumps(INDEX)), lambda: units) == whole  # noqa: S301
    assert whole


# --- plants ---------------------------------------------------------------------------------------


def recall(rows: list[tuple[Question, str]], kind: str, texts: list[TextUnit]) -> tuple[float, int]:
    """Plant each question in a copy of a text; return the share found, and the texts hit."""
    chance = random.Random(7)
    planted: list[TextUnit] = []
    for question, explanation in rows:
        gold = question.choices[question.answer]
        if text := PLANTS["PLANTS"][kind](question.question, gold, explanation, chance):
            host = chance.choice(texts).text
            planted.append(TextUnit(f"+{question.id}", PLANTS["plant"](text, host, chance)))
    index = build_index([question for question, _ in rows])
    found = find_contamination(index, lambda: [*texts, *planted])
    seen = {hit.unit_id for hit in found if hit.unit_id == f"+{hit.question_id}"}
    return len(seen) / len(planted), len({h.unit_id for h in found if h.unit_id[0] != "+"})


def with_explanations(path: Path) -> list[tuple[Question, str]]:
    rows: list[Any] = json.loads(path.read_text(encoding="utf-8"))
    return [(q, row["explanation"]) for row in rows for q in parse_rows([row]).questions]


@pytest.mark.parametrize("kind", PLANTS["PLANTS"])
def test_nine_of_ten_planted_questions_of_the_sample_are_found(kind: str):
    found, falsely = recall(with_explanations(data_file("sample.json")), kind, background(800))
    assert found >= 0.9
    assert falsely == 0


@pytest.mark.parametrize("kind", PLANTS["PLANTS"])
def test_nine_of_ten_planted_real_questions_are_found_in_real_abstracts(
    kind: str, real_benchmark: Path
):
    literature = real_benchmark.parents[1] / "literature" / "pubmed_abstracts.jsonl.gz"
    if not literature.is_file():
        pytest.skip(f"no real data at {literature}")
    with gzip.open(literature, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line, _ in zip(lines, range(800), strict=False)]
    texts = [TextUnit(row["pmid"], f"{row['title']} {row['abstract']}") for row in rows]
    found, falsely = recall(with_explanations(real_benchmark)[::5], kind, texts)
    assert found >= 0.9
    assert falsely <= 0.02 * len(texts)


def test_the_sample_is_not_in_invented_texts():
    index = build_index(load_sample().questions)
    assert find_contamination(index, lambda: background(500)) == []
