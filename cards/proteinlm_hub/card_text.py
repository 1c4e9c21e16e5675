"""The text below a card's front matter: nothing left unfilled, and links that lead somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

_CODE = re.compile(r"^[ \t]*(```+|~~~+).*?^[ \t]*\1[ \t]*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_UNFILLED = {
    r"(?i)\[?more information needed\]?": "a place of a template that was not filled",
    r"\{\{ |\{%|\{# ": "a piece of a Jinja template",
}
_VALUE = {
    r"(?<![\w-])None\b(?!-|\s+[a-z])": "the value None",
    r"(?<![\w-])(nan|NaN)(?![\w-])": "the value NaN",
    r"http://\S+": "a link without encryption; write https",
}
_LINKS = (
    re.compile(r"(?P<image>!\[[^\[\]]*)?\]\(\s*<?(?P<target>[^)\s>]*)"),
    re.compile(r"(?P<image>)^ {0,3}\[[^\]^][^\]]*\]:\s*<?(?P<target>[^\s>]*)", re.MULTILINE),
    re.compile(
        r"""<(?:(?P<image>img)|\w+)\b[^<>]*?\b(?:src|href)\s*=\s*["'](?P<target>[^"']*)""",
        re.IGNORECASE,
    ),
)


def check_text(text: str, start: int, folder: Path | None, *, whole: bool) -> list[str]:
    """Return what is wrong with the text of a card.

    Args:
        text: README.md.
        start: Where its front matter ends (an index).
        folder: Where the linked files are, or None.
        whole: Whether the folder holds all that is published; else only pictures have to be there.
    """
    prose = _CODE.sub(_blank, re.sub(r"[^\n]", " ", text[:start]) + text[start:])
    found = [
        *((match.start(), what) for match, what in _search(_UNFILLED, text)),
        *((match.start(), what) for match, what in _search(_VALUE, prose)),
    ]
    found += [
        (link.start(), fault)
        for pattern in _LINKS
        for link in pattern.finditer(prose)
        if (fault := _check_link(link["target"], folder, whole or bool(link["image"])))
    ]
    return [f"README.md:{text.count(chr(10), 0, at) + 1}: {what}" for at, what in sorted(found)]


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def _search(patterns: dict[str, str], text: str) -> Iterator[tuple[re.Match[str], str]]:
    for pattern, what in patterns.items():
        for match in re.finditer(pattern, text):
            yield match, f"{match[0].strip()!r} is {what}"


def _check_link(target: str, folder: Path | None, must_exist: bool) -> str | None:
    if re.match("https://|#.|http:", target):
        return None  # http: is told by _VALUE
    if not target or re.match(r"[a-z][a-z0-9+.-]*:|//", target, re.IGNORECASE):
        return f"the link {target!r} is neither https nor a file beside the card"
    path = PurePosixPath(unquote(re.split("[?#]", target)[0]))
    if path.is_absolute() or ".." in path.parts:
        return f"the link {target!r} leads out of the repository"
    if folder is not None and must_exist and not (folder / path).exists():
        return f"the link {target!r} leads to a file that is not there"
    return None
