"""Recipes, of datasets and of training: YAML files, the user's or ours, found, read, checked."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from proteinlm_ext.errors import UsageError
from proteinlm_ext.paths import recipes_dir

if TYPE_CHECKING:
    from pydantic import BaseModel

_Recipe = TypeVar("_Recipe", bound="BaseModel")
_NAMES_A_KEY = re.compile(r"[\w.]+: ")


def recipe_names(kind: str) -> str:
    """Return the names of our recipes of a kind, `data` or `train`, as a sentence has them."""
    return ", ".join(sorted(path.stem for path in recipes_dir(kind).glob("*.yaml")))


def find_recipe(kind: str, given: str) -> Path:
    """Return the file that is meant: the user's own, else ours of that name.

    Raises:
        UsageError: There is neither.
    """
    path, ours = Path(given), recipes_dir(kind) / f"{given}.yaml"
    if not path.is_file() and not ours.is_file():
        raise UsageError(
            f"There is no recipe {given}. Give a YAML file, or one of {recipe_names(kind)}."
        )
    return path if path.is_file() else ours


def read_settings(path: Path, key: str) -> dict[str, Any]:
    """Return what a recipe's file says, unchecked.

    Args:
        path: A YAML file.
        key: A key that every recipe of the kind has, for the message.

    Raises:
        UsageError: The file is missing or no YAML mapping.
    """
    import yaml

    try:
        given: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"The recipe {path} cannot be read: {error}") from error
    if not isinstance(given, dict):
        raise UsageError(f"The recipe {path} must be a YAML mapping with keys such as {key}:.")
    return cast("dict[str, Any]", given)


def check_settings(recipe: type[_Recipe], given: dict[str, Any], name: str) -> _Recipe:
    """Return the recipe that settings describe.

    Args:
        recipe: Its class, a model of pydantic.
        given: The settings.
        name: Where they are from, for the message.

    Raises:
        UsageError: With every wrong key or value and its path.
    """
    from pydantic import ValidationError

    try:
        return recipe.model_validate(given)
    except ValidationError as error:
        raise UsageError(f"{name}: {'; '.join(map(_fault, error.errors()))}") from error


def _fault(fault: Any) -> str:
    # Of "literal['all-linear']", pydantic's name for one type of several, nothing is shown.
    place = ".".join(str(key) for key in fault["loc"] if "[" not in str(key))
    message = fault["msg"].removeprefix("Value error, ")
    value = "" if isinstance(fault["input"], dict | list) else f" (got {fault['input']!r})"
    joint = "." if _NAMES_A_KEY.match(message) else ": "
    return f"{place}{joint}{message}{value}" if place else f"{message}{value}"
