"""A hook of MkDocs: the page of the commands is what `--help` prints, never out of date."""

import argparse
import os
from collections.abc import Iterator
from typing import Any

from proteinlm_ext.cli import _parser

MARK = "<!-- commands -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the commands where a page asks for them."""
    return markdown.replace(MARK, commands()) if MARK in markdown else markdown


def commands() -> str:
    """Return a section for each command, with its help."""
    os.environ["COLUMNS"] = "100"  # the width that argparse wraps at
    return "\n".join(
        f"## {name}\n\n```text\n{parser.format_help().rstrip()}\n```\n"
        for name, parser in _walk("proteinlm", _parser(["eval"]))
    )


def _walk(
    name: str, parser: argparse.ArgumentParser
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, command in action.choices.items():
                yield from _walk(f"{name} {word}", command)
