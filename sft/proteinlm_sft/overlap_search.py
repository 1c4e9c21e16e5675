"""Questions that stand in a text nearly as they are: verbatim, and with some words changed.

Verbatim: half of the distinct 8-grams of a stem or right option stand in one text. A right option
of fewer than 8 words is often a mere term ("Zinc"): it counts where it stands whole in a text that
also holds a quarter of its stem's 8-grams. A stem of fewer than 8 words counts where it stands
whole, from 5 words on.

Near-duplicate: the words of stem and right option against those of a window of as many words:
Jaccard index of at least 0.8. Single words and not shingles, since two changed words of twenty
leave 0.8 of the words but half of the 3-word shingles. The index is computed, not estimated by
MinHash: the windows to compare follow from exact bounds, so nothing is missed.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from proteinlm_sft.question_index import (
    Batch,
    Hit,
    Layer,
    QuestionIndex,
    TextUnit,
    cut_passages,
    read_batches,
)

GRAM = 8
"""Words of an n-gram: 13, as in GPT-3's report (Brown et al. 2020), is longer than many stems."""
COVERAGE = 0.5
SHORTEST_STEM = 5
JACCARD = 0.8

_BLOCK = 64
_Span = tuple[int, int]
# By unit and question: the score and the place.
_Best = dict[tuple[int, int], tuple[float, _Span]]


def overlap_hits(
    index: QuestionIndex,
    units: Iterable[TextUnit],
    layers: Collection[Layer] = ("verbatim", "near_duplicate"),
) -> Iterator[Hit]:
    """Yield the questions that stand in a unit, in one pass.

    The score of `verbatim` is the covered share of the distinct 8-grams of the stem or of the right
    option, the larger of the two; that of `near_duplicate` the Jaccard index of the word sets.
    """
    tables, bounds = _gram_tables(index), _rare_halves(index)
    for batch in read_batches(index, units):
        if "verbatim" in layers:
            yield from _verbatim_in_batch(index, tables, batch)
        if "near_duplicate" in layers:
            yield from _near_duplicates_in_batch(index, bounds, batch)


# --- verbatim -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Grams:
    """The n-grams of all stems and golds: sorted hashes, and whose each one is."""

    length: int
    hashes: NDArray[np.uint64]
    owners: tuple[tuple[tuple[int, str], ...], ...]
    """For each hash the question's position and "stem" or "gold"."""


def _gram_tables(index: QuestionIndex) -> list[_Grams]:
    owners: dict[int, dict[int, set[tuple[int, str]]]] = {
        GRAM: defaultdict(set),
        SHORTEST_STEM: defaultdict(set),
    }
    for position, question in enumerate(index.questions):
        for part, text in (("stem", question.stem), ("gold", question.gold)):
            length = GRAM if len(text) >= GRAM else SHORTEST_STEM
            if length == GRAM or part == "stem":
                asked = index.numbers(text if length == GRAM else text[:length])
                for gram in _hash_grams(asked, length)[1].tolist():
                    owners[length][gram].add((position, part))
    return [
        _Grams(
            length,
            np.array(sorted(table), np.uint64),
            tuple(tuple(sorted(table[gram])) for gram in sorted(table)),
        )
        for length, table in owners.items()
        if table
    ]


