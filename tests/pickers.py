"""Invented questions whose longest option is often right, and models that answer by a rule."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from lm_eval.api.model import LM

from proteinlm_ext.preferences import Pick
from proteinlm_ext.questions import LETTERS, Question, make_question
from proteinlm_ext.scoring import longest, rotate_options, shortest

Rng = np.random.Generator
Rule = Callable[[Question, Rng], int]

GOLD_LONGEST = 0.44


def write_benchmark(size: int = 400, seed: int = 0, *, only_six: bool = False) -> list[Question]:
    """Write questions of six options, every tenth of 3 to 10; no two of a length in a question."""
    rng = np.random.default_rng(seed)
    questions: list[Question] = []
    for place in range(size):
        count = 6 if only_six or place % 10 else 3 + place // 10 % 8
        lengths: list[int] = rng.choice(np.arange(5, 60), count, replace=False).tolist()
        gold, top = int(rng.integers(count)), lengths.index(max(lengths))
        if (gold == top) != (rng.random() < GOLD_LONGEST):
            other = gold if gold != top else (top + int(rng.integers(1, count))) % count
            lengths[top], lengths[other] = lengths[other], lengths[top]
        choices = [LETTERS[option] * length for option, length in enumerate(lengths)]
        questions.append(make_question(f"What is number {place} of {seed}?", choices, gold))
    return questions


def by_length(choices: Sequence[str]) -> list[int]:
    """Return the positions of the options, longest first; ties by position."""
    return sorted(range(len(choices)), key=lambda option: (-len(choices[option]), option))


def guess(question: Question, rng: Rng) -> int:
    return int(rng.integers(len(question.choices)))


def avoid_longest(question: Question, rng: Rng) -> int:
    return int(rng.choice(by_length(question.choices)[1:]))


def knower(share: float) -> Rule:
    """Return a rule that knows a share of the answers and guesses the others."""
    return lambda question, rng: question.answer if rng.random() < share else guess(question, rng)


def ranked(rank: int) -> Rule:
    """Return a rule that picks the option of one length rank, the longest being 0."""
    return lambda question, _: by_length(question.choices)[min(rank, len(question.choices) - 1)]


# Without knowledge; those with a place in `ALWAYS` never depart from their rule.
IGNORANT: dict[str, Rule] = {
    "random": guess,
    "longest": lambda question, _: longest(question.choices),
    "shortest": lambda question, _: shortest(question.choices),
    "longest-avoider": avoid_longest,
    "letter A": lambda question, _: 0,
    "letter C": lambda question, _: 2,
}
ALWAYS = ("longest", "shortest", "letter A", "letter C")


def picks(questions: Iterable[Question], rule: Rule, seed: int = 0) -> list[Pick]:
    """Let a rule answer."""
    rng = np.random.default_rng(seed)
    return [Pick(q.choices, q.answer, rule(q, rng)) for q in questions]


def log(questions: Iterable[Question], rule: Rule, seed: int = 0) -> list[dict[str, Any]]:
    """Let a rule answer, and log it as lm-eval logs a letter task."""
    rng = np.random.default_rng(seed)
    return [
        log_letter(question.to_doc(), rule(question, rng), place)
        for place, question in enumerate(questions)
    ]


def log_letter(doc: dict[str, Any], picked: int, place: int) -> dict[str, Any]:
    """Return one logged sample of a letter task; `picked` is a place as the model saw it."""
    hit = float(picked == doc["answer"])
    places = range(len(doc["choices"]))
    return {
        "doc_id": place,
        "doc": doc,
        "doc_hash": f"hash of {doc['id']}",
        "filter": "none",
        "filtered_resps": [(-1.0 if option == picked else -2.0, False) for option in places],
        "metrics": ["acc"],
        "acc": (doc["id"], hit) if "rotation" in doc else hit,
    }


def rotate(questions: Iterable[Question]) -> list[dict[str, Any]]:
    """Return the documents of circular evaluation."""
    return rotate_options(Dataset.from_list([q.to_doc() for q in questions])).to_list()


def mean_chance(questions: Sequence[Question]) -> float:
    """Return the mean of 1/k."""
    return sum(1 / len(question.choices) for question in questions) / len(questions)


class Picker(LM):
    """Picks a place that the document names, or writes a text about it."""

    def __init__(
        self,
        pick: Callable[[dict[str, Any]], int],
        write: Callable[[dict[str, Any]], str] = lambda _: "",
    ) -> None:
        super().__init__()
        self._pick, self._write = pick, write

    def loglikelihood(self, requests: Any, **_: Any) -> list[tuple[float, bool]]:
        """Make the pick the likeliest for its length; the sums favour short options."""
        return [
            (
                -len(request.args[1]) * (1.0 if request.idx == self._pick(request.doc) else 2.0),
                False,
            )
            for request in requests
        ]

    def generate_until(self, requests: Any, **_: Any) -> list[str]:
        """Write the text."""
        return [self._write(request.doc) for request in requests]

    def loglikelihood_rolling(self, *_: Any, **__: Any) -> list[float]:
        """No task here asks for it."""
        raise NotImplementedError
