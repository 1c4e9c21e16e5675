"""Benchmark questions as words, texts as word numbers: what every contamination layer shares.

A word is a casefolded run of letters and digits. Before a text is cut into words, the sentences of
our templates and every `<seq> .. </seq>` are removed: they stand in each row and say nothing.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from proteinlm_ext.questions import Question
from proteinlm_sft.templates import ENZYME, FIELDS, protein_input

Layer = Literal["verbatim", "near_duplicate", "source"]

_WORD = re.compile(r"[^\W_]+")
_SEQUENCE = re.compile(r"<seq>.*?</seq>", re.DOTALL)
_BATCH_CHARACTERS = 1 << 20


def _frames() -> tuple[str, ...]:
    """Return the fixed sentences of the templates, longest first: one may begin another."""
    texts = [protein_input("").partition("<seq>")[0]]
    for field in (*FIELDS.values(), ENZYME):
        texts += [field.instruction, *re.split(r"\{\w+\}", field.answer)]
    pieces = {text.strip() for text in texts}
    return tuple(
        sorted((text for text in pieces if " " in text), key=lambda text: (-len(text), text))
    )


_FRAMES = _frames()


@dataclass(frozen=True, slots=True)
class TextUnit:
    """What is searched and dropped as a whole: a row, an abstract, an article."""

    id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Hit:
    """A question that a text holds. `where`: first word and the one past the last, in `words`."""

    unit_id: str
    question_id: str
    layer: Layer
    score: float
    """0 to 1; what it measures depends on the layer."""
    where: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedQuestion:
    """The words of one question's stem and of its right option."""

    id: str
    stem: tuple[str, ...]
    gold: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionIndex:
    """The questions, and the numbers of their words from 1 on; 0 is any other word."""

    questions: tuple[AskedQuestion, ...]
    vocabulary: dict[str, int]

    def numbers(self, text: Sequence[str]) -> NDArray[np.int64]:
        """Return the numbers of words."""
        number = self.vocabulary.get
        return np.fromiter((number(word, 0) for word in text), np.int64, len(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some units: the words of each, and all word numbers in one array.

    A 0 stands after each unit, so that no run of words crosses a border. `starts` holds where
    each unit begins, and the end.
    """

    units: tuple[TextUnit, ...]
    words: tuple[list[str], ...]
    numbers: NDArray[np.int64]
    starts: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passages:
    """Windows of two neighbouring blocks of a unit, one block apart.

    `holds[i, j]` is 1 where passage i holds word number j; `unit` and `first` say which unit of
    the batch it is from and at which word it begins.
    """

    holds: Any
    unit: NDArray[np.int64]
    first: NDArray[np.int64]


def words(text: str) -> list[str]:
    """Return the words that are compared."""
    if "<seq>" in text:
        text = _SEQUENCE.sub(" ", text)
    for frame in _FRAMES:
        text = text.replace(frame, " ")
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def build_index(questions: Iterable[Question]) -> QuestionIndex:
    """Return what the searches need of the questions. It can be pickled."""
    asked = tuple(
        AskedQuestion(
            id=question.id,
            stem=tuple(words(question.question)),
            gold=tuple(words(question.choices[question.answer])),
        )
        for question in questions
    )
    known = sorted({word for question in asked for word in (*question.stem, *question.gold)})
    return QuestionIndex(
        questions=asked, vocabulary={word: number for number, word in enumerate(known, start=1)}
    )


def read_batches(index: QuestionIndex, units: Iterable[TextUnit]) -> Iterator[Batch]:
    """Yield units in batches of about a megabyte; the arrays are quick on many at once."""
    kept: list[TextUnit] = []
    size = 0
    for unit in units:
        kept.append(unit)
        size += len(unit.text)
        if size >= _BATCH_CHARACTERS:
            yield _to_batch(index, kept)
            kept, size = [], 0
    if kept:
        yield _to_batch(index, kept)


def _to_batch(index: QuestionIndex, units: Sequence[TextUnit]) -> Batch:
    texts = tuple(words(unit.text) for unit in units)
    starts = np.cumsum([0, *(len(text) + 1 for text in texts)])
    return Batch(
        units=tuple(units),
        words=texts,
        numbers=np.concatenate([index.numbers([*text, ""]) for text in texts]),
        starts=starts,
    )


def cut_passages(index: QuestionIndex, batch: Batch, block: int) -> Passages:
    """Cut each unit into blocks of `block` words and join each with the next.

    So any `block + 1` words of a unit lie in one passage. A unit of one block is one passage.
    """
    lengths = np.diff(batch.starts) - 1
    blocks = np.maximum(1, -(-lengths // block))
    first_block = np.cumsum([0, *blocks])
    at = np.flatnonzero(batch.numbers)
    unit = np.searchsorted(batch.starts, at, side="right") - 1
    row = first_block[unit] + (at - batch.starts[unit]) // block
    shape = (int(first_block[-1]), len(index.vocabulary) + 1)
    held: Any = sparse.csr_matrix(
        (np.ones(len(at), np.float32), (row, batch.numbers[at])), shape=shape
    )
    of_unit = np.repeat(np.arange(len(blocks)), blocks)
    last = np.zeros(shape[0], bool)
    last[first_block[1:] - 1] = True
    begins = np.flatnonzero(~last | (blocks[of_unit] == 1))
    joined = held[begins] + held[np.minimum(begins + 1, shape[0] - 1)].multiply(~last[begins, None])
    holds: Any = sparse.csr_matrix(joined)
    holds.data[:] = 1
    return Passages(
        holds=holds,
        unit=of_unit[begins],
        first=(begins - first_block[of_unit[begins]]) * block,
    )
