"""The commands of `proteinlm data` that make something: fetch, sft, ssl, build."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from proteinlm_ext.commands import Add, add_workers
from proteinlm_ext.recipes import find_recipe, recipe_names

SFT_EXAMPLES = """
examples:
  # Swiss-Prot and ENZYME, as `proteinlm data fetch` left them
  proteinlm data sft --uniprot downloads/uniprot --enzyme downloads/enzyme/enzyme.dat --out data/sft

  # A flat file, an XML and a TSV export of your own, without a split (needs no MMseqs2)
  proteinlm data sft --uniprot mine.dat.gz more.xml rest.tsv --split none --out data/mine

  # The paper's wording, faults included
  proteinlm data sft --uniprot downloads/uniprot --mode paper --no_decontaminate --out data/paper
"""
SSL_EXAMPLES = """
examples:
  # Documents from Swiss-Prot and PubMed; abstracts may be used and not published
  proteinlm data ssl --uniprot downloads/uniprot --pubmed downloads/pubmed --out data/ssl

  # Full texts that SIFTS lists, and sequences inserted after the names of proteins
  proteinlm data ssl --uniprot downloads/uniprot --pubmed downloads/pubmed --pmc downloads/pmc \\
      --pmc_selection pdb_pubmed.csv --sequence_in_abstract --out data/ssl

Leave out what a model is tested on: --holdout data/sft takes the proteins of validation and test
of an instruction dataset out of the texts.
"""
BUILD_EXAMPLES = """
examples:
  proteinlm data build swissprot --out data/swissprot
  proteinlm data build my_recipe.yaml --out data/mine --workers 8

RECIPE is a YAML file, or the name of one that comes with the package: {names}.
A build that was killed goes on where it stood when the same command runs again.
"""
FETCH_EXAMPLES = """
examples:
  proteinlm data fetch uniprot --release current --out downloads/uniprot
  proteinlm data fetch enzyme --release current --out downloads/enzyme

