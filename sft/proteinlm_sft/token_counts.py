"""Tokens of a dataset's rows under a given tokenizer, and what a maximum length would cut.

Sequences are counted in both spellings, `<seq> M K </seq>` and `<seq> MK </seq>`. Prompt and answer
are tokenised apart and a row is their sum: without chat template and special tokens.
"""

import math
import random
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

import pyarrow
import pyarrow.parquet
from tqdm import tqdm

from proteinlm_ext.errors import MissingDependencyError, ProteinLMError

pa, pq = cast("Any", pyarrow), cast("Any", pyarrow.parquet)

SPELLINGS = ("spaced", "joined")
_SEQUENCE = re.compile(r"<seq>([A-Za-z\s]*)</seq>")
_COLUMNS = ("instruction", "input", "output", "text")
_BATCH = 256

_Columns = dict[str, list[str]]
CountTokens = Callable[[list[str]], list[int]]


class Spelled(NamedTuple):
    """A text with its sequences spelled anew, and left out; `residues` in all of them."""

    spaced: str
    joined: str
    without: str
    residues: int


@dataclass(slots=True)
class Cut:
    """What does not fit into `max_length` tokens, in one spelling.

    `no_answer`: rows whose prompt alone fills it, so that cutting at the end leaves no answer.
    `tokens`: those past it. `residues`: those that would have to go from the sequences of the
    rows over it to make them fit, in proportion to the tokens that a sequence takes.
    """

    max_length: int
    spelling: str
    rows: int = 0
    no_answer: int = 0
    tokens: int = 0
    residues: int = 0


@dataclass(slots=True)
class TokenCounts:
    """Rows and residues counted, rows by length of every measure, and the cuts."""

    rows: int = 0
    residues: int = 0
    lengths: dict[str, Counter[int]] = field(default_factory=dict[str, Counter[int]])
    cuts: tuple[Cut, ...] = ()


def load_tokenizer(name: str) -> CountTokens:
    """Return a function that counts the tokens of texts, special tokens apart.

    Args:
        name: A local folder or an id on the Hub; code that comes with it is never run.

    Raises:
        MissingDependencyError: transformers is not installed.
        ProteinLMError: The tokenizer cannot be loaded.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingDependencyError(
            "Counting tokens needs transformers: pip install 'proteinlm-ext[hf]'."
        ) from error
    try:
        tokenizer = cast("Any", transformers).AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise ProteinLMError(
            f"The tokenizer {name} cannot be loaded. Give a local folder or an id on the Hub. "
            f"transformers said: {error}"
        ) from error

    def count(texts: list[str]) -> list[int]:
        found = tokenizer(
            texts, add_special_tokens=False, return_attention_mask=False,
            return_token_type_ids=False, verbose=False,
        )  # fmt: skip
        return [len(tokens) for tokens in found["input_ids"]]

    return count


def respell(text: str) -> Spelled:
    """Return a text with the sequences between `<seq>` tags in both spellings, and without."""
    sequences = ["".join(found.split()) for found in _SEQUENCE.findall(text)]

    def fill(spell: Callable[[str], str]) -> str:
        left = iter(sequences)
        return _SEQUENCE.sub(lambda _: f"<seq> {spell(next(left))}</seq>", text)

    return Spelled(
        fill(lambda sequence: " ".join(sequence) + " "),
        fill(lambda sequence: sequence + " "),
        fill(lambda _: ""),
        sum(map(len, sequences)),
    )


def count_tokens(
    paths: Sequence[Path],
    count: CountTokens,
    max_lengths: Sequence[int],
    sample: int | None,
    seed: str,
) -> TokenCounts:
    """Count the tokens of the rows of one config and split.

    Args:
        paths: Its shards, all with the columns instruction, input and output, or all with text.
        count: From `load_tokenizer`.
        max_lengths: In tokens.
        sample: Rows to take by chance; None takes all.
        seed: Of the sample.

    Raises:
        ProteinLMError: A shard cannot be read.
    """
    cuts = tuple(Cut(most, spelling) for most in max_lengths for spelling in SPELLINGS)
    counts = TokenCounts(cuts=cuts)
    for rows in _batches(paths, sample, seed):
        counts.rows += len(next(iter(rows.values())))
        if "text" in rows:
            _add(counts, rows["text"], None, count)
        else:
            prompts = map("\n".join, zip(rows["instruction"], rows["input"], strict=True))
            _add(counts, list(prompts), rows["output"], count)
    return counts


def _batches(paths: Sequence[Path], sample: int | None, seed: str) -> Iterator[_Columns]:
    """Give all rows, or those of the sample, with the columns that hold text."""
    try:
        total = sum(int(pq.read_metadata(path).num_rows) for path in paths)
        drawn: Sequence[int] = range(total)
        if sample is not None and sample < total:
            drawn = sorted(random.Random(seed).sample(drawn, sample))  # noqa: S311 - no secret
        first = 0
        label = f"Tokens of {paths[0].parent.name}"
        with tqdm(total=len(drawn), desc=label, unit="row", disable=None, leave=False) as bar:
            for path in paths:
                file = pq.ParquetFile(path)
                columns = [name for name in _COLUMNS if name in file.schema_arrow.names]
                for batch in file.iter_batches(_BATCH, columns=columns):
                    last = first + int(batch.num_rows)
                    here = drawn[bisect_left(drawn, first) : bisect_left(drawn, last)]
                    if here:
                        yield batch.take(pa.array([row - first for row in here])).to_pydict()
                    bar.update(len(here))
                    first = last
    except (OSError, pa.ArrowException) as error:
        raise ProteinLMError(f"{paths[0].parent}: a shard cannot be read: {error}") from error


def _add(
    counts: TokenCounts, prompts: list[str], outputs: list[str] | None, count: CountTokens
) -> None:
    """Add a batch; `outputs` is None for documents, whose whole text counts as the row."""
    spelled = [respell(prompt) for prompt in prompts]
    counts.residues += sum(text.residues for text in spelled)
    answers = [0] * len(prompts) if outputs is None else count(outputs)
    # Few differ where prompts are a fixed text around a sequence.
    frames = list({text.without for text in spelled})
    framed = dict(zip(frames, count(frames), strict=True))
    if outputs is not None:
        _tally(counts, "answer tokens", answers)
    for spelling in SPELLINGS:
        tokens = count([getattr(text, spelling) for text in spelled])
        rows = [asked + answer for asked, answer in zip(tokens, answers, strict=True)]
        if outputs is not None:
            _tally(counts, f"prompt tokens, {spelling}", tokens)
        _tally(counts, f"row tokens, {spelling}", rows)
        for cut in counts.cuts:
            if cut.spelling == spelling:
                for text, asked, row in zip(spelled, tokens, rows, strict=True):
                    if row > cut.max_length:
                        _cut(cut, row, asked, text.residues, asked - framed[text.without])


def _tally(counts: TokenCounts, measure: str, lengths: list[int]) -> None:
    counts.lengths.setdefault(measure, Counter()).update(lengths)


def _cut(cut: Cut, row: int, prompt: int, residues: int, sequence_tokens: int) -> None:
    """Add a row that is too long."""
    over = row - cut.max_length
    cut.rows += 1
    cut.tokens += over
    cut.no_answer += prompt >= cut.max_length and row > prompt
    if residues:
        cut.residues += min(residues, math.ceil(over * residues / max(1, sequence_tokens)))
