"""Passages that say what a question asks and answers: its likely source, however it is worded.

The benchmark's questions were generated from PMC articles, so the article's own text gives the
answer away without a common 8-gram. A passage is scored for the stem and for the right option
apart: the share of the part's words that it holds, each weighted by its squared Robertson-Sparck
Jones weight (once for the question and once for the passage, as in tf-idf). This is BM25 (Robertson
and Zaragoza 2009) over its own score for the part itself, with k1 = 0: in windows of one length a
repeated word does not stand in for a missing one. The score of the pair is the geometric mean of
the two shares; with a sum, the stem alone would decide. Where the right option is nothing rare
("Zinc"), the score is the product, which asks for nearly all of the stem.

The threshold follows from pairs of a stem and another question's right option: at most 1% of them
may find a passage anywhere. Two passes over the texts, in constant memory.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proteinlm_sft.question_index import (
    Batch,
    Hit,
    Passages,
    QuestionIndex,
    TextUnit,
    cut_passages,
    read_batches,
)

BLOCK = 64
"""Words of half a passage."""
FALSE_POSITIVES = 0.01
FLOOR = 0.4
"""Lowest threshold: in few or foreign texts shuffled pairs find next to nothing."""

_LEAST_PAIRS = 1000
# A right option that weighs less than one word of a thousandth of the passages.
_SPECIFIC = math.log(1000) ** 2
_CHUNK = 1024

Floats = NDArray[np.float32]
# By unit and question: the score and the passage.
_Best = dict[tuple[int, int], tuple[float, int]]


@dataclass(frozen=True, slots=True, eq=False)
class PassageStatistics:
    """How many passages there are, and how many hold each word number; adds up over shards."""

    passages: int
    holding: NDArray[np.int64]

    def __add__(self, other: "PassageStatistics") -> "PassageStatistics":
        return PassageStatistics(self.passages + other.passages, self.holding + other.holding)


@dataclass(frozen=True, slots=True, eq=False)
class SourceScores:
    """The second pass over some texts; adds up over shards.

    `shuffled` holds for each shuffled pair the score of its best passage, `above` the hits above
    the threshold so far, which can only rise.
    """

    shuffled: Floats
    above: tuple[Hit, ...]

    @property
    def threshold(self) -> float:
        """The score that 1% of the shuffled pairs exceed, or `FLOOR` if that is higher."""
        if not len(self.shuffled):
            return FLOOR
        ranked = np.sort(self.shuffled)
        return max(FLOOR, float(ranked[math.ceil(len(ranked) * (1 - FALSE_POSITIVES)) - 1]))

    def hits(self) -> tuple[Hit, ...]:
        """Return the hits above the threshold, sorted."""
        threshold = self.threshold
        return tuple(sorted(hit for hit in self.above if hit.score > threshold))

    def __add__(self, other: "SourceScores") -> "SourceScores":
        merged = SourceScores(np.maximum(self.shuffled, other.shuffled), self.above + other.above)
        return SourceScores(merged.shuffled, merged.hits())


def passage_statistics(index: QuestionIndex, units: Iterable[TextUnit]) -> PassageStatistics:
    """Run the first pass: count passages and, for each word of the questions, those holding it."""
    count, holding = 0, np.zeros(len(index.vocabulary) + 1, np.int64)
    for batch in read_batches(index, units):
        holds = cut_passages(index, batch, BLOCK).holds
        count += holds.shape[0]
        holding += np.bincount(holds.indices, minlength=len(holding))
    return PassageStatistics(count, holding)


def source_scores(
    index: QuestionIndex, statistics: PassageStatistics, units: Iterable[TextUnit], seed: int = 0
) -> SourceScores:
    """Run the second pass: score every passage for every question and shuffled pair.

    Args:
        index: The questions.
        statistics: The first pass over all texts, not only over `units`.
        units: The texts, or a shard of them.
        seed: Of the shuffled pairs; the same for all shards.
    """
    weights = _weights(statistics)
    stems = _shares(index, weights, [question.stem for question in index.questions])
    golds = _shares(index, weights, [question.gold for question in index.questions])
    specific = weights @ (golds > 0) >= _SPECIFIC
    order, rounds = _shuffle(np.flatnonzero(specific), seed)
    scores = SourceScores(np.zeros(rounds * len(order), np.float32), ())
    for batch in read_batches(index, units):
        passages = cut_passages(index, batch, BLOCK)
        shuffled = np.zeros((rounds, len(order)), np.float32)
        best: _Best = {}
        for start in range(0, len(passages.unit), _CHUNK):
            held = passages.holds[start : start + _CHUNK]
            stem, gold = held @ stems, held @ golds
            for shift in range(rounds):
                partners = gold[:, np.roll(order, shift + 1)]
                found = (stem[:, order] * partners).max(axis=0)
                np.maximum(shuffled[shift], found, out=shuffled[shift])
            both = stem * gold
            both[:, specific] = np.sqrt(both[:, specific])
            _keep_best(best, both, passages, start, scores.threshold)
        found = tuple(_to_hits(index, batch, passages, best))
        scores += SourceScores(np.sqrt(shuffled).ravel(), found)
    return scores


def _weights(statistics: PassageStatistics) -> NDArray[np.float64]:
    """Return the squared weight of each word, log(1 + (N - n + 0.5) / (n + 0.5)) as in Lucene."""
    holding = statistics.holding
    return np.log1p((statistics.passages - holding + 0.5) / (holding + 0.5)) ** 2


def _shares(
    index: QuestionIndex, weights: NDArray[np.float64], parts: Iterable[tuple[str, ...]]
) -> Floats:
    """Return a column for each stem or gold: the shares of its words, which sum to 1."""
    columns = np.zeros((len(weights), len(index.questions)), np.float32)
    for position, part in enumerate(parts):
        numbers = np.unique(index.numbers(part))
        if len(numbers):
            columns[numbers, position] = weights[numbers] / weights[numbers].sum()
    return columns


def _shuffle(positions: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], int]:
    """Return the questions in random order, and by how many places to shift their golds in turn.

    So no stem meets its own gold, and there are at least 1,000 pairs if possible.
    """
    order = np.random.default_rng(seed).permutation(positions)
    return order, min(max(len(order) - 1, 0), -(-_LEAST_PAIRS // max(len(order), 1)))


def _keep_best(
    best: _Best, scores: Floats, passages: Passages, start: int, threshold: float
) -> None:
    """Keep for each unit and question the first passage with the best score above a threshold."""
    rows, positions = np.nonzero(scores > threshold)
    for row, position in zip(rows.tolist(), positions.tolist(), strict=True):
        key = (int(passages.unit[start + row]), position)
        score = float(scores[row, position])
        if score > best.get(key, (0.0, 0))[0]:
            best[key] = (score, start + row)


def _to_hits(
    index: QuestionIndex,
    batch: Batch,
    passages: Passages,
    best: _Best,
) -> Iterator[Hit]:
    for (number, position), (score, row) in best.items():
        first = int(passages.first[row])
        yield Hit(
            unit_id=batch.units[number].id,
            question_id=index.questions[position].id,
            layer="source",
            score=min(1.0, score),
            where=(first, min(first + 2 * BLOCK, len(batch.words[number]))),
        )
