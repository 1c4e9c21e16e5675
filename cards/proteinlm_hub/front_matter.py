"""The YAML of a card: read as the Hub reads it, but for what YAML lets pass in silence."""

import math
from collections.abc import Iterator
from datetime import date
from typing import Any, cast

import yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK

from proteinlm_ext.errors import ProteinLMError

# The parser in C, where PyYAML has it: a dataset's front matter has hundreds of lines.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _UniqueKeys(_Loader):
    """`yaml.safe_load` keeps the last of two equal keys; the Hub refuses the file."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: list[Any] = []
        for key_node, _ in node.value:
            key: Any = cast("Any", self).construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is there twice", key_node.start_mark
                )
            seen.append(key)
        return _Loader.construct_mapping(self, node, deep)


def load_yaml(text: str, where: str) -> Any:
    """Return what a YAML text holds.

    Raises:
        ProteinLMError: It is no plain YAML, has a key twice, or holds what JSON cannot.
    """
    try:
        data = yaml.load(text, _UniqueKeys)  # noqa: S506 - a safe loader
        odd = list(_odd_values(data, ""))
    # ValueError: a date such as 2026-02-30. RecursionError: a list within itself.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ProteinLMError(f"{where}: {' '.join(str(error).split())}") from error
    if odd:
        raise ProteinLMError("\n".join(f"{where}: {fault}" for fault in odd))
    return data


def read_front_matter(text: str, where: str = "README.md") -> tuple[dict[str, Any], int]:
    """Return a card's metadata, and where its text begins (an index).

    Raises:
        ProteinLMError: There is no front matter, or it is none that the Hub takes.
    """
    found = REGEX_YAML_BLOCK.search(text)
    if not found:
        raise ProteinLMError(f"{where} does not begin with a block of YAML between two lines ---")
    data = load_yaml(found[2], where)
    if not isinstance(data, dict):
        raise ProteinLMError(f"{where}: the front matter is no mapping of keys to values")
    return cast("dict[str, Any]", data), found.end()


def stated_licence(front: dict[str, Any]) -> str:
    """Return the licence of a card: its `license`, or the `license_name` beside `other`."""
    licence = front.get("license", "")
    return str(front.get("license_name", "other") if licence == "other" else licence)


def _odd_values(value: Any, place: str) -> Iterator[str]:
    match value:
        case dict():
            for key, item in cast("dict[Any, Any]", value).items():
                name = f"{place}.{key}".lstrip(".")
                if not isinstance(key, str):
                    yield f"{name}: the key {key!r} is no text; put it in quotes"
                yield from _odd_values(item, name)
        case list():
            for index, item in enumerate(cast("list[Any]", value)):
                yield from _odd_values(item, f"{place}[{index}]")
        case None | "None" | "null" | "nan" | "NaN":
            yield f"{place or 'the text'} is {value!r}; leave the key out where there is nothing"
        case float() if not math.isfinite(value):
            yield f"{place} is {value}, which is no number"
        case date():
            yield f"{place} is a date to YAML; put '{value}' in quotes"
        case str() | bool() | int() | float():
            pass
        case _:
            yield f"{place} is of the YAML type {type(value).__name__}, which JSON does not have"
