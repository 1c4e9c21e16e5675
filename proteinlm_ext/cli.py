"""The `proteinlm` command: one subparser a command, heavy imports inside.

Exit status: 0 done, 1 bad input or failed check, 2 wrong command line, 130 interrupted.
"""

import argparse
import contextlib
import json
import os
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from proteinlm_ext import __version__
from proteinlm_ext.cli_analysis import add_analyses
from proteinlm_ext.commands import Add, add_command
from proteinlm_ext.distributed import leave
from proteinlm_ext.errors import ProteinLMError, UsageError
from proteinlm_ext.paths import DEFAULT_OUTPUT
from proteinlm_hub.cli_card import add_cards
from proteinlm_hub.cli_push import add_push
from proteinlm_sft.cli_data import add_data
from proteinlm_train.cli_train import add_train

EVAL_EXAMPLES = """
examples:
  # SmolLM2, already converted by `proteinlm quickstart`, on the bundled questions
  proteinlm eval --model hf --model_args pretrained=$HOME/.cache/proteinlm/SmolLM2-135M-Instruct \\
      --tasks proteinlmbench_sample --no_chat_template

  # The benchmark, 5 fixed examples, beside a standard benchmark
  proteinlm eval --model hf --model_args pretrained=Qwen/Qwen3-0.6B --tasks proteinlmbench,sciq \\
      --num_fewshot 5 --batch_size 8

  # The same scores several times faster, in a run that can be killed and started again
  proteinlm eval --model proteinlm-hf --model_args pretrained=Qwen/Qwen3-0.6B \\
      --tasks proteinlmbench,proteinlmbench_cloze --cache answers

  # The score that needs no model: always the longest option
  proteinlm eval --model heuristic --model_args rule=longest --tasks proteinlmbench_sample

The flags are those of `lm_eval run` and mean the same, except that --wandb_args and --trackio_args
are refused. Samples are logged; --output_path defaults to results/.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; one of several processes ends here."""
    try:
        status = _execute(list(sys.argv[1:] if arguments is None else arguments))
    except Exception:
        leave(1, traceback.format_exc())
        raise
    leave(status)
    return status