def _hash_grams(
    numbers: NDArray[np.int64], length: int
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return where `length` known words stand in a row, and a 64-bit hash of each such run."""
    if len(numbers) < length:
        return np.empty(0, np.int64), np.empty(0, np.uint64)
    unknown = np.cumsum(np.concatenate([[0], numbers == 0]))
    at = np.flatnonzero(unknown[length:] == unknown[:-length])
    hashes = np.zeros(len(at), np.uint64)
    for offset in range(length):
        # FNV's prime; a product mixes upwards only, hence the shift.
        hashes = (hashes ^ numbers[at + offset].astype(np.uint64)) * np.uint64(0x100000001B3)
        hashes ^= hashes >> np.uint64(29)
    return at, hashes


def _verbatim_in_batch(
    index: QuestionIndex, tables: Sequence[_Grams], batch: Batch
) -> Iterator[Hit]:
    for number, found in sorted(_find_grams(tables, batch).items()):
        text, start = batch.words[number], int(batch.starts[number])
        best: _Best = {}
        for (position, part), grams in sorted(found.items()):
            question = index.questions[position]
            asked = question.stem if part == "stem" else question.gold
            if len(asked) < GRAM:
                score, where = _whole(asked, text)
            else:
                score, where = _coverage(asked, grams, start)
                if part == "stem" and len(question.gold) < GRAM and score >= COVERAGE / 2:
                    score, where = max((score, where), _whole(question.gold, text))
            if score >= COVERAGE and score > best.get((number, position), (0.0,))[0]:
                best[number, position] = (score, where)
        yield from _to_hits(index, batch, "verbatim", best)


def _find_grams(
    tables: Sequence[_Grams], batch: Batch
) -> dict[int, dict[tuple[int, str], dict[int, int]]]:
    """Return by unit and owner the grams found, and the last place of each."""
    found: dict[int, dict[tuple[int, str], dict[int, int]]] = defaultdict(lambda: defaultdict(dict))
    for table in tables:
        at, hashes = _hash_grams(batch.numbers, table.length)
        slot = np.searchsorted(table.hashes, hashes)
        same = table.hashes[np.minimum(slot, len(table.hashes) - 1)] == hashes
        unit = np.searchsorted(batch.starts, at[same], side="right") - 1
        matches: Any = zip(unit.tolist(), slot[same].tolist(), at[same].tolist(), strict=True)
        for number, gram, place in matches:
            for owner in table.owners[int(gram)]:
                found[number][owner][gram] = place
    return found


def _coverage(asked: Sequence[str], grams: Mapping[int, int], start: int) -> tuple[float, _Span]:
    distinct = {tuple(asked[first : first + GRAM]) for first in range(len(asked) - GRAM + 1)}
    places = grams.values()
    return len(grams) / len(distinct), (min(places) - start, max(places) - start + GRAM)


def _whole(asked: Sequence[str], text: Sequence[str]) -> tuple[float, _Span]:
    """Return 1 and the place if a run of words stands in a text, else 0."""
    run = list(asked)
    for first, word in enumerate(text):
        if run and word == run[0] and text[first : first + len(run)] == run:
            return 1.0, (first, first + len(run))
    return 0.0, (0, 0)


# --- near-duplicates ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _RareHalves:
    """Which passages are worth a look, a column a question.

    A window with an index of 0.8 lacks at most a fifth of the question's words, so that it lacks
    no more of the half that is rarest among the questions (the prefix filter of Chaudhuri et al.
    2006). `words` marks that half, `least` says how many of it a window must hold.
    """

    words: Any
    least: NDArray[np.float32]
    block: int


def _rare_halves(index: QuestionIndex) -> _RareHalves:
    asked_in: dict[str, int] = defaultdict(int)
    for question in index.questions:
        for word in {*question.stem, *question.gold}:
            asked_in[word] += 1
    rows: list[int] = []
    columns: list[int] = []
    least: list[int] = []
    for position, question in enumerate(index.questions):
        distinct = sorted({*question.stem, *question.gold}, key=lambda word: (asked_in[word], word))
        half = distinct[: (len(distinct) + 1) // 2]
        rows += [index.vocabulary[word] for word in half]
        columns += [position] * len(half)
        lacking = int(len(distinct) * (1 - JACCARD) + 1e-9)
        least.append(max(1, len(half) - lacking))
    shape = (len(index.vocabulary) + 1, len(index.questions))
    longest = max((len(asked.stem) + len(asked.gold) for asked in index.questions), default=0)
    return _RareHalves(
        sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape),
        np.array(least, np.float32),
        max(_BLOCK, longest),
    )


def _near_duplicates_in_batch(
    index: QuestionIndex, bounds: _RareHalves, batch: Batch
) -> Iterator[Hit]:
    passages = cut_passages(index, batch, bounds.block)
    shared: Any = (passages.holds @ bounds.words).tocoo()
    likely = shared.data >= bounds.least[shared.col]
    best: _Best = {}
    for row, position in zip(shared.row[likely].tolist(), shared.col[likely].tolist(), strict=True):
        number, first = int(passages.unit[row]), int(passages.first[row])
        passage = batch.words[number][first : first + 2 * bounds.block]
        question = index.questions[int(position)]
        score, at, size = _closest_window([*question.stem, *question.gold], passage)
        if score >= JACCARD and score > best.get((number, position), (0.0,))[0]:
            best[number, position] = (score, (first + at, first + at + size))
    yield from _to_hits(index, batch, "near_duplicate", best)


def _closest_window(asked: Sequence[str], text: Sequence[str]) -> tuple[float, int, int]:
    """Return the best Jaccard index of windows of as many words, and that window."""
    wanted, size = frozenset(asked), min(len(asked), len(text))
    count: dict[str, int] = defaultdict(int)
    best, best_at, common, distinct = 0.0, 0, 0, 0
    for end, word in enumerate(text, start=1):
        count[word] += 1
        if count[word] == 1:
            distinct += 1
            common += word in wanted
        if end > size:
            gone = text[end - size - 1]
            count[gone] -= 1
            if count[gone] == 0:
                distinct -= 1
                common -= gone in wanted
        if end >= size and common > best * (len(wanted) + distinct - common):
            best, best_at = common / (len(wanted) + distinct - common), end - size
    return best, best_at, size


def _to_hits(index: QuestionIndex, batch: Batch, layer: Layer, best: _Best) -> Iterator[Hit]:
    for (number, position), (score, where) in sorted(best.items()):
        yield Hit(
            unit_id=batch.units[number].id,
            question_id=index.questions[position].id,
            layer=layer,
            score=score,
            where=where,
        )
