"""Fill the templates of cards; a name that is missing, or a value that is none, is an error."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from proteinlm_ext.errors import ProteinLMError
from proteinlm_ext.paths import templates_dir, write_text
from proteinlm_ext.tables import Table, plain, points, print_table

CARD = "card.json"
PULL_REQUEST = "pull_request"
SCHEMA_VERSION = 1
KINDS = ("benchmark", "dataset", "model")
_UNFILLED = re.compile(r"\bNone\b(?!-|\s+[a-z])|\b(nan|NaN)\b|(?i:more information needed)")


def render(template: str, context: Mapping[str, Any]) -> str:
    """Fill a template of `cards/templates`; what it may print with is in `_environment`.

    Raises:
        ProteinLMError: The context lacks a name, or the text has a None, a NaN or an empty place.
    """
    try:
        text = _environment().get_template(template).render(context)
    except (TemplateError, TypeError) as error:  # TypeError: a None in arithmetic or a filter
        raise ProteinLMError(f"{template}: a source is missing: {error}") from error
    if found := _UNFILLED.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise ProteinLMError(f"{template}: a source is missing: line {line} has {found[0]!r}")
    return text


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(templates_dir()),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - Markdown
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    cast("dict[str, Any]", environment.filters).update(
        number=_strict("{:,.0f}".format),
        plain=_strict(plain),
        points=_strict(points),
        table=_print_table,
        yaml=dump_yaml,
    )
    return environment


def _strict(show: Callable[[float], str]) -> Callable[[Any], str]:
    return lambda value: show(float(value))  # float() of what is missing says its name


def _print_table(data: Mapping[str, Any], *left_out: str) -> str:
    """Return a table without the columns that are left out, or empty."""
    table = Table(**data)
    kept = [
        n
        for n, name in enumerate(table.header)
        if name not in left_out and any(row[n] for row in table.rows)
    ]
    rows = tuple(tuple(row[n] for n in kept) for row in table.rows)
    return print_table(replace(table, header=tuple(table.header[n] for n in kept), rows=rows), "md")


def dump_yaml(data: Any) -> str:
    """Return YAML with sorted keys."""
    return yaml.safe_dump(data, sort_keys=True, allow_unicode=True)


def to_files(card: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts that a card.json makes, by their path in its folder.

    Raises:
        ProteinLMError: The card lacks something, or is of another kind or version.
    """
    kind, version = card.get("kind"), card.get("schema_version")
    if kind not in KINDS or version != SCHEMA_VERSION:
        raise ProteinLMError(f"{CARD} has kind {kind!r}, schema_version {version!r}; make it again")
    try:
        return import_module(f"proteinlm_hub.{kind}_card").to_files(card)
    except KeyError as error:
        raise ProteinLMError(f"{CARD} lacks {error}; make it again") from error


def read_card(folder: Path) -> dict[str, Any]:
    """Return a folder's card.json.

    Raises:
        ProteinLMError: There is none, or it is no JSON object.
    """
    try:
        card: Any = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProteinLMError(f"{folder / CARD}: {error}. `proteinlm card` makes it.") from error
    if not isinstance(card, dict):
        raise ProteinLMError(f"{folder / CARD} is no card. `proteinlm card` makes it.")
    return cast("dict[str, Any]", card)


def check_folder(folder: Path) -> list[str]:
    """Return which of a folder's texts are not what its card.json makes, by path in the folder.

    A pull request is for another repository: a folder that was published has none.

    Raises:
        ProteinLMError: There is no card.json, or nothing can be made of it.
    """
    files = to_files(read_card(folder))
    if not (folder / PULL_REQUEST).is_dir():
        files = {name: text for name, text in files.items() if not name.startswith(PULL_REQUEST)}
    changed = [
        f"{name} is not what {CARD} makes: `proteinlm card` makes it again"
        for name, text in files.items()
        if not (folder / name).is_file() or (folder / name).read_bytes() != text.encode()
    ]
    return changed + [
        f".eval_results/{file.name} is not what {CARD} makes; remove it"
        for file in sorted((folder / ".eval_results").glob("*"))
        if f".eval_results/{file.name}" not in files
    ]


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Write a card: card.json, and the texts that it makes."""
    text = json.dumps(card, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    for name, content in {**to_files(json.loads(text)), CARD: text}.items():
        write_text(folder / name, content)
