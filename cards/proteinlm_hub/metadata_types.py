"""The types that the metadata of cards and evaluations is made of, and how faults are told.

The ids the Hub knows are in hub_tables.json, made from its own npm packages by
tests/hub/generate_tables.mjs.
"""

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple, cast

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

TABLES: dict[str, Any] = json.loads(Path(__file__).with_name("hub_tables.json").read_text("utf-8"))


def listed(table: str, what: str) -> AfterValidator:
    """Return a validator: the text is among a table's ids."""
    known: list[str] = TABLES[table]

    def check(value: str) -> str:
        if value in known:
            return value
        near = difflib.get_close_matches(value, known, 3)
        hint = f"; near it: {', '.join(near)}" if near else ""
        raise ValueError(f"{value!r} is no {what} that the Hub knows{hint}")

    return AfterValidator(check)


def matching(pattern: str, what: str) -> AfterValidator:
    """Return a validator: the whole text matches; `what` says what it is where it does not."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"{value!r} is {what}")
        return value

    return AfterValidator(check)


def _repository(value: str) -> str:
    try:
        validate_repo_id(value)
        if "/" in value:
            return value
    except HFValidationError:
        pass
    raise ValueError(f"{value!r} is no OWNER/NAME of a repository on the Hub")


def require_unique(values: Iterable[Any], what: str) -> None:
    """Raise ValueError for the first value that is there more than once."""
    for value, count in Counter(values).items():
        if count > 1:
            raise ValueError(f"{what} {value!r} is there {count} times")


Language = Annotated[str, listed("languages", "code of a language (ISO 639-1)")]
Licence = Annotated[str, listed("licences", "licence")]
Library = Annotated[str, listed("libraries", "library")]
Pipeline = Annotated[str, listed("pipeline_tags", "pipeline tag")]
Repository = Annotated[str, AfterValidator(_repository)]
Https = Annotated[str, matching(r"https://[\w-]+(\.[\w-]+)+(/\S*)?", "no https link")]
Name = Annotated[str, matching(r"\S(.*\S)?", "no name: empty, or with blanks around it")]
Text = Annotated[str, matching(r"(?s).*\S.*", "empty")]
# `datasets` names files by it, and reads "all" as every split together.
SplitName = Annotated[str, matching(r"(?!all$)\w+(\.\w+)*", "no name of a split")]
Names = Annotated[list[Name], Field(default_factory=list)]
Mapping = Annotated[dict[str, Any], Field(default_factory=dict)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


def to_list(value: Any) -> Any:
    """Return a single value as a list: the Hub takes both."""
    return cast("Any", value) if isinstance(value, list) else [value]


class Strict(BaseModel):
    """A mapping whose keys are all known and whose values have their types already."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Parsed(NamedTuple):
    """What was read, or None, and the faults found."""

    value: Any
    faults: list[str]


def parse(shape: Any, data: Any, where: str) -> Parsed:
    """Return data in a shape, or what is wrong with it.

    Args:
        shape: `ModelCard`, `DatasetCard`, `EvalResults` or `EvalYaml`.
        data: What YAML gave.
        where: The file, put before each fault.
    """
    try:
        return Parsed(TypeAdapter(shape).validate_python(data), [])
    except ValidationError as error:
        return Parsed(None, [f"{where}: {_say(item)}" for item in error.errors()])


def _say(error: Any) -> str:
    """Return one fault that pydantic found as a sentence with the place, the value, what to do."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    place = "".join(parts).lstrip(".")
    given = repr(error["input"])
    given = given if len(given) <= 80 else given[:77] + "..."
    match error["type"]:
        case "extra_forbidden":
            return f"{place} is an unknown key; in a card, keys of our own go under `proteinlm:`"
        case "missing":
            return f"{place} is missing"
        case "value_error":
            return f"{place}: {error['ctx']['error']}" if place else str(error["ctx"]["error"])
        case _:
            return f"{place}: {error['msg'][0].lower()}{error['msg'][1:]}, not {given}"
