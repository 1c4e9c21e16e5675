"""`proteinlm train ...`: plan, prepare, run and export by a recipe."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from proteinlm_ext.commands import Add, add_group, add_workers
from proteinlm_ext.recipes import find_recipe, recipe_names

if TYPE_CHECKING:
    from proteinlm_train.recipe import Recipe

PLAN_EXAMPLES = """
examples:
  # What a run will cost and learn from, with three rows as the model sees them
  proteinlm train plan smollm2-135m-smoke

  # Two real steps, and the memory that they took
  proteinlm train plan smollm2-135m-smoke --dry-run
"""
PREPARE_EXAMPLES = """
example:
  proteinlm train prepare smollm2-135m-smoke --workers 2
"""
RUN_EXAMPLES = """
examples:
  # 200 rows of ours, on a CPU, in minutes
  proteinlm train run smollm2-135m-smoke

  # Another learning rate, into another folder
  proteinlm train run smollm2-135m-smoke --set train.lr=1e-4 --set run.output_dir=runs/lower

  # Eight GPUs
  torchrun --nproc_per_node 8 -m proteinlm_ext train run qwen3-8b-lora

The same command again goes on from the last whole checkpoint. Exit status 130: interrupted, saved.
"""
EXPORT_EXAMPLES = """
examples:
  # The adapter alone, ready to publish
  proteinlm train export smollm2-135m-smoke --out exported/adapter

  # The adapter merged into its base
  proteinlm train export smollm2-135m-smoke --merge --out exported/merged
"""


def add_train(add: Add) -> None:
    """Add `train` and its commands."""
    add_one = add_group(
        add, "train", "Continued pretraining and fine-tuning by a recipe.",
        "proteinlm train run smollm2-135m-smoke", extra="sft",
    )  # fmt: skip
    _add_plan(add_one)
    _add_prepare(add_one)
    _add_run(add_one)
    _add_export(add_one)
    add_one(
        "schema", _schema, "Print the JSON Schema of a recipe, for editors.",
        "\nexample:\n  proteinlm train schema > recipe.schema.json\n",
    )  # fmt: skip


def _takes_recipe(parser: argparse.ArgumentParser) -> None:
    ours = f"A YAML file, or one of ours: {recipe_names('train')}"
    parser.add_argument("recipe", metavar="RECIPE", help=ours)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="changes",
        help="Replace a setting, for example train.lr=1e-4; may be repeated",
    )  # fmt: skip


def _recipe(options: argparse.Namespace) -> "Recipe":
    from proteinlm_train.recipe_file import load_recipe

    return load_recipe(find_recipe("train", options.recipe), tuple(options.changes))


def _schema(_: argparse.Namespace) -> int:
    from proteinlm_train.recipe_file import json_schema

    print(json_schema(), end="")
    return 0


def _add_plan(add: Add) -> None:
    parser = add("plan", _plan, "Check a recipe: rows, tokens, cost, and what is learned.",
                 PLAN_EXAMPLES)  # fmt: skip
    _takes_recipe(parser)
    add_workers(parser, "To tokenise with")
    parser.add_argument("--dry-run", action="store_true", help="Train two steps and measure")
    parser.add_argument("--json", action="store_true", help="Print the plan as JSON on stdout")


def _plan(options: argparse.Namespace) -> int:
    from proteinlm_train.plan import make_plan, to_json, to_text

    plan = make_plan(_recipe(options), workers=options.workers, dry_run=options.dry_run)
    print(to_json(plan) if options.json else to_text(plan))
    return 0


def _add_prepare(add: Add) -> None:
    parser = add("prepare", _prepare, "Tokenise and pack the data of a recipe.",
                 PREPARE_EXAMPLES)  # fmt: skip
    _takes_recipe(parser)
    add_workers(parser, "To tokenise with")
    parser.add_argument("--json", action="store_true", help="Print the manifest on stdout")


def _prepare(options: argparse.Namespace) -> int:
    from proteinlm_train.prepare import prepare, prepared_folder

    recipe = _recipe(options)
    folder = prepared_folder(recipe)
    manifest = prepare(recipe, folder, options.workers)
    if options.json:
        print(json.dumps(manifest, indent=1, sort_keys=True))
        return 0
    for name, split in manifest["splits"].items():
        counts = split["counts"]
        print(
            f"{name}: {counts['kept']} of {counts['read']} rows, {split['tokens']} tokens, "
            f"{split['labels']} with loss, in {split['rows']} packed rows; "
            f"{counts['overlong']} were too long: {counts['dropped']} dropped, "
            f"{counts['cropped']} cropped"
        )
    print(f"prepared: {folder}")
    return 0


def _add_run(add: Add) -> None:
    parser = add("run", _run, "Train, or go on training.", RUN_EXAMPLES)
    _takes_recipe(parser)
    add_workers(parser, "To tokenise with")
    parser.add_argument(
        "--force-resume", action="store_true",
        help="Go on although recipe, data, tokenizer or code have changed",
    )  # fmt: skip


def _run(options: argparse.Namespace) -> int:
    from proteinlm_train.run import train

    recipe = _recipe(options)
    try:
        folder = train(
            recipe,
            changes=options.changes,
            force_resume=options.force_resume,
            workers=options.workers,
        )
    except KeyboardInterrupt:
        print(
            f"proteinlm: interrupted; the same command goes on from {recipe.run.output_dir}",
            file=sys.stderr,
        )
        return 130
    if os.environ.get("RANK", "0") == "0":
        print(f"record: {folder / 'training_run.json'}\nmodel:  {folder / 'final'}")
    return 0


def _add_export(add: Add) -> None:
    parser = add("export", _export, "The trained model as a folder that can be published.",
                 EXPORT_EXAMPLES)  # fmt: skip
    _takes_recipe(parser)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR")
    parser.add_argument("--merge", action="store_true", help="Merge the adapter into its base")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument(
        "--base",
        metavar="OWNER/NAME",
        help="Where the base of an adapter is published, if it is a run",
    )


def _export(options: argparse.Namespace) -> int:
    from proteinlm_train.run import export_run

    files = export_run(
        _recipe(options), options.out,
        merge=options.merge, dtype=options.dtype, base_name=options.base,
    )  # fmt: skip
    for file in files:
        print(file)
    return 0
