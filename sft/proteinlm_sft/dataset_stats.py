"""What a built dataset holds: rows, proteins, evidence, organisms, lengths in residues and tokens.

DuckDB counts what the columns say, over all rows and with bounded memory; tokens are counted by
`token_counts`, over all rows or a sample.
"""

import math
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import duckdb
import pyarrow
import pyarrow.parquet

from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_sft.token_counts import Cut, TokenCounts, count_tokens, load_tokenizer

pa, pq = cast("Any", pyarrow), cast("Any", pyarrow.parquet)

PERCENTILES = (5, 25, 50, 75, 95, 99)
TOP_ORGANISMS = 20
MEMORY_LIMIT = "512MB"
_SPLITS = ("train", "validation", "test")
_INSTRUCTIONS = (
    "instruction",
    "input",
    "output",
    "organism",
    "evidence",
    "sequence_length",
    "sequence_sha256",
)
# Where a row stands follows from its file: CONFIG/SPLIT-00000-of-00001.parquet.
_PLACE = (
    "parse_path(filename)[-2] AS config, split_part(parse_filename(filename), '-', 1) AS split_name"
)
_IN_TAGS = "array_to_string(regexp_extract_all(text, '<seq>([A-Za-z\\s]*)</seq>', 1), '')"
_LENGTHS = {
    "instructions": {
        "residues": "sequence_length",
        "prompt characters": "length(instruction) + 1 + length(input)",
        "answer characters": "length(output)",
        "row characters": "length(instruction) + 1 + length(input) + length(output)",
    },
    "texts": {
        "residues": f"length(regexp_replace({_IN_TAGS}, '\\s', '', 'g'))",
        "row characters": "length(text)",
    },
}

Place = tuple[str, str]
Rows = duckdb.DuckDBPyRelation


@dataclass(frozen=True, slots=True)
class Lengths:
    """A distribution of lengths: `counts` has the rows of each length."""

    counts: Mapping[int, int]

    @property
    def rows(self) -> int:
        """Return how many rows were measured."""
        return sum(self.counts.values())

    @property
    def total(self) -> int:
        """Return the sum of all lengths."""
        return sum(length * rows for length, rows in self.counts.items())

    @property
    def longest(self) -> int:
        """Return the largest length, 0 without a row."""
        return max(self.counts, default=0)

    def percentile(self, percent: int) -> int:
        """Return the smallest length that at least so many percent of the rows do not exceed."""
        wanted = math.ceil(percent * self.rows / 100)
        for length in sorted(self.counts):
            wanted -= self.counts[length]
            if wanted <= 0:
                return length
        return 0