A download that broke off goes on where it stood when the same command runs again.
"""


def add_fetch(add: Add) -> None:
    """Add `fetch`."""
    parser = add(
        "fetch", _fetch, "Download a public release: resumable, checked against its checksums.",
        FETCH_EXAMPLES,
    )  # fmt: skip
    parser.add_argument("source", choices=("uniprot", "enzyme", "pmc", "pubmed"))
    parser.add_argument("--release", default="current", help="A release, or current (default)")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="Files to take, as the server names"
        " them; default: what a first build needs",
    )  # fmt: skip
    parser.add_argument("--base_url", metavar="URL", help="A mirror of the source's server")
    parser.add_argument("--unpack", action="store_true", help="Unpack tar archives beside them")


def _fetch(options: argparse.Namespace) -> int:
    from proteinlm_sft.fetch import fetch

    report = fetch(
        options.source,
        options.release,
        options.out,
        base_url=options.base_url,
        only=tuple(options.only),
        unpack=options.unpack,
    )
    print(report)
    return 0


def _add_rows_flags(parser: argparse.ArgumentParser) -> None:
    """Add what `sft` and `ssl` share: where to, how, and against which benchmark."""
    parser.add_argument("--out", required=True, type=Path, metavar="DIR")
    parser.add_argument("--seed", type=int, default=42)
    add_workers(parser)
    parser.add_argument("--release", metavar="R", help="Release of the inputs, such as 2025_03")
    parser.add_argument("--unreviewed", action="store_true", help="Take TrEMBL entries, too")
    parser.add_argument(
        "--exclude_keyword", nargs="+", default=[], metavar="WORD", help="Such as Toxin"
    )
    parser.add_argument(
        "--exclude_taxon", nargs="+", default=[], metavar="TAXON", help="Such as Viruses or 9606"
    )
    parser.add_argument(
        "--no_decontaminate", action="store_true", help="Keep what holds benchmark questions"
    )
    parser.add_argument("--shard_megabytes", type=int, default=256, metavar="N")
    parser.add_argument("--overwrite", action="store_true", help="Build anew over a finished one")
    parser.add_argument("--json", action="store_true", help="Print the manifest on stdout")


def _shared(options: argparse.Namespace) -> dict[str, Any]:
    taxa = [int(taxon) if taxon.isdigit() else taxon for taxon in options.exclude_taxon]
    return {
        "seed": options.seed,
        "release": options.release,
        "unreviewed": options.unreviewed,
        "exclude": {"keywords": options.exclude_keyword, "taxa": taxa},
        "decontaminate": "none" if options.no_decontaminate else "proteinlmbench",
        "shard_megabytes": options.shard_megabytes,
    }


def add_sft(add: Add) -> None:
    """Add `sft`."""
    parser = add(
        "sft", _sft, "Instruction data from UniProtKB and ENZYME: seven configs, three splits.",
        SFT_EXAMPLES,
    )  # fmt: skip
    parser.add_argument(
        "--uniprot", nargs="+", required=True, metavar="FILE", help="UniProtKB as flat file, XML "
        "or TSV, plain or gzip; files, folders, globs or fsspec URLs",
    )  # fmt: skip
    parser.add_argument("--enzyme", metavar="FILE", help="ENZYME's enzyme.dat, for enzyme_cot")
    parser.add_argument("--sifts", metavar="FILE", help="SIFTS' pdb_chain_enzyme.csv, to join by")
    parser.add_argument("--mode", choices=("clean", "paper"), default="clean")
    split = parser.add_argument_group("splits")
    split.add_argument("--split", choices=("similarity", "date", "random", "none"))
    split.add_argument("--identity", type=float, default=0.3, help="Default 0.3")
    split.add_argument("--coverage", type=float, default=0.8, help="Default 0.8")
    split.add_argument("--validation", type=float, default=0.05, help="Share; default 0.05")
    split.add_argument("--test", type=float, default=0.05, help="Share; default 0.05")
    split.add_argument("--validation_from", metavar="DATE", help="With --split date")
    split.add_argument("--test_from", metavar="DATE", help="With --split date")
    split.add_argument("--evidence", choices=("experimental", "any"), default="experimental")
    split.add_argument("--clusterer", choices=("cluster", "linclust"), default="cluster")
    parser.add_argument(
        "--view", nargs="+", default=[], choices=("messages", "prompt_completion"),
        help="More columns, as trainers read them",
    )  # fmt: skip
    _add_rows_flags(parser)


def _sft(options: argparse.Namespace) -> int:
    split = {
        name: getattr(options, name)
        for name in (
            "identity", "coverage", "validation", "test", "validation_from", "test_from",
            "evidence", "clusterer",
        )
    }  # fmt: skip
    if options.split:
        split["by"] = options.split
    given = _shared(options) | {
        "mode": options.mode,
        "uniprot": options.uniprot,
        "enzyme": options.enzyme,
        "sifts": options.sifts,
        "split": split,
        "views": options.view,
    }
    return _build_from(given, options)


def add_ssl(add: Add) -> None:
    """Add `ssl`."""
    parser = add("ssl", _ssl, "Texts for continued pretraining: five subsets.", SSL_EXAMPLES)
    for name, text in (
        ("uniprot", "UniProtKB: a document an entry, and the dictionary of names"),
        ("pubmed", "PubMed XML, or JSONL with pmid, title, abstract"),
        ("pmc", "PMC articles as JATS XML, or JSONL with pmcid, title, text"),
        ("annotations", "PubTator or BioC files: mentions of proteins in the abstracts"),
        ("pairs", "Chinese and English abstracts (docs/datasets.md has the format)"),
    ):
        parser.add_argument(f"--{name}", nargs="+", default=[], metavar="FILE", help=text)
    parser.add_argument(
        "--gene_ids", metavar="FILE", help="UniProt's idmapping.dat, for annotations with NCBI ids"
    )
    parser.add_argument("--pmc_selection", metavar="FILE", help="SIFTS' pdb_pubmed.csv")
    parser.add_argument(
        "--pmc_by_names", action="store_true", help="Take the articles that name a protein"
    )
    parser.add_argument(
        "--sequence_in_abstract", action="store_true", help="Abstracts with sequences after names"
    )
    parser.add_argument("--tokenizer", metavar="FILE", help="A tokenizer.json, to count tokens")
    _add_executor(parser)
    parser.add_argument(
        "--holdout", metavar="DIR", help="An instruction dataset whose validation and test "
        "proteins must not be in the texts",
    )  # fmt: skip
    _add_rows_flags(parser)


def _ssl(options: argparse.Namespace) -> int:
    given = _shared(options) | {
        "instructions": False,
        "uniprot": options.uniprot,
        "texts": {
            "uniprot": bool(options.uniprot),
            "pubmed": options.pubmed,
            "pmc": options.pmc,
            "pmc_selection": options.pmc_selection,
            "pmc_by_names": options.pmc_by_names,
            "sequence_in_abstract": options.sequence_in_abstract,
            "annotations": options.annotations,
            "gene_ids": options.gene_ids,
            "pairs": options.pairs,
            "holdout": options.holdout,
            "tokenizer": options.tokenizer,
        },
    }
    return _build_from(given, options)


def _build_from(given: dict[str, Any], options: argparse.Namespace) -> int:
    from proteinlm_sft.recipe import check_recipe

    return _run(check_recipe(given, "flags"), options)


def add_build(add: Add) -> None:
    """Add `build`."""
    parser = add(
        "build", _build, "Everything that a recipe names, in one folder with one manifest.",
        BUILD_EXAMPLES.format(names=recipe_names("data")),
    )  # fmt: skip
    parser.add_argument("recipe", metavar="RECIPE")
    _add_executor(parser)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR")
    add_workers(parser)
    parser.add_argument("--overwrite", action="store_true", help="Build anew over a finished one")
    parser.add_argument("--json", action="store_true", help="Print the manifest on stdout")


def _build(options: argparse.Namespace) -> int:
    from proteinlm_sft.recipe import load_recipe

    return _run(load_recipe(find_recipe("data", options.recipe)), options)


def _add_executor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--executor", choices=("local", "ray", "slurm"), default="local", help="What runs the text "
        "pipelines (datatrove's executors); default local",
    )  # fmt: skip
    parser.add_argument(
        "--executor_options", default="{}", type=json.loads, metavar="JSON",
        help='For the executor, such as \'{"time": "4:00:00", "partition": "cpu"}\'',
    )  # fmt: skip


def _run(recipe: Any, options: argparse.Namespace) -> int:
    from proteinlm_sft.build import build
    from proteinlm_sft.manifest import summary

    manifest = build(
        recipe,
        options.out,
        options.workers,
        overwrite=options.overwrite,
        executor=getattr(options, "executor", "local"),
        executor_options=getattr(options, "executor_options", {}),
    )
    print(json.dumps(manifest, indent=1, sort_keys=True) if options.json else summary(manifest))
    print(f"\ndataset: {options.out}", file=sys.stderr if options.json else sys.stdout)
    return 0
