"""Which split each row goes to, or why it goes to none.

All on narrow columns in DuckDB, which spills to disk, so that memory stays bounded at any size.
The order of the steps is the order of the reasons: a row keeps the first that holds.

    dropped   duplicate_accession, contaminated, over_accessions_per_enzyme, exact_duplicate,
              near_duplicate
    excluded  not_experimental, shared_output, similar_to_train   (of validation and test only)

A split by random does without the last two: it leaks on purpose.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import duckdb
import pyarrow
import pyarrow.parquet

from proteinlm_ext.paths import write_text
from proteinlm_sft.entry import SourceError
from proteinlm_sft.proteins import Proteins
from proteinlm_sft.recipe import Recipe

pa, pq = cast("Any", pyarrow), cast("Any", pyarrow.parquet)

# Rows that say the same of two proteins this close are one row to a model.
NEAR_IDENTITY, NEAR_COVERAGE = 0.9, 0.9
MEMORY_LIMIT = "512MB"
HELD_OUT, COUNTS = "held_out.tsv", "counts.json"
RANDOM_LEAKS = (
    "Split by random: proteins were drawn one by one, so relatives and the same texts stand in "
    "train as well as in validation and test. This leaks on purpose, to measure what a leak is "
    "worth: do not report a score on it without the same model's on a split by similarity."
)
_BATCH = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """What was decided, one Parquet file a part, its rows in the order of the part's rows.

    `counts` has (config, split, reason, rows): the reason is "" for a row that stays, and the
    split of a row that goes is where it would have gone.
    """

    files: tuple[Path, ...]
    counts: tuple[tuple[str, str, str, int], ...]


def decide(
    parts: Sequence[Path], contaminated: Sequence[str], recipe: Recipe, work: Path, threads: int
) -> Decisions:
    """Decide on every row of the staged parts.

    Args:
        parts: The folders of the staging pass, in the order of the inputs.
        contaminated: Ids of the rows that hold benchmark questions.
        recipe: Seed, limits and the way to split.
        work: A folder for the database and for what MMseqs2 writes.
        threads: Threads of DuckDB and MMseqs2; the result does not depend on them.

    Raises:
        ProteinLMError: MMseqs2 failed.
    """
    work.mkdir(parents=True, exist_ok=True)
    files = tuple(work / f"decisions-{part:05d}.parquet" for part in range(len(parts)))
    noted = work / COUNTS
    if noted.is_file():
        said: list[list[Any]] = json.loads(noted.read_text(encoding="utf-8"))
        return Decisions(files=files, counts=tuple(tuple(count) for count in said))
    database = work / "rows.duckdb"
    for leftover in work.glob("rows.duckdb*"):
        leftover.unlink()
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": MEMORY_LIMIT,
        "threads": threads,
        "temp_directory": str(work / "spill"),
        "preserve_insertion_order": "true",
    }
    with duckdb.connect(str(database), config=settings) as rows:
        _load(rows, parts, contaminated)
        if recipe.split_by == "date":
            _require_dates(rows)
        _drop_by_rule(rows, recipe)
        proteins = Proteins(rows, parts, work, threads)
        if recipe.removes_duplicates:
            _drop_exact_duplicates(rows)
        if recipe.split_by != "none":
            if recipe.removes_duplicates:
                _drop_near_duplicates(rows, proteins)
            _draw_splits(rows, proteins, recipe)
            _exclude(rows, proteins, recipe)
        for part, path in enumerate(files):
            _write(rows, part, path)
        proteins.write_held_out(work / HELD_OUT)
        counts = rows.execute(
            "SELECT config, split, coalesce(reason, ''), count(*) FROM row "
            "GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    database.unlink()
    write_text(noted, json.dumps(counts))
    return Decisions(files=files, counts=tuple(counts))


def _load(
    rows: duckdb.DuckDBPyConnection, parts: Sequence[Path], contaminated: Sequence[str]
) -> None:
    rows.register("contaminated", pa.table({"id": pa.array(contaminated, pa.string())}))
    for part, folder in enumerate(parts):
        verb = "INSERT INTO row" if part else "CREATE TABLE row AS"
        rows.execute(
            f"{verb} SELECT {part}::INTEGER AS part, r.file_row_number::INTEGER AS number, "
            "p.protein, p.accession, p.created, p.sequence_key, r.config, r.key, r.enzyme, r.draw, "
            "r.experimental, r.id IN (FROM contaminated) AS contaminated, "
            "NULL::VARCHAR AS cluster, 'train' AS split, NULL::VARCHAR AS reason "
            "FROM read_parquet($rows, file_row_number = true) r "
            "JOIN read_parquet($proteins) p USING (protein)",
            {
                "rows": str(folder / "rows.parquet"),
                "proteins": str(folder / "proteins.parquet"),
            },
        )


def _require_dates(rows: duckdb.DuckDBPyConnection) -> None:
    found = rows.execute("SELECT accession FROM row WHERE created = '' LIMIT 1").fetchone()
    if found:
        raise SourceError(
            f"--split date: {found[0]} has no date of creation. Export the TSV with that column, "
            "or take the flat file or XML."
        )


def _drop(rows: duckdb.DuckDBPyConnection, reason: str, chosen: str) -> None:
    """Give the reason to the rows that the query `chosen` names by (part, number)."""
    rows.execute(
        f"UPDATE row SET reason = '{reason}' FROM ({chosen}) AS chosen WHERE row.reason IS NULL "
        "AND row.part = chosen.part AND row.number = chosen.number"
    )


def _all_but_first(by: str, order: str, where: str = "true", first: int = 1) -> str:
    return (
        "SELECT part, number FROM row "
        f"WHERE reason IS NULL AND {where} "
        f"QUALIFY row_number() OVER (PARTITION BY {by} ORDER BY {order}) > {first}"
    )


def _drop_by_rule(rows: duckdb.DuckDBPyConnection, recipe: Recipe) -> None:
    # What a second entry with an accession says is dropped whole, whichever file it is in.
    _drop(
        rows,
        "duplicate_accession",
        "SELECT part, number FROM row "
        "QUALIFY (part, protein) > min((part, protein)) OVER (PARTITION BY accession)",
    )
    _drop(rows, "contaminated", "SELECT part, number FROM row WHERE contaminated")
    _drop(
        rows,
        "over_accessions_per_enzyme",
        _all_but_first(
            "enzyme", "draw, accession", "enzyme IS NOT NULL", recipe.accessions_per_enzyme
        ),
    )


def _drop_exact_duplicates(rows: duckdb.DuckDBPyConnection) -> None:
    _drop(
        rows,
        "exact_duplicate",
        _all_but_first("config, sequence_key, key", "part, number"),
    )


def _drop_near_duplicates(rows: duckdb.DuckDBPyConnection, proteins: Proteins) -> None:
    proteins.cluster("near", NEAR_IDENTITY, NEAR_COVERAGE, linear=True)
    _drop(
        rows,
        "near_duplicate",
        "SELECT part, number FROM row JOIN near USING (sequence_key) WHERE reason IS NULL QUALIFY "
        "row_number() OVER (PARTITION BY config, near.cluster, key ORDER BY part, number) > 1",
    )


def _draw_splits(rows: duckdb.DuckDBPyConnection, proteins: Proteins, recipe: Recipe) -> None:
    split = recipe.split
    unit = "accession" if split.by == "random" else "cluster"
    if unit == "cluster":
        _set_clusters(rows, proteins, recipe)
    # A share of [0, 1) that depends on the seed and on the protein or its cluster alone.
    chance = f"('0x' || substr(md5('{recipe.seed}:' || {unit}), 1, 8))::UBIGINT / 4294967296"
    drawn = (
        f"CASE WHEN {chance} < {split.test} THEN 'test' "
        f"WHEN {chance} < {split.test + split.validation} THEN 'validation' ELSE 'train' END"
    )
    if split.by == "date":
        drawn = (
            f"CASE WHEN created >= '{split.test_from}' THEN 'test' "
            f"WHEN created >= '{split.validation_from}' THEN 'validation' ELSE 'train' END"
        )
    rows.execute(f"UPDATE row SET split = {drawn}")


def _set_clusters(rows: duckdb.DuckDBPyConnection, proteins: Proteins, recipe: Recipe) -> None:
    split = recipe.split
    proteins.cluster("family", split.identity, split.coverage, linear=split.clusterer == "linclust")
    # A peptide that MMseqs2 leaves out is a cluster of its own.
    rows.execute("UPDATE row SET cluster = printf('%016x', sequence_key)")
    rows.execute(
        "UPDATE row SET cluster = printf('%016x', family.cluster) FROM family "
        "WHERE row.sequence_key = family.sequence_key"
    )


def _exclude(rows: duckdb.DuckDBPyConnection, proteins: Proteins, recipe: Recipe) -> None:
    if recipe.split.evidence == "experimental":
        _drop(
            rows,
            "not_experimental",
            "SELECT part, number FROM row WHERE split <> 'train' AND NOT experimental",
        )
    if recipe.split.by == "random":
        return
    # The same words stay where most rows are: in train, then in validation.
    for held, kept in (("test", "'train', 'validation'"), ("validation", "'train'")):
        _drop(
            rows,
            "shared_output",
            f"SELECT part, number FROM row WHERE split = '{held}' AND key IN "
            f"(SELECT key FROM row WHERE reason IS NULL AND split IN ({kept}))",
        )
    proteins.search("neighbour", recipe.split.identity)
    _drop(
        rows,
        "similar_to_train",
        # MMseqs2 does not see short peptides: the same sequence counts by itself.
        "SELECT part, number FROM row WHERE split <> 'train' AND (sequence_key IN (FROM neighbour) "
        "OR sequence_key IN (SELECT sequence_key FROM row WHERE reason IS NULL "
        "AND split = 'train'))",
    )


def _write(rows: duckdb.DuckDBPyConnection, part: int, path: Path) -> None:
    found = rows.sql(
        "SELECT split, cluster, reason FROM row WHERE part = ? ORDER BY number", params=[part]
    )
    batches = found.to_arrow_reader(_BATCH)
    with pq.ParquetWriter(path, batches.schema) as out:
        for batch in batches:
            out.write_batch(batch)
