"""What `proteinlm data check` finds of questions planted in real texts, and what it finds falsely.

Background: the JSON Lines files (gzip or plain; `title`, `abstract`, `text`) of a folder. For each
way of giving a question away, every question is planted once, in a copy of a background text;
"nothing" shows the background alone. The questions are those of `$PROTEINLM_DATA`, if set, and the
60 bundled ones.

    python benchmarks/contamination_recall.py FOLDER [--texts N] [--seed 1]
"""

import argparse
import os
import random
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from contamination_plants import PLANTS, plant
from tabulate import tabulate
from tqdm import tqdm

from proteinlm_ext.formats import read_rows
from proteinlm_ext.paths import data_file
from proteinlm_ext.questions import Question, parse_rows
from proteinlm_sft.contamination import LAYERS, find_contamination
from proteinlm_sft.inputs import find_inputs, open_input
from proteinlm_sft.json_lines import read_json_lines
from proteinlm_sft.overlap_search import overlap_hits
from proteinlm_sft.question_index import QuestionIndex, TextUnit, build_index
from proteinlm_sft.source_search import passage_statistics, source_scores

# A source plant goes into a text of at least so many characters, if there is one.
_ARTICLE = 10_000


def main() -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(description="Measure the contamination check.")
    parser.add_argument("background", help="folder of JSON Lines files")
    parser.add_argument("--texts", type=int, help="take the first N texts (all)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    background = list(islice(read_background(options.background), options.texts))
    files = [Path(path) for path in (os.environ.get("PROTEINLM_DATA"),) if path]
    works = [
        (file, kind) for file in (*files, data_file("sample.json")) for kind in (*PLANTS, "nothing")
    ]
    rows = [
        measure(file, kind, background, options.seed)
        for file, kind in tqdm(works, desc="Plants", disable=None)
    ]
    print(tabulate(rows, headers="keys", floatfmt=".3f"), end="\n\n")
    index = build_index([question for question, _ in read_questions(works[0][0])])
    print(tabulate(time_layers(index, background), headers="keys", floatfmt=".1f"))


def read_background(folder: str) -> Iterator[TextUnit]:
    """Yield the texts of a folder's JSON Lines files."""
    for file in find_inputs([folder], [".jsonl"]):
        with open_input(file) as source:
            rows = read_json_lines(source.stream, file.name, ("title", "abstract", "text"), ())
            for number, row in enumerate(rows):
                yield TextUnit(f"{file.name}:{number}", "\n".join(row.values()))


def read_questions(file: Path) -> list[tuple[Question, str]]:
    """Return the usable questions of a benchmark file with their explanations."""
    rows: Sequence[Any] = read_rows(file, file.read_bytes())
    return [
        (question, row.get("explanation") or "")
        for row in rows
        for question in parse_rows([row]).questions
    ]


def measure(file: Path, kind: str, background: Sequence[TextUnit], seed: int) -> dict[str, Any]:
    """Plant every question once, or none, and return the row of the table."""
    questions = read_questions(file)
    planted = make_plants(questions, kind, background, seed) if kind in PLANTS else {}
    index = build_index([question for question, _ in questions])
    units = [*background, *planted.values()]
    hits = find_contamination(index, lambda: units)
    found = [hit for hit in hits if hit.unit_id == f"plant:{hit.question_id}"]
    recall = {
        layer: len({hit.question_id for hit in found if hit.layer in layers}) / len(planted)
        for layer, layers in {**{name: (name,) for name in LAYERS}, "any": LAYERS}.items()
        if planted
    }
    falsely = {hit.unit_id for hit in hits if not hit.unit_id.startswith("plant:")}
    articles = {unit.id for unit in background if len(unit.text) >= _ARTICLE}
    return {
        "questions": file.name,
        "planted": f"{len(planted)} {kind}",
        **recall,
        "articles hit": f"{len(falsely & articles)} of {len(articles)}",
        "other texts hit": f"{len(falsely - articles)} of {len(background) - len(articles)}",
    }


def make_plants(
    questions: Sequence[tuple[Question, str]], kind: str, background: Sequence[TextUnit], seed: int
) -> dict[str, TextUnit]:
    """Return by question a copy of a background text that gives it away."""
    chance = random.Random(f"{seed} {kind}")
    articles = [unit for unit in background if len(unit.text) >= _ARTICLE]
    hosts = articles if kind == "source article" and articles else background
    planted: dict[str, TextUnit] = {}
    for question, explanation in questions:
        gold = question.choices[question.answer]
        if text := PLANTS[kind](question.question, gold, explanation, chance):
            text = plant(text, chance.choice(hosts).text, chance)
            planted[question.id] = TextUnit(f"plant:{question.id}", text)
    return planted


def time_layers(index: QuestionIndex, units: Sequence[TextUnit]) -> list[dict[str, Any]]:
    """Return the speed of each pass over the background, in one process."""
    size = sum(len(unit.text.encode()) for unit in units) / 1e6
    rows: list[dict[str, Any]] = []

    def timed(name: str, result: Any) -> Any:
        seconds = time.perf_counter() - started
        rows.append({"pass": name, "MB": size, "seconds": seconds, "MB/s": size / seconds})
        return result

    started = time.perf_counter()
    timed("verbatim, near-duplicate", list(overlap_hits(index, units)))
    started = time.perf_counter()
    statistics = timed("source, first", passage_statistics(index, units))
    started = time.perf_counter()
    timed("source, second", source_scores(index, statistics, units))
    return rows


if __name__ == "__main__":
    main()
