"""What a question's surface gives away: fixed rules, and a model that sees the options alone.

Whatever these score, a model can score without knowledge of proteins.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
from tqdm import tqdm

from proteinlm_ext.questions import LETTERS, MAX_OPTIONS, Question, content_hash
from proteinlm_ext.scoring import longest, shortest
from proteinlm_ext.stats import bootstrap_interval, chance_range, wilson_interval
from proteinlm_ext.wording import content_words, jaccard, words

Rule = Callable[[str, Sequence[str]], int]

LOGISTIC = "logistic"
NUM_FOLDS = 5
NUM_REPEATS = 20
MIN_QUESTIONS = 10
"""Below, the logistic model has too little to learn from."""
_ABSOLUTE = re.compile(r"\b(?:all|always|any|every|never|no|none|not|only)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The score of a rule or of the logistic model."""

    name: str
    accuracy: float
    """A share, like `low` and `high`."""
    low: float
    high: float
    num_questions: int
    method: str
    """What `low` and `high` are."""
    spread: float | None = None
    """Standard deviation of the accuracy over the repeats; None for a rule."""


# --- rules: pure functions of one question; ties go to the first option ---------------------------


def central(question: str, choices: Sequence[str]) -> int:
    """Return the option that shares the most words with the others (mean Jaccard index)."""
    del question
    return _argmax(_centrality(choices))


def stem_overlap(question: str, choices: Sequence[str]) -> int:
    """Return the option with the largest share of its content words in the stem."""
    stem, options = content_words(question), [content_words(choice) for choice in choices]
    return _argmax([len(option & stem) / max(1, len(option)) for option in options])


def guess(question: str, choices: Sequence[str]) -> int:
    """Return a guess that is fixed by the hash of the question and its options."""
    return int(content_hash(question, choices), 16) % len(choices)


def _letter(position: int, question: str, choices: Sequence[str]) -> int:
    """Return one letter's position; a question without it gets its last option."""
    del question
    return min(position, len(choices) - 1)


RULES: dict[str, Rule] = {
    "longest": lambda _, choices: longest(choices),
    "shortest": lambda _, choices: shortest(choices),
    "central": central,
    "stem_overlap": stem_overlap,
    **{letter: partial(_letter, position) for position, letter in enumerate(LETTERS)},
    "chance": guess,
}


