"""The figures of a dataset as tables, as JSON, and as files with pictures."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from textwrap import shorten
from typing import Any

from proteinlm_ext.paths import write_text
from proteinlm_ext.tables import Table, percent, print_table
from proteinlm_sft.dataset_stats import PERCENTILES, DatasetStats, Lengths, SplitStats
from proteinlm_sft.stats_plot import draw

_PLACE = ("config", "split")


def to_json(stats: DatasetStats) -> str:
    """Return all figures as JSON, without a line feed at the end."""
    report = {
        "tokenizer": stats.tokenizer,
        "sample": stats.sample,
        "seed": stats.seed,
        "proteins": stats.proteins,
        "splits": [_split_json(split) for split in stats.splits],
        "organisms": stats.organisms,
    }
    return json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)


def _split_json(split: SplitStats) -> dict[str, Any]:
    return {
        "config": split.config,
        "split": split.split,
        "rows": split.rows,
        "proteins": split.proteins,
        "with_evidence": split.with_evidence,
        "experimental": split.experimental,
        "rows_with_tokens_counted": split.counted,
        "residues_in_them": split.residues_counted,
        "lengths": {name: _lengths_json(lengths) for name, lengths in split.lengths.items()},
        "cuts": [asdict(cut) for cut in split.cuts],
    }


def _lengths_json(lengths: Lengths) -> dict[str, int]:
    return {
        "rows": lengths.rows,
        "total": lengths.total,
        **{f"p{percent}": lengths.percentile(percent) for percent in PERCENTILES},
        "max": lengths.longest,
    }


def to_text(stats: DatasetStats) -> str:
    """Return the tables for a terminal."""
    tables = [_rows_table(stats), _lengths_table(stats)]
    if any(split.cuts for split in stats.splits):
        tables.append(_cuts_table(stats))
    if stats.organisms:
        tables.append(_organisms_table(stats))
    return "\n\n".join(
        "\n".join([table.title, "", print_table(table), *table.notes]) for table in tables
    )


def write_stats(stats: DatasetStats, out: Path) -> list[Path]:
    """Write `stats.txt`, `stats.json` and the pictures to a folder.

    Raises:
        ProteinLMError: The folder cannot be written to.
    """
    files = {"stats.txt": to_text(stats) + "\n", "stats.json": to_json(stats) + "\n", **draw(stats)}
    for name, text in files.items():
        write_text(out / name, text)
    return [out / name for name in files]


def _rows_table(stats: DatasetStats) -> Table:
    return Table(
        title="Rows",
        header=(*_PLACE, "rows", "proteins", "with evidence %", "experimental %"),
        rows=tuple(
            (
                split.config,
                split.split,
                f"{split.rows:,}",
                "-" if split.proteins is None else f"{split.proteins:,}",
                _share(split.with_evidence, split.rows),
                _share(split.experimental, split.rows),
            )
            for split in stats.splits
        ),
        left=_PLACE,
        notes=(
            f"Distinct sequences in all configs: {stats.proteins:,}. Experimental: ECO:0000269 is "
            "the only evidence code of the row.",
        ),
    )


def _share(part: int | None, whole: int) -> str:
    return "-" if part is None or not whole else percent(part / whole)


def _lengths_table(stats: DatasetStats) -> Table:
    return Table(
        title="Lengths",
        header=(*_PLACE, "of", "rows", "total", *(f"p{p}" for p in PERCENTILES), "max"),
        rows=tuple(
            (split.config, split.split, measure, *(f"{figure:,}" for figure in figures.values()))
            for split in stats.splits
            for measure, figures in _shown(split)
        ),
        left=(*_PLACE, "of"),
        notes=(_how_counted(stats),),
    )


def _shown(split: SplitStats) -> Iterator[tuple[str, dict[str, int]]]:
    """Give the measures worth a line: tokens take the place of characters."""
    for measure, lengths in split.lengths.items():
        if lengths.longest and not (split.counted and measure.endswith("characters")):
            yield measure, _lengths_json(lengths)


def _how_counted(stats: DatasetStats) -> str:
    if stats.tokenizer is None:
        return "No tokenizer was given: lengths in residues and characters."
    of = (
        "all rows"
        if stats.sample is None
        else f"a sample of {stats.sample:,} rows of each config and split (seed {stats.seed})"
    )
    return (
        f"Tokens by {stats.tokenizer} of {of}, without chat template and special tokens; a row is "
        "its prompt and its answer. Spaced: <seq> M K </seq>; joined: <seq> MK </seq>."
    )


def _cuts_table(stats: DatasetStats) -> Table:
    return Table(
        title="What a maximum length cuts",
        header=(
            *_PLACE, "max tokens", "spelling", "rows over", "%", "no answer left", "tokens cut",
            "residues cut", "residues %",
        ),
        rows=tuple(
            (
                split.config,
                split.split,
                f"{cut.max_length:,}",
                cut.spelling,
                f"{cut.rows:,}",
                _share(cut.rows, split.counted),
                f"{cut.no_answer:,}",
                f"{cut.tokens:,}",
                f"{cut.residues:,}",
                _share(cut.residues, split.residues_counted),
            )
            for split in stats.splits
            for cut in split.cuts
        ),
        left=(*_PLACE, "spelling"),
        notes=(
            "No answer left: the prompt alone fills the length. Residues cut: what must go from "
            "the sequences to make the rows fit.",
        ),
    )  # fmt: skip


def _organisms_table(stats: DatasetStats) -> Table:
    configs = list(dict.fromkeys(config for by in stats.organisms.values() for config in by))
    return Table(
        title=f"Rows by organism, the first {len(stats.organisms)}",
        header=("organism", *configs),
        rows=tuple(
            (
                shorten(organism, 60, placeholder=" ..."),
                *(f"{by.get(config, 0):,}" for config in sorted(configs)),
            )
            for organism, by in stats.organisms.items()
        ),
        left=("organism",),
    )
