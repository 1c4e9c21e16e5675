"""`proteinlm card ...`: make the cards of models, datasets and the benchmark, and check them."""

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from proteinlm_ext.commands import Add, add_group
from proteinlm_ext.errors import ProteinLMError, UsageError

GENERATED = Path("cards/generated")
MODEL_EXAMPLES = """
example:
  proteinlm card model runs/mine/final --run runs/mine --repo OWNER/NAME --data data/mine \\
      --results base=results/base tuned=results/tuned longest=results/longest
"""
CHECK_EXAMPLES = """
examples:
  # The cards of this project
  proteinlm card check

  proteinlm card check exported/adapter data/mine
"""


def add_cards(add: Add) -> None:
    """Add `card` with its commands."""
    add_one = add_group(
        add, "card", "Cards of models, datasets and the benchmark.", "proteinlm card check"
    )
    _add_model(add_one)
    dataset = add_one("dataset", _dataset, "Card of a dataset that `proteinlm data` made.",
                      "proteinlm card dataset data/mine")  # fmt: skip
    dataset.add_argument("folder", type=Path, metavar="FOLDER")
    benchmark = add_one(
        "benchmark", _benchmark, "What is ours about the benchmark, to publish: flags and a card.",
        "proteinlm card benchmark audit --out overlay",
    )  # fmt: skip
    benchmark.add_argument("audit", type=Path, metavar="AUDIT", help="Of `proteinlm audit --out`")
    benchmark.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    check = add_one("check", _check, "Make cards again from card.json, and compare byte for byte.",
                    CHECK_EXAMPLES)  # fmt: skip
    check.add_argument(
        "folders", nargs="*", type=Path, metavar="FOLDER", help=f"Default: all of {GENERATED}"
    )


def _add_model(add: Add) -> None:
    parser = add("model", _model, "Card of a model that `proteinlm train` made.", MODEL_EXAMPLES)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="The model to be published")
    parser.add_argument("--run", required=True, type=Path, metavar="DIR", help="Its training")
    parser.add_argument(
        "--results", required=True, nargs="+", metavar="NAME=DIR",
        help="Saved runs of lm-eval: the baseline, the model itself, then others",
    )  # fmt: skip
    parser.add_argument("--baseline", metavar="NAME", help="Default: the first of --results")
    parser.add_argument("--subject", metavar="NAME", help="The model; default: the second")
    parser.add_argument(
        "--data", nargs="+", default=[], type=Path, metavar="DIR", help="Datasets trained on"
    )
    parser.add_argument("--repo", metavar="OWNER/NAME", help="Where it will be published")
    parser.add_argument(
        "--base", metavar="OWNER/NAME", help="The base model on the Hub, if the record has no id"
    )
    parser.add_argument(
        "--data_license", metavar="LICENCE", help="Of rows of your own that no --data has"
    )
    parser.add_argument("--author", metavar="NAME", help="For the citation")
    parser.add_argument(
        "--languages", nargs="+", default=["en"], metavar="CODE", help="ISO 639-1; default: en"
    )


def _model(options: argparse.Namespace) -> int:
    from proteinlm_hub.card_sources import CURVE, Words, collect

    words = Words(
        repo=options.repo,
        base=options.base,
        author=options.author,
        languages=tuple(options.languages),
        baseline=options.baseline,
        subject=options.subject,
        data_license=options.data_license,
    )
    card = collect(options.folder, options.run, options.results, options.data, words)
    curve = options.folder / CURVE
    if curve.resolve() != (options.run / CURVE).resolve():
        shutil.copyfile(options.run / CURVE, curve)
    return _write(options.folder, card)


def _dataset(options: argparse.Namespace) -> int:
    from proteinlm_hub.dataset_card import collect

    return _write(options.folder, collect(options.folder))


def _write(folder: Path, card: dict[str, Any]) -> int:
    from proteinlm_hub.render import write_card

    write_card(folder, card)
    print(f"card: {folder / 'README.md'}")
    return 0


def _benchmark(options: argparse.Namespace) -> int:
    from proteinlm_hub.overlay import write_overlay

    write_overlay(options.audit, options.out)
    print(f"card: {options.out / 'README.md'}")
    return 0


def _check(options: argparse.Namespace) -> int:
    folders = options.folders or sorted(path.parent for path in GENERATED.glob("*/card.json"))
    if not folders:
        raise UsageError(f"There is no card in {GENERATED}. Name a folder with a card.json.")
    faults = [fault for folder in folders for fault in _faults(folder)]
    for fault in faults:
        print(f"proteinlm: {fault}", file=sys.stderr)
    print(f"{len(folders)} card{'s' * (len(folders) > 1)}, {len(faults)} wrong")
    return 1 if faults else 0


def _faults(folder: Path) -> list[str]:
    """Return where a folder differs from what its card.json makes, and what its metadata lack."""
    from proteinlm_hub.metadata import check_card
    from proteinlm_hub.render import check_folder, read_card, to_files

    try:
        changed = check_folder(folder)
        card = read_card(folder)
        found = check_card(to_files(card)["README.md"], folder, card["kind"])
    except ProteinLMError as error:
        return [str(error)]
    return [f"{folder}: {fault}" for fault in (*changed, *found)]
