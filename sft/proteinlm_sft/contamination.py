"""Benchmark questions in a dataset, in three layers: verbatim, near-duplicate, source.

What no layer sees: a question translated, or reworded until its rare words are gone; a right
option of fewer than 8 words without its stem; an answer given by a figure or table; a fact that is
spread over more than two neighbouring blocks of 64 words.
"""

from collections.abc import Callable, Collection, Iterable

from proteinlm_sft.overlap_search import overlap_hits
from proteinlm_sft.question_index import Hit, Layer, QuestionIndex, TextUnit
from proteinlm_sft.source_search import passage_statistics, source_scores

LAYERS: tuple[Layer, ...] = ("verbatim", "near_duplicate", "source")


def find_contamination(
    index: QuestionIndex,
    units: Callable[[], Iterable[TextUnit]],
    layers: Collection[Layer] = LAYERS,
) -> list[Hit]:
    """Return every hit, sorted; a caller drops the units that they name.

    Args:
        index: The questions.
        units: Gives the texts from the beginning, once for each pass: one for `verbatim` and
            `near_duplicate`, two for `source`.
        layers: What to look for.
    """
    hits: list[Hit] = []
    if "verbatim" in layers or "near_duplicate" in layers:
        hits += overlap_hits(index, units(), layers)
    if "source" in layers:
        hits += source_scores(index, passage_statistics(index, units()), units()).hits()
    return sorted(hits)
