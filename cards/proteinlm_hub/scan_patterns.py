r"""What a text must not hold: tokens and keys, folders of a machine, names of host and user.

Works on bytes, so that a file of any encoding is searched at the same speed. An encoding that hides
a secret on purpose (base64, percent signs, one split over lines) is not undone; `\u00XX` and `\/`
of JSON are.
"""

import getpass
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

COMMON_NAMES = frozenset(
    (
        "admin", "administrator", "build", "builder", "cloud", "codespace", "container", "debian",
        "default", "docker", "guest", "home", "host", "jenkins", "jovyan", "kaggle", "linux",
        "localhost", "login", "model", "node", "nobody", "notebook", "protein", "python", "root",
        "runner", "sandbox", "server", "service", "test", "tester", "training", "ubuntu", "user",
        "vagrant", "vscode", "worker", "workspace",
    )
)  # fmt: skip
"""Users and hosts that say nothing of anybody, and words that a card may well use."""
_SHORTEST_NAME, _SHORTEST_WORD = 4, 6
"""Letters of a name, and of one that is a plain word; a shorter one is found in every text."""
_RESIDUES = frozenset(b"ACDEFGHIKLMNPQRSTVWY")
_CONTROL = re.compile(rb"\\u00[01][0-9a-fA-F]")
_COLOUR = re.compile(rb"(?:\x1b|\\x1b|\\u001b|\\033)\[[0-9;]*m")
_ESCAPED = re.compile(rb"\\u00([2-7][0-9a-fA-F])")


class Finding(NamedTuple):
    """What must not be published, by path in the folder and line; no secret is in `text`."""

    path: str
    line: int | None
    rule: str
    text: str


class Hit(NamedTuple):
    """What was found in a text, and where in its bytes."""

    start: int
    end: int
    rule: str
    text: str


class _Rule(NamedTuple):
    mark: bytes  # stands in every match: looking for it is much faster than the pattern
    pattern: re.Pattern[bytes]
    rule: str
    text: str
    is_real: Callable[[bytes], bool]


def find(data: bytes, names: Sequence[str] = ()) -> Iterator[Hit]:
    """Yield what a text must not hold, of each rule in the order of the text.

    Args:
        data: The text; see `unescape` for JSON.
        names: Of host and user; found as whole words, but not before a slash: `NAME/model` is a
            repository of the Hub, and folders have rules of their own.
    """
    for rule in _RULES:
        if rule.mark in data:
            for match in rule.pattern.finditer(data):
                if rule.is_real(match[0]):
                    yield Hit(*match.span(), rule.rule, rule.text)
    for name in names:
        if (mark := name.encode()) in data:
            word = re.escape(mark)
            for match in re.finditer(_start(word) + rb"(?![\w/-])", data):
                yield Hit(*match.span(), "name", "the name of this machine or of its user")


def unescape(data: bytes) -> bytes:
    r"""Undo `\u00XX`, `\/`, `%2F` and colours of a terminal, which keeps the lines."""
    if b"[" in data:
        data = _COLOUR.sub(b" ", data)
    if rb"\u00" in data:
        data = _ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()), data)
        data = _CONTROL.sub(b" ", data)
    return data.replace(rb"\/", b"/").replace(b"%2F", b"/").replace(b"%3D", b"=")


def mask(path: str, names: Sequence[str] = ()) -> str:
    """Return a path with what must not be shown replaced by stars."""
    data = path.encode("utf-8", "surrogateescape")
    for hit in sorted(find(data, names), reverse=True):
        data = data[: hit.start] + b"***" + data[hit.end :]
    return data.decode("utf-8", "replace")


def machine_names() -> tuple[str, ...]:
    """Return the names of host and user, without those that are common words or very short."""
    host = socket.gethostname()
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without an entry for its user
        user = ""
    found = {host, host.split(".")[0], user}
    return tuple(
        sorted(
            name
            for name in found
            if len(name) >= (_SHORTEST_WORD if name.isalpha() else _SHORTEST_NAME)
            and name.lower() not in COMMON_NAMES
        )
    )


def unusual(names: Sequence[str]) -> list[str]:
    """Return the names that are no plain word: those alone are looked for in texts of others."""
    return [name for name in names if not name.isalpha()]


def _start(prefix: bytes, before: bytes = rb"[A-Za-z0-9]") -> bytes:
    r"""Return a pattern of `prefix` where a word begins, also right after a `\n` inside JSON.

    The prefix comes first because `re` looks for a constant beginning fast.
    """
    after_escape = rb"(?<=\\[nrt]" + prefix + rb")"
    return prefix + rb"(?:(?<!" + before + prefix + rb")|" + after_escape + rb")"