def _argmax(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def _centrality(choices: Sequence[str]) -> list[float]:
    sets = [set(words(choice)) for choice in choices]
    # Each is 1 with itself, which moves all alike.
    return [sum(jaccard(one, other) for other in sets) / len(sets) for one in sets]


# --- the choices-only logistic model --------------------------------------------------------------


def _features(choices: Sequence[str]) -> Any:
    """Return what the surface of each option shows, shape (options, features); not the stem."""
    columns = [
        [len(choice) for choice in choices],
        [len(choice.split()) for choice in choices],
        [choice.count(",") for choice in choices],
        [choice.count("(") for choice in choices],
        [sum(map(str.isdigit, choice)) for choice in choices],
        [len(_ABSOLUTE.findall(choice)) for choice in choices],
        _centrality(choices),
    ]
    values = np.column_stack(columns).astype(float)
    deviation = values.std(axis=0)
    scaled = (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    order = sorted(range(len(choices)), key=lambda position: (-len(choices[position]), position))
    rank = np.argsort(order)
    flags = [rank / max(1, len(choices) - 1), rank == 0, rank == len(choices) - 1]
    return np.column_stack([scaled, values[:, 2:6], *flags, np.eye(len(choices), MAX_OPTIONS)])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """The options of all questions, one below the other."""

    order: list[int]
    """Where each question stood in the file."""
    starts: Any
    """First row of each question, and the end."""
    groups: Any
    """Of each row: the number of the question's id among the sorted ids."""
    features: Any
    is_gold: Any


def _to_table(questions: Sequence[Question]) -> _Table:
    """Compute the features once, in an order that does not depend on the file's."""

    def place(position: int) -> tuple[Any, ...]:
        return questions[position].id, questions[position].choices, questions[position].answer

    order = sorted(range(len(questions)), key=place)
    ordered = [questions[position] for position in order]
    sizes = [len(question.choices) for question in ordered]
    _, groups = np.unique([question.id for question in ordered], return_inverse=True)
    golds = [np.arange(len(question.choices)) == question.answer for question in ordered]
    return _Table(
        order=order,
        starts=np.cumsum([0, *sizes]),
        groups=np.repeat(groups, sizes),
        features=np.concatenate([_features(question.choices) for question in ordered]),
        is_gold=np.concatenate(golds),
    )


def _cross_validate(table: _Table, seed: int) -> list[int]:
    """Return the most probable option of each question, from a model that did not see its id."""
    from sklearn import linear_model, model_selection, pipeline, preprocessing
    from threadpoolctl import threadpool_limits

    scores = np.empty(len(table.groups))
    folds: Any = model_selection.KFold(NUM_FOLDS, shuffle=True, random_state=seed)
    for _, held_out in folds.split(np.arange(table.groups.max() + 1)):
        test = np.isin(table.groups, held_out)
        model = cast("Any", pipeline).make_pipeline(
            preprocessing.StandardScaler(),
            linear_model.LogisticRegression(solver="newton-cholesky"),
        )
        with threadpool_limits(1):  # many small fits: threads would make them 20 times slower
            model.fit(table.features[~test], table.is_gold[~test])
            scores[test] = model.decision_function(table.features[test])
    picks = [0] * len(table.order)
    for place, position in enumerate(table.order):
        picks[position] = int(np.argmax(scores[table.starts[place] : table.starts[place + 1]]))
    return picks


def out_of_fold_picks(questions: Sequence[Question], seed: int) -> list[int]:
    """Return the logistic model's picks under 5-fold cross-validation over the question ids.

    Rows with one id stay in one fold, and the order of the questions does not matter.

    Raises:
        ValueError: There are fewer than five ids.
    """
    return _cross_validate(_to_table(questions), seed)


# --- scores ---------------------------------------------------------------------------------------


def measure_rules(questions: Sequence[Question]) -> list[Baseline]:
    """Score every rule; letters up to the largest option count. At least one question."""
    widest = max(len(question.choices) for question in questions)
    names = [name for name in RULES if name not in (*LETTERS[widest:], "chance")]
    chance = chance_range(sorted(len(question.choices) for question in questions))
    return [
        *(_measure_rule(name, questions) for name in tqdm(names, desc="Rules", delay=2)),
        Baseline(
            name="chance",
            accuracy=chance.mean,
            low=chance.low,
            high=chance.high,
            num_questions=len(questions),
            method="mean of 1/k; where 95% of guessers score (Poisson-binomial), no interval",
        ),
    ]


def _measure_rule(name: str, questions: Sequence[Question]) -> Baseline:
    rule = RULES[name]
    right = sum(rule(asked.question, asked.choices) == asked.answer for asked in questions)
    low, high, method = wilson_interval(right, len(questions))
    return Baseline(
        name=name,
        accuracy=right / len(questions),
        low=low,
        high=high,
        num_questions=len(questions),
        method=method,
    )


def measure_logistic(questions: Sequence[Question]) -> Baseline:
    """Score the choices-only model: 20 repeats of 5-fold cross-validation, seeds 0 to 19.

    Raises:
        ValueError: There are fewer than five ids.
    """
    table = _to_table(questions)
    seeds: Iterable[int] = tqdm(range(NUM_REPEATS), desc="Choices-only model", delay=2)
    golds = np.array([question.answer for question in questions])
    right = np.array(
        [np.array(_cross_validate(table, seed)) == golds for seed in seeds], dtype=float
    )
    # Sorted, so that the bootstrap too is the same for every order of the rows.
    low, high, method = bootstrap_interval(sorted(right.mean(axis=0).tolist()))
    return Baseline(
        name=LOGISTIC,
        accuracy=float(right.mean()),
        low=low,
        high=high,
        num_questions=len(questions),
        method=f"{NUM_REPEATS} x {NUM_FOLDS}-fold cross-validation, {method}",
        spread=float(right.mean(axis=1).std()),
    )
