"""A training recipe from its YAML file, with settings that replace the file's."""

import json
from pathlib import Path
from typing import Any, cast

import yaml

from proteinlm_ext.errors import UsageError
from proteinlm_ext.recipes import check_settings, read_settings
from proteinlm_train.recipe import Recipe


def load_recipe(path: Path, changes: tuple[str, ...] = ()) -> Recipe:
    """Read and check a recipe.

    Args:
        path: A YAML file.
        changes: Settings that replace the file's, as `train.lr=1e-4`; values are YAML.

    Raises:
        UsageError: The file is missing or no YAML mapping, or with every wrong key or value.
    """
    settings = read_settings(path, "model")
    for change in changes:
        _apply(settings, change)
    return check_recipe(settings, str(path))


def check_recipe(given: dict[str, Any], name: str) -> Recipe:
    """Return the recipe that settings describe, as `check_settings` does."""
    return check_settings(Recipe, given, name)


def json_schema() -> str:
    """Return the JSON Schema of a recipe, for editors."""
    return json.dumps(Recipe.model_json_schema(by_alias=True), indent=1, sort_keys=True) + "\n"


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