def _any(_: bytes) -> bool:
    return True


def _is_varied(found: bytes) -> bool:
    """Tell a key from a placeholder such as hf_xxxx."""
    return len(set(found[3:])) >= 8


def _has_digit(found: bytes) -> bool:
    return _is_varied(found) and any(byte in b"0123456789" for byte in found)


def _is_no_peptide(found: bytes) -> bool:
    return _is_varied(found) and not _RESIDUES.issuperset(found)


def _is_secret(found: bytes) -> bool:
    """Tell a random value from a name: digits, and both cases or hexadecimal of some length."""
    value = re.split(rb"[:=]", found, maxsplit=1)[1].strip(b" \t\"'\\")
    kinds = [any(low <= byte <= high for byte in value) for low, high in (b"09", b"az", b"AZ")]
    is_hex = len(value) >= 32 and re.fullmatch(rb"[0-9a-f]+", value) is not None
    return _is_varied(value) and kinds[0] and (is_hex or all(kinds))


# What is assigned to a name that ends so, in an environment, JSON, YAML or Python.
_VALUE = rb"(?:_[A-Za-z]+)?\\?[\"']?[ \t]*[:=][ \t]*\\?[\"']?[A-Za-z0-9+/_-]{16,}"


def _has_password(found: bytes) -> bool:
    """Tell a password from the word for it."""
    return any(byte in b"0123456789" for byte in found.rsplit(b":", 1)[1])


def _token(
    mark: bytes, rest: bytes, text: str, real: Callable[[bytes], bool] = _is_varied
) -> _Rule:
    return _Rule(mark, re.compile(_start(re.escape(mark)) + rest, re.DOTALL), "token", text, real)


_TOKENS = (
    _token(b"hf_", rb"(?:oauth_|jwt_)?[A-Za-z0-9]{30,}", "a token of Hugging Face"),
    _token(b"api_org_", rb"[A-Za-z0-9]{30,}", "a token of Hugging Face"),
    _token(b"sk-", rb"[A-Za-z0-9_-]{20,}", "an API key (sk-)", _has_digit),
    _token(b"AKIA", rb"[A-Z0-9]{16}(?![A-Za-z0-9])", "an access key of AWS", _is_no_peptide),
    _token(b"ASIA", rb"[A-Z0-9]{16}(?![A-Za-z0-9])", "an access key of AWS", _is_no_peptide),
    *(
        _token(b"gh%b_" % kind, rb"[A-Za-z0-9]{36,}", "a token of GitHub")
        for kind in (b"p", b"o", b"u", b"s", b"r")
    ),
    _token(b"github_pat_", rb"[A-Za-z0-9_]{40,}", "a token of GitHub"),
    _token(b"glpat-", rb"[A-Za-z0-9_-]{20,}", "a token of GitLab"),
    _token(b"xox", rb"[a-z]-[A-Za-z0-9-]{10,}", "a token of Slack", _has_digit),
    _token(b"AIza", rb"[A-Za-z0-9_-]{35}", "an API key of Google"),
    _token(b"npm_", rb"[A-Za-z0-9]{36}", "a token of npm"),
    _token(b"pypi-", rb"[A-Za-z0-9_-]{50,}", "a token of PyPI"),
    _token(b"eyJ", rb"[\w-]{10,999}\.eyJ[\w-]{10,9999}\.[\w-]{10,}", "a JSON web token"),
    _token(b"wandb_v1_", rb"[A-Za-z0-9_]{40,}", "a key of Weights & Biases"),
    *(
        _token(
            mark,
            # Not every hash near it: commits stand beside that name too.
            rb".{0,40}?(?:key|KEY|login|password).{0,20}?(?<![0-9A-Za-z])[0-9a-f]{40}(?![0-9A-Za-z])",
            "a key of Weights & Biases",
        )
        for mark in (b"wandb", b"WANDB")
    ),
    _token(b"gsk_", rb"[A-Za-z0-9]{40,}", "an API key of Groq"),
    _token(b"xai-", rb"[A-Za-z0-9]{60,}", "an API key of xAI"),
    _token(b"r8_", rb"[A-Za-z0-9]{37,}", "a token of Replicate"),
    _token(b"sk_live_", rb"[A-Za-z0-9]{20,}", "a key of Stripe", _has_digit),
    _token(b"SG.", rb"[\w-]{20,}\.[\w-]{40,}", "a key of SendGrid", _has_digit),
    _token(b"ya29.", rb"[\w-]{40,}", "a token of Google"),
    *(
        _token(mark, rb"[\w/-]{20,}", "the address of a webhook", _has_digit)
        for mark in (b"hooks.slack.com/services/", b"discord.com/api/webhooks/")
    ),
    *(
        _Rule(mark, re.compile(mark + _VALUE), "token", "a key, token or password", _is_secret)
        for word in (b"api_key", b"api-key", b"secret", b"access_key", b"_token", b"password")
        for mark in (word, word.upper())
    ),
    *(
        _Rule(mark, re.compile(mark + _VALUE), "token", "a key, token or password", _is_secret)
        for mark in (
            b"apiKey",
            b"AccessKey",
            b"accessToken",
            b"authToken",
            b"clientSecret",
            b'"token"',
        )
    ),
    _token(b"nvapi-", rb"[\w-]{50,}", "an API key of NVIDIA"),
    _token(b"dckr_pat_", rb"[\w-]{20,}", "a token of Docker"),
    _token(b"xapp-", rb"[\w-]{20,}", "a token of Slack", _has_digit),
    _token(b"hvs.", rb"[\w-]{20,}", "a token of Vault", _has_digit),
    _Rule(b"AccountKey", re.compile(b"AccountKey" + _VALUE), "token", "a key of Azure", _is_secret),
    _token(b"Bearer ", rb"[A-Za-z0-9._~+/-]{20,}", "a token of a web request", _has_digit),
    _Rule(
        b"PRIVATE KEY",
        re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----"),
        "token",
        "a private key",
        _any,
    ),
    _Rule(
        b"://",
        re.compile(rb"://[^\s/:@\"'<>]{0,99}:[^\s/@\"'<>${]{1,199}@[\w.-]"),
        "token",
        "a password in an address",
        _has_password,
    ),
)

