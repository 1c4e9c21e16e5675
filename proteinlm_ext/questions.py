"""One multiple-choice question: from a raw row to a checked, hashed `Question`.

Canonical form. A text is brought to Unicode NFC, runs of white space become one blank, ends are
stripped. `id` is the first 16 hex digits of sha256 over the compact UTF-8 JSON of
`[question, [option, ...]]`; `row_hash` is the same over `[question, [option, ...], answer]` with a
0-based answer. Prefixes ("option N: ") and padding are gone before, so a JSON and a CSV export of
one question agree, and a corrected key keeps its id.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, cast

LETTERS = "ABCDEFGHIJ"
MAX_OPTIONS = len(LETTERS)
COLUMNS = ("question", "options", "answer", "explanation")
PADDING = "nan"  # what pandas writes for a missing cell of the upstream CSV export

OPTION_PREFIX = re.compile(r"option ([0-9]+):(?: |$)", re.IGNORECASE)
ANSWER = re.compile(r"\s*option ([0-9]{1,4})\s*", re.IGNORECASE)

# Valid in JSON's escapes, but no UTF-8 can be written or hashed from it.
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

# The right option lies beyond the columns of an export; the file is as wide as it gets.
TRUNCATED = "gold cut off"

# Defects that leave a row scoreable. The pinned Hub file keeps such rows, with a report.
SOFT_RULES = frozenset({"duplicate id", "empty text", "option number"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question as every task and every analysis sees it. The explanation is not part of it."""

    id: str
    """16 hex digits over question and options."""
    row_hash: str
    """16 hex digits over question, options and answer."""
    question: str
    choices: tuple[str, ...]
    """2 to 10 option texts."""
    answer: int
    """0-based position of the right option."""

    def to_doc(self) -> dict[str, Any]:
        """Return the document that lm-eval sees."""
        return asdict(self) | {"choices": list(self.choices)}


class Fault(NamedTuple):
    """A broken rule of one row, and the value that breaks it."""

    rule: str
    value: str


class Defect(NamedTuple):
    """One broken rule in a file: the 1-based row, the rule, and the value that breaks it."""

    row: int
    rule: str
    value: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.rule}: {self.value}"


class ParsedRows(NamedTuple):
    """The usable questions of a file in file order, its defects, and its padding."""

    questions: tuple[Question, ...]
    defects: tuple[Defect, ...]
    num_padding: int
    """Trailing "nan" options (or empty cells) that were removed."""


