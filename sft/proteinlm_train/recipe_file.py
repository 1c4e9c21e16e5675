"""A recipe read from YAML, with settings that replace the file's; every fault with its path."""

import json
import re
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError

from proteinlm_ext.errors import UsageError
from proteinlm_train.recipe import Recipe

_NAMES_A_KEY = re.compile(r"[\w.]+: ")


def load_recipe(path: Path, changes: tuple[str, ...] = ()) -> Recipe:
    """Read and check a recipe.

    Args:
        path: A YAML file.
        changes: Settings that replace the file's, as `train.lr=1e-4`; values are YAML.

    Raises:
        UsageError: The file is missing or no YAML mapping, or with every wrong key or value.
    """
    try:
        given: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"The recipe {path} cannot be read: {error}") from error
    if not isinstance(given, dict):
        raise UsageError(f"The recipe {path} must be a YAML mapping with keys such as model:.")
    settings = cast("dict[str, Any]", given)
    for change in changes:
        _apply(settings, change)
    return check_recipe(settings, str(path))


def check_recipe(given: dict[str, Any], name: str) -> Recipe:
    """Return the recipe that a mapping describes.

    Raises:
        UsageError: With every wrong key or value and its path.
    """
    try:
        return Recipe.model_validate(given)
    except ValidationError as error:
        raise UsageError(f"{name}: {'; '.join(map(_fault, error.errors()))}") from error


def json_schema() -> str:
    """Return the JSON Schema of a recipe, for editors."""
    return json.dumps(Recipe.model_json_schema(by_alias=True), indent=1, sort_keys=True) + "\n"


def _fault(fault: Any) -> str:
    # Of "literal['all-linear']", pydantic's name for one type of several, nothing is shown.
    place = ".".join(str(key) for key in fault["loc"] if "[" not in str(key))
    message = fault["msg"].removeprefix("Value error, ")
    value = "" if isinstance(fault["input"], dict | list) else f" (got {fault['input']!r})"
    joint = "." if _NAMES_A_KEY.match(message) else ": "
    return f"{place}{joint}{message}{value}" if place else f"{message}{value}"


def _apply(settings: dict[str, Any], change: str) -> None:
    """Put `train.lr=1e-4` into the mapping; `data.sources.0.path=...` reaches into a list."""
    key, sign, text = change.partition("=")
    if not sign or not key:
        raise UsageError(f"--set {change!r}: write KEY=VALUE, for example train.lr=1e-4.")
    try:
        value: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {change!r}: the value is no YAML: {error}") from error
    *parents, last = key.split(".")
    place: Any = settings
    try:
        for parent in parents:
            if isinstance(place, list):
                place = cast("list[Any]", place)[int(parent)]
            else:
                if place.get(parent) is None:
                    place[parent] = {}
                place = place[parent]
        if isinstance(place, list):
            cast("list[Any]", place)[int(last)] = value
        else:
            place[last] = value
    except (AttributeError, TypeError, ValueError, IndexError) as error:
        raise UsageError(f"--set {change!r}: there is no such place in the recipe.") from error
