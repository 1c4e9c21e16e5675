"""`proteinlm data ...`: fetch the sources, build a dataset, look at it, check it."""

import argparse
import json
import sys
from pathlib import Path

from proteinlm_ext.commands import Add, add_group, add_workers
from proteinlm_sft.cli_build import add_build, add_fetch, add_sft, add_ssl

CHECK_EXAMPLES = """
examples:
  # The questions of ProteinLMBench in a dataset that was built here, and leaks between its splits
  proteinlm data check data/sft --against proteinlmbench

  # Any dataset: JSONL, Parquet, a folder of them, or a Hub id
  proteinlm data check mine.jsonl --against proteinlmbench --out contamination

Exit status 1 if anything was found.
"""
IMPORT_EXAMPLES = """
example:
  proteinlm data import --out data/released
"""
STATS_EXAMPLES = """
example:
  proteinlm data stats data/sft --tokenizer Qwen/Qwen3-0.6B --max_length 2048 4096 --out stats
"""


def add_data(add: Add) -> None:
    """Add `data` and its commands."""
    add_one = add_group(
        add, "data", "Build ProteinLMDataset from its public sources, and check it.",
        "proteinlm data build swissprot --out data/swissprot", extra="data",
    )  # fmt: skip
    add_fetch(add_one)
    add_sft(add_one)
    add_ssl(add_one)
    add_build(add_one)
    _add_import(add_one)
    _add_stats(add_one)
    _add_check(add_one)


def _add_import(add: Add) -> None:
    parser = add(
        "import", _import, "The released dataset as it is, with a report of what was wrong.",
        IMPORT_EXAMPLES,
    )  # fmt: skip
    parser.add_argument("--out", required=True, type=Path, metavar="DIR")
    parser.add_argument("--revision", metavar="SHA", help="Of tsynbio/ProteinLMBench")
    parser.add_argument(
        "--texts", action="store_true", help="The SSL files of tsynbio/ProteinLMDataset, too"
    )
    parser.add_argument("--texts_revision", metavar="SHA", help="Of tsynbio/ProteinLMDataset")
    parser.add_argument("--json", action="store_true", help="Print the manifest on stdout")


def _add_stats(add: Add) -> None:
    parser = add(
        "stats", _stats, "Rows, tokens, lengths, organisms, and what a maximum length would cut.",
        STATS_EXAMPLES,
    )  # fmt: skip
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="A folder that was built")
    parser.add_argument("--tokenizer", metavar="NAME", help="A local folder or an id on the Hub")
    parser.add_argument("--max_length", nargs="+", type=int, default=[], metavar="N")
    parser.add_argument("--sample", type=int, metavar="N", help="Rows a split for the tokens")
    parser.add_argument("--seed", type=int, default=42, help="Of the sample")
    parser.add_argument("--out", type=Path, metavar="DIR", help="Write text, JSON and pictures")
    parser.add_argument("--json", action="store_true", help="Print the figures as JSON on stdout")


def _stats(options: argparse.Namespace) -> int:
    from proteinlm_sft.dataset_stats import measure
    from proteinlm_sft.stats_report import to_json, to_text, write_stats

    found = measure(
        options.dataset,
        tokenizer=options.tokenizer,
        max_lengths=options.max_length,
        sample=options.sample,
        seed=options.seed,
    )
    print(to_json(found) if options.json else to_text(found))
    if options.out:
        files = write_stats(found, options.out)
        print(f"\nwritten: {', '.join(map(str, files))}", file=sys.stderr)
    return 0


def _add_check(add: Add) -> None:
    parser = add(
        "check", _check, "Benchmark questions in a dataset, and leaks between its splits.",
        CHECK_EXAMPLES,
    )  # fmt: skip
    parser.add_argument("dataset", metavar="DATASET", help="Folder, Parquet, JSONL, or a Hub id")
    parser.add_argument(
        "--against", default="proteinlmbench", metavar="BENCHMARK", help="proteinlmbench (default),"
        " a file in its schema, or none",
    )  # fmt: skip
    add_workers(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="Write every hit as JSONL")
    parser.add_argument("--json", action="store_true", help="Print the report as JSON on stdout")


def _import(options: argparse.Namespace) -> int:
    from proteinlm_sft.manifest import describe_import
    from proteinlm_sft.released import import_released

    report = import_released(
        options.out,
        revision=options.revision,
        texts=options.texts,
        texts_revision=options.texts_revision,
    )
    manifest = describe_import(report, options.out)
    print(json.dumps(manifest, indent=1, sort_keys=True) if options.json else report)
    print(f"\ndataset: {options.out}", file=sys.stderr if options.json else sys.stdout)
    return 0


def _check(options: argparse.Namespace) -> int:
    from proteinlm_sft.check import check_dataset, to_json, to_text, write_check

    found = check_dataset(options.dataset, options.against, options.workers)
    print(to_json(found) if options.json else to_text(found))
    if options.out:
        files = write_check(found, options.out)
        print(f"\nwritten: {', '.join(map(str, files))}", file=sys.stderr)
    return 1 if found.dirty else 0