def _execute(arguments: list[str]) -> int:
    try:
        parser = make_parser(arguments[:1])
        options = parser.parse_args(arguments)
        if not hasattr(options, "execute"):
            parser.print_help()
            return 0
        return options.execute(options)
    except ProteinLMError as error:
        print(f"proteinlm: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("proteinlm: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `proteinlm tasks | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def make_parser(command: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser; `eval` has its flags only where it is the command, as lm-eval is slow."""
    parser = argparse.ArgumentParser(
        prog="proteinlm",
        description="Measure, train and publish language models that understand proteins.",
        epilog="First run: proteinlm quickstart",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"proteinlm-ext {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    add = partial(add_command, commands)
    _add_quickstart(add)
    _add_eval(add, build=list(command) == ["eval"])
    _add_tasks(add)
    add_analyses(add)
    add_data(add)
    add_train(add)
    add_cards(add)
    add_push(add)
    _add_doctor(add)
    return parser


def _add_eval(add: Add, *, build: bool) -> None:
    """Add `eval`, with lm-eval's own parser as parent: its flags cannot drift apart from ours."""
    parents: list[argparse.ArgumentParser] = []
    if build:
        from lm_eval._cli.run import Run

        parents = [Run(argparse.ArgumentParser().add_subparsers())._parser]  # pyright: ignore
    parser = add(
        "eval", _eval, "Evaluate a model; lm-eval's flags, and a table that can be "
        "defended.", EVAL_EXAMPLES, parents=parents, add_help=not build,
    )  # fmt: skip
    ours = parser.add_argument_group("proteinlm")
    ours.add_argument("--json", action="store_true", help="Print the summary as JSON on stdout")
    ours.add_argument(
        "--cache",
        metavar="DIR",
        type=Path,
        help="Keep answers in DIR and take from it what it has (--model proteinlm-hf)",
    )
    ours.add_argument("--no_log_samples", action="store_true", help="Write no samples files")
    ours.add_argument(
        "--no_chat_template",
        action="store_true",
        help="Raw prompts are meant: no warning about the model's chat template",
    )


def _eval(options: argparse.Namespace) -> int:
    from lm_eval.utils import setup_logging

    from proteinlm_ext.evaluation import evaluate, read_config
    from proteinlm_ext.summary_text import to_json, to_table

    given: dict[str, Any] = vars(options)
    del given["execute"]
    as_json, no_samples = given.pop("json"), given.pop("no_log_samples")
    raw_prompts, cache = given.pop("no_chat_template"), given.pop("cache")
    setup_logging()
    # Everything but the summary belongs on stderr, so that the output can be piped.
    with contextlib.redirect_stdout(sys.stderr):
        config, file = read_config(options)
        log_samples = not no_samples and file.get("log_samples", True)
        _refuse_contradictions(config, given, raw_prompts=raw_prompts, no_samples=no_samples)
        run = evaluate(config, log_samples=log_samples, template_decided=raw_prompts, cache=cache)
    if run is None:  # not the first process of a distributed run
        return 0
    files: dict[str, Any] = {
        "results_file": str(run.results_file),
        "sample_files": [str(file) for file in run.sample_files],
    }
    if cache:
        files["answers"] = run.answers
    if as_json:
        print(to_json(run.summaries, files))
        return 0
    print(to_table(run.summaries) if run.summaries else "--predict_only: outputs, no scores.")
    print(f"\nresults: {run.results_file}")
    print(f"samples: {len(run.sample_files)} files beside it")
    if cache:
        print(
            "answers: {computed} computed, {resumed} from the same batches of an earlier run, "
            "{reused} from other batches".format(**run.answers)
        )
    if config.show_config:
        print(run.results_file.read_text(encoding="utf-8"))
    return 0


def _refuse_contradictions(
    config: Any, given: dict[str, Any], *, raw_prompts: bool, no_samples: bool
) -> None:
    if raw_prompts and config.apply_chat_template:
        raise UsageError("--no_chat_template and --apply_chat_template exclude each other.")
    if no_samples and given.get("log_samples"):
        raise UsageError("--no_log_samples and --log_samples exclude each other.")


def _add_tasks(add: Add) -> None:
    parser = add(
        "tasks", _tasks, "List our tasks, or print the folder with their YAML.",
        'lm_eval ls tasks --include_path "$(proteinlm tasks --path)"',
    )  # fmt: skip
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--path", action="store_true", help="Print the folder for --include_path")
    form.add_argument("--json", action="store_true", help="Print the list as JSON")


def _tasks(options: argparse.Namespace) -> int:
    from proteinlm_ext.catalog import list_tasks
    from proteinlm_ext.paths import tasks_dir

    if options.path:
        print(tasks_dir())
        return 0
    tasks = list_tasks()
    if options.json:
        print(json.dumps([task._asdict() for task in tasks], indent=2))
        return 0
    width = max(len(task.name) for task in tasks)
    for task in tasks:
        print(f"{task.name:{width}}  v{task.version}  {task.protocol:46}  {task.tag or '-'}")
    return 0


def _add_quickstart(add: Add) -> None:
    parser = add(
        "quickstart", _quickstart,
        "Evaluate SmolLM2-135M-Instruct on the 60 bundled questions: one download (93 MB), "
        "a few minutes, no account.",
        "proteinlm quickstart --output_path results",
    )  # fmt: skip
    parser.add_argument("--output_path", default=DEFAULT_OUTPUT, help="Folder for the results")


def _quickstart(options: argparse.Namespace) -> int:
    from proteinlm_ext.quickstart import quickstart

    quickstart(Path(options.output_path))
    return 0


def _add_doctor(add: Add) -> None:
    parser = add(
        "doctor", _doctor, "Check the installation: versions, tasks, data, device.",
        "proteinlm doctor",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="Print the checks as JSON")


def _doctor(options: argparse.Namespace) -> int:
    from proteinlm_ext.doctor import examine

    checks = examine()
    if options.json:
        print(json.dumps([check._asdict() for check in checks], indent=2))
    else:
        for check in checks:
            print(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:18}  {check.finding}")
    return 0 if all(check.ok for check in checks) else 1
