r"""Read the answer letter out of what a model wrote.

Two readings of one response. Both are pure functions of the text and the options:

* `extract_final_line` (strict) accepts only what the prompt asked for: a last line "Answer: X".
* `extract_answer` (flexible) tries the rules below in order. The first rule that decides wins,
  and to decide may mean to refuse: a response that names two letters, or a letter the question
  has not, has no answer, whatever it said earlier.

| # | Rule                                             | Decides when                            |
|---|--------------------------------------------------|-----------------------------------------|
| 0 | the strict last line, "Answer: C"                | it is there                             |
| 1 | ``\boxed{...}``                                  | a box is readable; the last such box    |
| 2 | a cue: "the answer is C", "the option is 3"      | a cue is readable; the last such cue    |
| 3 | a line that is the answer: "C", "(C)", "C. text" | it is the last line, else the first     |
| 4 | a marked letter: ``**C**``, "(C)", "[C]"         | exactly one letter is marked            |
| 5 | "option 3", "choice C"                           | exactly one option is mentioned so      |
| 6 | an option's own text                             | exactly one option is quoted            |

Before the rules, the text is NFKC-normalised (full-width letters, brackets, colons), white space
is collapsed, and reasoning is cut off: only what follows the last ``</think>`` is read, and a
``<think>`` left open makes the response invalid. ``<thinking>`` is the same tag.

A capital letter is not always an answer: "E. coli", "vitamin A", "C-terminal", "G protein" and
"A protein that ..." are biology or English. A bare letter after a cue must therefore be followed
by the end of the line, punctuation, a connective ("because") or its own option's text, and
"C. elegans" is a letter only where option C begins with "elegans". An option's own text after a cue
is read before a letter is ("Answer: C. elegans" may be option B); a letter with another option's
text is that letter.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence

from proteinlm_ext.answer_patterns import (
    AFTER_LOWER,
    AFTER_UPPER,
    BARE_LINE,
    BARE_NUMBER,
    BOX,
    CONNECTIVE,
    CUE,
    ENDS,
    GENUS,
    JOINED,
    JUDGED,
    LATER,
    LATEX,
    LETTER_RUN,
    LISTED,
    MARKED,
    MENTION,
    NAMED,
    NEITHER,
    NOT,
    NUMBERED,
    OPEN,
    OPTION_CUE,
    OPTION_LINE,
    REACH,
    STARTS,
    STRICT,
    THINK,
)
from proteinlm_ext.questions import LETTERS

INVALID = "[invalid]"

# A rule returns a letter, REFUSED (it decides that there is no answer) or None (it is silent).
REFUSED = ""
_Rule = Callable[[str, list[str]], str | None]


def _normalise(text: str) -> str:
    """Fold compatibility characters, collapse white space and drop empty lines."""
    folded = unicodedata.normalize("NFKC", text).replace("\u200b", "").replace("\ufeff", "")
    lines = (" ".join(line.split()) for line in folded.splitlines())
    return "\n".join(line for line in lines if line)


def _conclusion(text: str) -> str:
    """Return what follows the last think tag, normalised; nothing if that tag opens a thought."""
    text = _normalise(text)
    tags = list(THINK.finditer(text))
    if not tags:
        return text
    return text[tags[-1].end() :].strip() if tags[-1][1] else ""


def _words(text: str) -> str:
    """Return the words of a text, casefolded, without punctuation."""
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


def _quotable(options: list[str], shortest: int) -> str:
    """Return a pattern, group "text", for the text of any option of at least `shortest` letters."""
    texts = sorted({text for text in options if len(text) >= shortest}, key=len, reverse=True)
    patterns = (r"[\W_]{1,8}".join(map(re.escape, text.split())) for text in texts)
    return rf"{STARTS}(?P<text>{'|'.join(patterns) or '(?!)'}){ENDS}"


def _said_as_answer(options: list[str]) -> re.Pattern[str]:
    """Return a pattern for an option's text that fills the clause after a cue."""
    texts = [text for text in options if text.upper() not in tuple(LETTERS[: len(options)])]
    clause_end = rf"[^\w\n]{{0,8}}?(?:$|[.,;:!)\]}}*\"`\u3001\u3002](?!\w)|\s?(?:{CONNECTIVE}))"
    quoted = rf"{OPEN}{_quotable(texts, 1)}(?={clause_end})"
    return re.compile(quoted, re.IGNORECASE | re.MULTILINE)