@dataclass(slots=True, kw_only=True)
class SplitStats:
    """One split of one config.

    `proteins`: distinct sequences. `with_evidence`: rows with an evidence code; `experimental`:
    those whose only code is ECO:0000269. All three are None for texts. `counted`: rows whose
    tokens were counted, and `residues_counted` those in them. `lengths` by measure, such as
    `residues` or `row tokens, spaced`.
    """

    config: str
    split: str
    rows: int
    proteins: int | None = None
    with_evidence: int | None = None
    experimental: int | None = None
    counted: int = 0
    residues_counted: int = 0
    lengths: dict[str, Lengths] = field(default_factory=dict[str, Lengths])
    cuts: tuple[Cut, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetStats:
    """A whole dataset; `organisms` has the rows of each config by organism, most rows first."""

    tokenizer: str | None
    sample: int | None
    seed: int
    proteins: int
    splits: tuple[SplitStats, ...]
    organisms: Mapping[str, Mapping[str, int]]


def measure(
    dataset: Path,
    *,
    tokenizer: str | None = None,
    max_lengths: Sequence[int] = (),
    sample: int | None = None,
    seed: int = 42,
) -> DatasetStats:
    """Measure a dataset of Parquet shards `CONFIG/SPLIT-00000-of-00001.parquet`.

    Args:
        dataset: Its folder.
        tokenizer: A local folder or an id on the Hub; None counts residues and characters alone.
        max_lengths: In tokens: what each would cut is counted.
        sample: Rows of each config and split whose tokens are counted; None takes all.
        seed: Of the sample.

    Raises:
        ProteinLMError: There is no such dataset, or it or the tokenizer cannot be read.
        UsageError: A maximum length without a tokenizer, or a number below 1.
    """
    if max_lengths and tokenizer is None:
        raise UsageError("--max_length is in tokens: name the --tokenizer that counts them.")
    if wrong := [
        number for number in (*max_lengths, 1 if sample is None else sample) if number < 1
    ]:
        raise UsageError(f"--max_length and --sample are at least 1, not {wrong[0]}.")
    shards = find_shards(dataset)
    count = None if tokenizer is None else load_tokenizer(tokenizer)
    try:
        stats = _count_columns(shards, tokenizer, sample, seed)
    except duckdb.Error as error:  # of any kind, when pages are damaged
        raise ProteinLMError(f"{dataset}: a shard cannot be read: {error}") from error
    for split in stats.splits:
        if count is not None:
            paths = shards[split.config, split.split]
            drawn = f"{seed}/{split.config}/{split.split}"
            _put(split, count_tokens(paths, count, sorted({*max_lengths}), sample, drawn))
    return stats


def _put(split: SplitStats, found: TokenCounts) -> None:
    split.counted, split.residues_counted, split.cuts = found.rows, found.residues, found.cuts
    split.lengths |= {measure: Lengths(counts) for measure, counts in found.lengths.items()}


def find_shards(dataset: Path) -> dict[Place, list[Path]]:
    """Return the shards of each config and split; hidden files are not finished.

    Raises:
        ProteinLMError: There is none.
    """
    found: dict[Place, list[Path]] = {}
    for path in sorted(dataset.resolve().glob("*/*.parquet")):
        if not path.name.startswith("."):
            found.setdefault((path.parent.name, path.name.split("-", 1)[0]), []).append(path)
    if not found:
        raise ProteinLMError(
            f"{dataset} holds no CONFIG/SPLIT-*.parquet. Give the folder of a built dataset."
        )
    return dict(sorted(found.items(), key=lambda item: _order(*item[0])))


def _order(config: str, split: str) -> tuple[Any, ...]:
    known = _SPLITS.index(split) if split in _SPLITS else len(_SPLITS)
    return config.startswith("ssl_"), config, known, split


def _kind(path: Path) -> str:
    """Return whether a shard holds instructions or texts."""
    try:
        names = set(pq.read_schema(path).names)
    except (OSError, pa.ArrowException) as error:
        raise ProteinLMError(f"{path} cannot be read: {error}") from error
    if "text" in names:
        return "texts"
    if missing := [name for name in _INSTRUCTIONS if name not in names]:
        raise ProteinLMError(
            f"{path} has no column {', '.join(missing)}. Build or import it by `proteinlm data`."
        )
    return "instructions"


def _count_columns(
    shards: Mapping[Place, list[Path]], tokenizer: str | None, sample: int | None, seed: int
) -> DatasetStats:
    paths: dict[str, list[str]] = {"instructions": [], "texts": []}
    for path in (path for found in shards.values() for path in found):
        paths[_kind(path)].append(str(path))
    splits = {place: SplitStats(config=place[0], split=place[1], rows=0) for place in shards}
    proteins, organisms = 0, {}
    with tempfile.TemporaryDirectory() as spill:
        settings: dict[str, Any] = {"memory_limit": MEMORY_LIMIT, "temp_directory": spill}
        with duckdb.connect(config=settings) as database:
            for kind, files in paths.items():
                if files:
                    rows = database.read_parquet(files, filename=True).project(f"*, {_PLACE}")
                    _count_lengths(rows, _LENGTHS[kind], splits)
                    if kind == "instructions":
                        proteins = _count_proteins(rows, splits)
                        organisms = _count_organisms(rows)
    return DatasetStats(
        tokenizer=tokenizer, sample=sample, seed=seed, proteins=proteins,
        splits=tuple(splits.values()), organisms=organisms,
    )  # fmt: skip


def _count_lengths(
    rows: Rows, measures: Mapping[str, str], splits: Mapping[Place, SplitStats]
) -> None:
    for measure, length in measures.items():
        counts: dict[Place, Counter[int]] = {}
        found = rows.aggregate(f"config, split_name, {length} AS found, count(*)")
        for config, split, found_length, number in found.fetchall():
            counts.setdefault((config, split), Counter())[found_length] = number
        for place, by_length in counts.items():
            splits[place].lengths[measure] = Lengths(by_length)
            splits[place].rows = by_length.total()


def _count_proteins(rows: Rows, splits: Mapping[Place, SplitStats]) -> int:
    """Fill in proteins and evidence; return the proteins of the whole dataset."""
    evidence = rows.aggregate(
        "config, split_name, count(*) FILTER (len(evidence) > 0), "
        "count(*) FILTER (list_distinct(evidence) = ['ECO:0000269'])"
    )
    for config, split, known, experimental in evidence.fetchall():
        stats = splits[config, split]
        stats.with_evidence, stats.experimental = known, experimental
    distinct = rows.project("config, split_name, sequence_sha256").distinct()
    by_place = distinct.aggregate("config, split_name, count(sequence_sha256)")
    for config, split, proteins in by_place.fetchall():
        splits[config, split].proteins = proteins
    everywhere = rows.project("sequence_sha256").distinct().aggregate("count(sequence_sha256)")
    return everywhere.fetchall()[0][0]


def _count_organisms(rows: Rows) -> dict[str, dict[str, int]]:
    """Return the rows of each config for the organisms with the most rows."""
    named = rows.filter("organism IS NOT NULL")
    most = named.aggregate("organism, count(*) AS n").order("n DESC, organism").limit(TOP_ORGANISMS)
    found: dict[str, dict[str, int]] = {organism: {} for organism, _ in most.fetchall()}
    for organism, config, number in (
        named.join(most.set_alias("most"), "organism")
        .aggregate("organism, config, count(*)")
        .fetchall()
    ):
        found[organism][config] = number
    return {organism: dict(sorted(by.items())) for organism, by in found.items()}