# Not after a word (an address, a relative path), a variable or a pattern.
_ROOT = _start(b"/", rb"[\w./~}%$*+-]")
_FOLDERS = (
    rb"(?:home\d*|Users|Volumes|root|tmp|mnt|media|workspaces?|g?scratch|data\d*|work|kaggle|content|"
    rb"users|homes|hpc|pscratch|beegfs|nobackup|afs|localscratch|disk\d*|nvme\d*|checkpoints?|"
    rb"gpfs|lustre|nfs|nas|ceph|fsx|raid|ssd\d*|vol\d*|storage|cluster|projects?|export/home|shared|"
    rb"private/(?:tmp|var)|var/(?:tmp|folders|lib)|dbfs|opt|srv)"
)
_DRIVE = rb"%b(?<=(?:(?<![A-Za-z0-9$])|(?<=\\[nrt]))[A-Z]..)"
_PATHS = tuple(
    _Rule(mark, re.compile(pattern), "path", "a folder of a machine", _any)
    for mark, pattern in (
        (b"/", _ROOT + _FOLDERS + rb"/[^\s\"'<>/*)\]}]"),
        (b"file://", _start(b"file://") + rb"[\w./]"),
        (b"~/", _start(b"~/", rb"[\w/~]") + rb"[\w.][\w.-]{2}"),
        # As lm-eval writes the folder of a model into the name of its results.
        (b"__", rb"__(?<![A-Za-z0-9]__)(?:home|Users|root|mnt|tmp|workspace|data)__[\w.]"),
        (
            b":\\",
            _DRIVE % rb":\\"
            # One backslash before such a letter is a line break or the like in JSON.
            + rb"(?:\\|(?![bfnrtu]))(?:Program Files[^\\]*|[\w.$()-]+)"
            + rb"(?:\\{1,2}[\w.]|\.[a-z]{2,5}\b)",
        ),
        (b":\\", _DRIVE % rb":\\" + rb"\\?Users\b"),
        (b":/", _DRIVE % rb":/" + rb"[\w.-]{2,}/[\w.]{2}"),
    )
)
_HOSTS = tuple(
    _Rule(mark, re.compile(pattern), "name", "the name of a machine", _any)
    for mark, pattern in (
        (b"ip-", rb"(?<![\w-])ip(?:-\d{1,3}){4}(?!\d)"),
        (b".internal", rb"[\w-]+\.(?:compute|ec2|c)\.[\w.-]*internal\b|\.ec2\.internal\b"),
    )
)
_RULES = (*_TOKENS, *_PATHS, *_HOSTS)