def _owner(quoted: str, options: list[str]) -> str:
    """Return the letter of the one option with this text."""
    words = _words(quoted)
    return LETTERS[options.index(words)] if options.count(words) == 1 else REFUSED


def _numbered(number: str) -> str:
    """Return the letter of option 1, 2, 3, ..."""
    return LETTERS[int(number) - 1] if 1 <= int(number) <= len(LETTERS) else REFUSED


def _echoes(rest: str, letter: str, options: list[str]) -> bool:
    """Tell whether the words after a letter begin that letter's own option."""
    own = dict(zip(LETTERS, options, strict=False)).get(letter)
    said, own = f"{_words(rest)} "[:12], f"{own or '-'} "[:12]
    return said.startswith(own) or (len(said) > 4 and own.startswith(said))


def _stands(found: re.Match[str], rest: str, options: list[str]) -> bool:
    """Tell whether the letter found after a cue is an answer and no word, name or species."""
    letter = found["letter"]
    if _echoes(rest, letter.upper(), options):
        return True
    if GENUS.match(rest):
        return False
    if letter.islower():
        return AFTER_LOWER.match(rest) is not None
    return found["kind"] is not None or AFTER_UPPER.match(rest) is not None


def _claim(text: str, start: int, options: list[str], said: re.Pattern[str]) -> str | None:
    """Return what is named right at `start`: an option's text, its number or its letter."""
    if quoted := said.match(text, start):
        return _owner(quoted["text"], options)
    if numbered := NUMBERED.match(text, start):
        return _numbered(numbered["number"])
    run = LETTER_RUN.match(text, start)
    if NEITHER.match(text, start) or (run and sorted(set(run[1])) == list(run[1])):
        return REFUSED
    found = NAMED.match(text, start)
    if not found:
        return None
    if found["letter"] == "A" and "\n" in found[0] and LISTED.match(text, found.end()):
        return None  # "the answer:" before a list of all the options
    rest = text[found.end() : found.end() + REACH].partition("\n")[0]
    if JOINED.match(rest) or LATER.search(rest):
        return REFUSED
    return found["letter"].upper() if _stands(found, rest, options) else None


# ---- The rules, in order. ----


def _last_line(text: str) -> re.Match[str] | None:
    """Match the strict form in the last line, freed of emphasis, backticks and dollar signs."""
    return STRICT.fullmatch(re.sub(r"[*_`$]", "", text.rpartition("\n")[2]).strip())


def _final_line(text: str, options: list[str]) -> str | None:
    """Rule 0: the last line is "Answer: C"."""
    line = _last_line(text)
    return line and _claim(line[line.lastindex or 0], 0, options, _said_as_answer(options))


def _boxed(text: str, options: list[str]) -> str | None:
    r"""Rule 1: the last readable ``\boxed{...}``."""
    boxes = BOX.findall(text)
    said = _said_as_answer(options)
    claims = (_claim(box, 0, options, said) for box in reversed(boxes))
    return next((claim for claim in claims if claim is not None), None)


def _cued(text: str, options: list[str]) -> str | None:
    """Rule 2: the last readable "the answer is ..." or "option ... is correct"."""
    cues = [*CUE.finditer(text), *JUDGED.finditer(text)]
    said = _said_as_answer(options)
    for cue in sorted(cues, key=lambda found: found.end(), reverse=True):
        if cue.re is JUDGED:
            return REFUSED if cue["more"] else cue["letter"]
        claim = _claim(text, cue.end(), options, said)
        number = BARE_NUMBER.match(text, cue.end()) if OPTION_CUE.search(cue[0]) else None
        if claim is None and number:
            claim = _numbered(number["number"])
        if claim is not None:
            return claim
    return None


