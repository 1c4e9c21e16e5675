"""What an explanation says about the key: which option it calls right, and which words it shares.

Precision comes first: a sentence that these patterns do not know is silent.
"""

import re
from collections.abc import Sequence

from proteinlm_ext.questions import LETTERS
from proteinlm_ext.wording import content_words, jaccard, words

_OPTION = r"(\d{1,2}\b|(?-i:[A-J])(?=\s*(?:[).,:;]|$|is\b|because\b|since\b|as\b|the\b)))"
_RIGHT = r"(?:the\s+)?(?:only\s+|most\s+|best\s+)?(?:correct|right|accurate)"
_NAMED = re.compile(
    rf"""\b(?:
        (?:correct|right|best)\s+(?:answer|option|choice)\s+is\s*:?\s*\(?(?:(?:option|choice)\s+)?\(?{_OPTION}
        |(?:option|choice)\s+\(?{_OPTION}\)?\s+(?:is|as)\s+(?:therefore\s+|thus\s+)?{_RIGHT}\b
        |mak(?:ing|es)\s+(?:option|choice)\s+\(?{_OPTION}\)?\s+{_RIGHT}\b
        |(?<!not\s)(?:align|correspond|consistent|agree)s?\s+(?:with|to)\s+option\s+{_OPTION}
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_NEGATIVE_STEM = re.compile(r"\bNOT\b|(?i:\b(?:except|incorrect|false|least|untrue)\b)")
_NEGATED = re.compile(
    r"\b(?:not|nor|rather than|unlike|instead of|without|never|no)(?: \w+){0,2} $"
)
MIN_RESTATED = 4
"""Words of an option that an explanation may restate; shorter ones are mentioned for contrast."""


def named_options(explanation: str, num_options: int) -> set[int]:
    """Return the 0-based positions that the explanation calls right, by number or letter."""
    names = (match[match.lastindex or 0] for match in _NAMED.finditer(explanation))
    positions = (int(name) - 1 if name.isdigit() else LETTERS.index(name) for name in names)
    return {position for position in positions if 0 <= position < num_options}


def favours(explanation: str, option: str, other: str) -> bool:
    """Say whether the explanation uses a larger share of `option`'s own words than of `other`'s."""
    used, these, those = map(content_words, (explanation, option, other))
    shares = [len(own & used) / max(1, len(own)) for own in (these - those, those - these)]
    return shares[0] > shares[1]


def restated_instead(
    explanation: str, question: str, choices: Sequence[str], answer: int
) -> int | None:
    """Return the first option that the explanation restates word for word, and not the key.

    None for a stem that asks for the exception, where the explanation restates what holds.
    """
    if _NEGATIVE_STEM.search(question):
        return None
    said = f" {' '.join(words(explanation))} "
    key = words(choices[answer])
    if f" {' '.join(key)} " in said:
        return None
    for position, choice in enumerate(choices):
        option = words(choice)
        before, found, _ = said.partition(f" {' '.join(option)} ")
        new = len(option) >= MIN_RESTATED and not set(option) <= set(key)
        if found and new and not _NEGATED.search(f"{before} "):
            return position
    return None


def leaks_key(explanation: str, choices: Sequence[str], answer: int) -> bool:
    """Say whether the key alone has the largest word overlap (Jaccard) with the explanation."""
    said = set(words(explanation))
    overlaps = [jaccard(said, set(words(choice))) for choice in choices]
    key = overlaps.pop(answer)
    return key > max(overlaps)
