"""How a command of `proteinlm` is added: with help and an example, alone or in a group."""

import argparse
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from proteinlm_ext.errors import MissingDependencyError

Execute = Callable[[argparse.Namespace], int]
Add = Callable[..., argparse.ArgumentParser]
"""Takes name, function, help text and example."""


def add_command(
    commands: Any, name: str, execute: Execute, text: str, example: str, **options: Any
) -> argparse.ArgumentParser:
    """Add a command to what `add_subparsers` returned.

    Args:
        commands: The parser's commands.
        name: Of the command.
        execute: What it does; returns the exit status.
        text: One sentence on what it does.
        example: One command line, or several lines with their own heading.
        options: Further arguments of `add_parser`.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text,
        epilog=example if "\n" in example else f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **options,
    )
    parser.set_defaults(execute=execute)
    return parser


def add_group(add: Add, group: str, text: str, example: str, extra: str | None = None) -> Add:
    """Add a command that has commands of its own; alone it prints its help.

    Args:
        add: Adds the command itself.
        group: Its name.
        text: As for `add_command`, like the next.
        example: One command line.
        extra: The extra of the package that the commands need, named where a module is missing.

    Returns:
        What adds a command to the group.
    """

    def show_help(_: argparse.Namespace) -> int:
        parser.print_help()
        return 0

    parser = add(group, show_help, text, example)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add_one(
        name: str, execute: Execute, text: str, example: str, **options: Any
    ) -> argparse.ArgumentParser:
        run = partial(_with_extra, execute, group, extra) if extra else execute
        return add_command(commands, name, run, text, example, **options)

    return add_one


def add_workers(parser: argparse.ArgumentParser, text: str | None = None) -> None:
    """Add `--workers N`, by default one a processor."""
    parser.add_argument(
        "--workers", type=_at_least_one, default=os.cpu_count() or 1, metavar="N", help=text
    )


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def _with_extra(execute: Execute, group: str, extra: str, options: argparse.Namespace) -> int:
    try:
        return execute(options)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("proteinlm"):  # ours: a bug, not a missing package
            raise
        raise MissingDependencyError(
            f"`proteinlm {group}` needs {error.name}: pip install 'proteinlm-ext[{extra}]'"
        ) from error
