"""A hook of MkDocs: what `--help` prints and what modules say of themselves, never out of date."""

import argparse
import ast
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from proteinlm_ext.cli import make_parser

PACKAGES = ("proteinlm_ext", "sft/proteinlm_sft", "sft/proteinlm_train", "cards/proteinlm_hub")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the commands and the modules where a page asks for them."""
    for mark, make in (("<!-- commands -->", commands), ("<!-- modules -->", modules)):
        if mark in markdown:
            markdown = markdown.replace(mark, make())
    return markdown


def modules() -> str:
    """Return a table for each package: its modules, and the first sentence of each."""
    root = Path(__file__).resolve().parents[1]
    tables: list[str] = []
    for package in PACKAGES:
        rows = "\n".join(
            f"| `{file.name}` | {said.partition(chr(10))[0]} |"
            for file in sorted((root / package).glob("*.py"))
            if (said := ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))))
        )
        tables.append(
            f"### {package.rpartition('/')[2]}\n\n| module | what it is |\n|---|---|\n{rows}\n"
        )
    return "\n".join(tables)


def commands() -> str:
    """Return a section for each command, with its help."""
    os.environ["COLUMNS"] = "100"  # the width that argparse wraps at
    return "\n".join(
        f"## {name}\n\n```text\n{parser.format_help().rstrip()}\n```\n"
        for name, parser in _walk("proteinlm", make_parser(["eval"]))
    )


def _walk(
    name: str, parser: argparse.ArgumentParser
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, command in action.choices.items():
                yield from _walk(f"{name} {word}", command)