def _answer_line(text: str, options: list[str]) -> str | None:
    """Rule 3: the last line, else the first, is a bare letter or one option in full."""
    lines = text.split("\n")
    for line in (lines[-1], lines[0]):
        if bare := BARE_LINE.fullmatch(line.strip()):
            return bare[1].upper()
    listed = [(line, found) for line in lines if (found := OPTION_LINE.match(line))]
    if len(listed) != 1 or listed[0][0] not in (lines[0], lines[-1]):
        return None
    line, found = listed[0]
    rest = line[found.end() :]
    if len(lines) == 1 and not GENUS.match(rest) and len(_words(rest)) > 1:
        return found[1] if _words(rest) not in options else None  # "A: " may mean "answer: "
    return found[1] if _echoes(rest, found[1], options) else None


def _marked(text: str, options: list[str]) -> str | None:
    """Rule 4: exactly one distinct letter stands in bold or brackets."""
    marks: set[str] = set()
    for found in MARKED.finditer(text):
        rest, bold = text[found.end() : found.end() + REACH], found["bold"]
        if bold and (not GENUS.match(rest) or _echoes(rest, bold, options)):
            marks.add(bold)
        elif found["bracketed"] and not found["label"]:
            marks.add(found["bracketed"])
    return marks.pop() if len(marks) == 1 else None


def _mentioned(text: str, options: list[str]) -> str | None:
    """Rule 5: exactly one option is mentioned by number or letter, and not to dismiss it."""
    del options
    seen: set[str] = set()
    for found in MENTION.finditer(text):
        if found["no"] or found["wrong"]:
            continue
        seen.add(found["letter"] or _numbered(found["number"]))
        if JOINED.match(text[found.end() : found.end() + REACH]):
            seen.add(REFUSED)
    return seen.pop() if len(seen) == 1 else None


def _quoted(text: str, options: list[str]) -> str | None:
    """Rule 6: exactly one option's text, of three characters or more, is quoted."""
    quotes = re.finditer(NOT + _quotable(options, 3), text, re.IGNORECASE)
    owners = {_owner(found["text"], options) for found in quotes}
    return owners.pop() if len(owners) == 1 else None


_RULES: tuple[_Rule, ...] = (
    _final_line, _boxed, _cued, _answer_line, _marked, _mentioned, _quoted,
)  # fmt: skip


def extract_answer(text: str, choices: Sequence[str]) -> str | None:
    """Read the answer as a careful person would, by the rules above.

    Args:
        text: The whole response.
        choices: The texts of the options, in order, A first.

    Returns:
        A letter that the question has, or None.
    """
    said = LATEX.sub(r"\1", LATEX.sub(r"\1", _conclusion(text)))  # \text{\textbf{C}} to C
    options = [_words(unicodedata.normalize("NFKC", choice)) for choice in choices[: len(LETTERS)]]
    verdicts = (rule(said, options) for rule in _RULES)
    verdict = next((verdict for verdict in verdicts if verdict is not None), REFUSED)
    return verdict if verdict and verdict in LETTERS[: len(options)] else None


def extract_final_line(text: str, choices: Sequence[str]) -> str | None:
    """Read only a last line of the form "Answer: X"; otherwise as `extract_answer`."""
    line = _last_line(_conclusion(text))
    letter = line[line.lastindex or 0] if line else ""
    return letter if letter and letter in LETTERS[: len(choices)] else None


_Resps = Iterable[Sequence[object]]
_Docs = Iterable[Mapping[str, Sequence[str]]]


def strict_filter(resps: _Resps, docs: _Docs) -> list[list[str]]:
    """Apply `extract_final_line` to every response of every document."""
    return _filter(extract_final_line, resps, docs)


def flexible_filter(resps: _Resps, docs: _Docs) -> list[list[str]]:
    """Apply `extract_answer` to every response of every document."""
    return _filter(extract_answer, resps, docs)


def _filter(
    read: Callable[[str, Sequence[str]], str | None], resps: _Resps, docs: _Docs
) -> list[list[str]]:
    """Read all responses, of which one that is no text (None) counts as empty."""
    return [
        [read(said if isinstance(said, str) else "", doc["choices"]) or INVALID for said in row]
        for row, doc in zip(resps, docs, strict=True)
    ]