def canonical_text(text: str) -> str:
    """Return `text` in NFC with white space collapsed: the form that is hashed."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def content_hash(question: str, choices: Sequence[str], answer: int | None = None) -> str:
    """Return 16 hex digits over the canonical form; with `answer` the row hash, without the id."""
    content: list[Any] = [canonical_text(question), [canonical_text(choice) for choice in choices]]
    if answer is not None:
        content.append(answer)
    encoded = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return hashlib.sha256(encoded).hexdigest()[:16]


def make_question(question: str, choices: Sequence[str], answer: int) -> Question:
    """Build a `Question` with its two hashes."""
    return Question(
        id=content_hash(question, choices),
        row_hash=content_hash(question, choices, answer),
        question=question,
        choices=tuple(choices),
        answer=answer,
    )


def split_padding(options: Sequence[Any]) -> tuple[list[Any], int]:
    """Remove the trailing "nan" options of an export; return the real ones and how many went."""
    end = len(options)
    while end and isinstance(options[end - 1], str) and option_text(options[end - 1]) == PADDING:
        end -= 1
    return list(options[:end]), len(options) - end


def option_text(option: str) -> str:
    """Strip only the leading "option N: ", so that a text that holds ": " stays whole."""
    prefix = OPTION_PREFIX.match(option)
    return option[prefix.end() :] if prefix else option


def check_columns(row: Mapping[str, Any]) -> Iterable[Fault]:
    """Yield a fault if the keys of `row` are not the columns of the schema."""
    missing = [name for name in COLUMNS[:3] if name not in row]
    unknown = [str(name) for name in row if name not in COLUMNS]
    if missing or unknown:
        yield Fault(
            "wrong columns", f"missing {missing}, unknown {unknown}; expected {list(COLUMNS)}"
        )


def _check_options(options: Sequence[Any]) -> Iterable[Fault]:
    if not 2 <= len(options) <= MAX_OPTIONS:
        yield Fault(f"2 to {MAX_OPTIONS} options", f"{len(options)} options")
    for position, option in enumerate(options, start=1):
        yield from _check_text(option, f"option {position}")
        prefix = OPTION_PREFIX.match(option) if isinstance(option, str) else None
        if prefix and prefix[1] != str(position):
            yield Fault("option number", f"{option[:60]!r} stands at position {position}")


def _check_text(value: Any, place: str) -> Iterable[Fault]:
    if not isinstance(value, str):
        yield Fault("not a text", f"{place} is {repr(value)[:80]}")
    elif _LONE_SURROGATE.search(value):
        yield Fault("not a text", f"{place} holds half a character (a lone surrogate)")
    elif not option_text(value).strip():
        yield Fault("empty text", f"{place} {value!r}")


def _check_row(row: Mapping[str, Any], options: Sequence[Any], width: int) -> Iterable[Fault]:
    question, answer = row["question"], parse_answer(row["answer"])
    yield from _check_options(options)
    yield from _check_text(question, "question")
    if answer is None:
        yield Fault("unparsable answer", f'{repr(row["answer"])[:80]}, expected "option N"')
    elif MAX_OPTIONS >= answer > len(options) == width:
        yield Fault(TRUNCATED, f"option {answer}, but the file holds {width} options at most")
    elif not 1 <= answer <= len(options):
        yield Fault("gold outside the options", f"option {answer} of {len(options)}")


def parse_answer(answer: Any) -> int | None:
    """Return N of "option N", or None."""
    match = ANSWER.fullmatch(answer) if isinstance(answer, str) else None
    return int(match[1]) if match else None


def _parse_row(row: Any, width: int) -> tuple[Question | None, list[Fault], int]:
    """Return the question (None when unusable), the row's faults and its number of paddings.

    Structural faults end the check, since the rest would only echo them.
    """
    if not isinstance(row, Mapping):
        return None, [Fault("a row is an object", repr(row)[:80])], 0
    row = cast("Mapping[str, Any]", row)
    if faults := list(check_columns(row)):
        return None, faults, 0
    if not isinstance(row["options"], list):
        return None, [Fault("options not a list", repr(row["options"])[:80])], 0
    options, num_padding = split_padding(cast("list[Any]", row["options"]))
    faults = list(_check_row(row, options, width))
    if any(fault.rule not in SOFT_RULES for fault in faults):
        return None, faults, num_padding
    answer = cast("int", parse_answer(row["answer"]))
    texts = [option_text(option) for option in options]
    return make_question(row["question"], texts, answer - 1), faults, num_padding


def parse_rows(rows: Sequence[Any]) -> ParsedRows:
    """Check and convert raw rows in the Hub's schema.

    Args:
        rows: Mappings with `question`, `options` (a list of "option N: text"), `answer`
            ("option N") and perhaps `explanation`, which is dropped here: it gives the answer away.

    Returns:
        The usable questions and every defect found. A row with a hard defect has no question.
    """
    questions: list[Question] = []
    defects: list[Defect] = []
    num_padding = 0
    first_row_of: dict[str, int] = {}
    width = max((len(row["options"]) for row in rows if _has_options(row)), default=0)
    for number, row in enumerate(rows, start=1):
        question, faults, padding = _parse_row(row, width)
        num_padding += padding
        if question:
            first = first_row_of.setdefault(question.id, number)
            if first != number:
                faults.append(Fault("duplicate id", f"{question.id}, the same as row {first}"))
            questions.append(question)
        defects.extend(Defect(number, *fault) for fault in faults)
    return ParsedRows(tuple(questions), tuple(defects), num_padding)


def _has_options(row: Any) -> bool:
    return isinstance(row, Mapping) and isinstance(cast("Any", row).get("options"), list)
