"""One file over HTTP: resumed where it broke off, checked, and renamed when it is whole.

Until then the bytes lie in `.NAME.part`, and `.NAME.tag` holds the ETag or date of the server's
file: a rest is only asked for with If-Range, so two versions never end up in one file.
"""

import errno
import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from tqdm import tqdm

from proteinlm_ext import __version__
from proteinlm_ext.errors import ProteinLMError

# Seconds before each further try; a server's Retry-After counts up to the longest of them.
_DELAYS = (1, 2, 4, 8, 16)
_CHUNK = 1 << 20
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

_Result = TypeVar("_Result")


class FetchError(ProteinLMError):
    """A download that cannot be trusted or finished; the message says what to do."""


class _BusyError(Exception):
    """The server asks to come again later, in `wait` seconds if it says when."""

    def __init__(self, status: int, wait: float) -> None:
        super().__init__(f"status {status}")
        self.wait = wait


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """What the server offers. `size` (bytes) and `md5` are what it publishes, if it does."""

    name: str
    url: str
    size: int | None = None
    md5: str | None = None


@dataclass(frozen=True, slots=True)
class Digests:
    """Size in bytes and hexadecimal hashes of a file on disk."""

    size: int
    md5: str
    sha256: str


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder; the name comes from a server.

    Raises:
        FetchError: The name could lie outside the folder, or hidden in it.
    """
    if not _SAFE_NAME.fullmatch(name):
        raise FetchError(f"The server lists a file named {name!r}; such a name is not taken.")
    return folder / name


def open_client() -> httpx2.Client:
    """Return a client that follows redirects, to http and https only."""
    return httpx2.Client(
        follow_redirects=True,
        timeout=60,
        # Compressed files must arrive as they are stored: some servers label a .gz as an encoding.
        headers={"User-Agent": f"proteinlm-ext/{__version__}", "Accept-Encoding": "identity"},
    )


def get_bytes(client: httpx2.Client, url: str, limit: int | None = None) -> bytes:
    """Return a small document, or its first `limit` bytes.

    Raises:
        FetchError: The server has no such document, or cannot be reached.
    """
    headers = {"Range": f"bytes=0-{limit - 1}"} if limit else {}

    def read() -> bytes:
        with client.stream("GET", url, headers=headers) as response:
            _check_status(response)
            data = b""
            for chunk in response.iter_raw():
                data += chunk
                if limit and len(data) >= limit:
                    break
            return data[:limit]

    return _retry(read, url)


def get_validator(client: httpx2.Client, url: str) -> str:
    """Return the ETag or date of the server's file, "" if it gives neither.

    Raises:
        FetchError: The server has no such file, or cannot be reached.
    """

    def read() -> str:
        response = client.head(url)
        _check_status(response)
        return _validator(response)

    return _retry(read, url)


def download(
    client: httpx2.Client, remote: RemoteFile, folder: Path, *, progress: bool
) -> tuple[Digests, str]:
    """Bring a file into a folder, going on with what an earlier call left there.

    Returns:
        Its digests, and the ETag or date that the server gave ("" for none).

    Raises:
        FetchError: The server fails for good, the file is not what it publishes (then it is
            removed), or the disk is full (then what is there stays, for the next call).
    """
    path = inside(folder, remote.name)
    part, tag = path.with_name(f".{remote.name}.part"), path.with_name(f".{remote.name}.tag")
    with tqdm(
        desc=remote.name,
        unit="B",
        unit_scale=True,
        total=remote.size,
        disable=None if progress else True,  # None: no bar where stderr is not a terminal
    ) as bar:
        try:
            _retry(
                lambda: _transfer(client, remote, part, tag, bar),
                remote.url,
                lambda: _size(part),
            )
            digests = digest(part)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise FetchError(
                    f"The disk is full: {_size(part)} bytes of {remote.name} are kept in {part}. "
                    "Free some space and run the same command again; it goes on from there."
                ) from error
            raise FetchError(f"{part} could not be written: {error}") from error
    validator = tag.read_text(encoding="utf-8") if tag.exists() else ""
    if fault := _fault(remote, digests):
        part.unlink()
        tag.unlink(missing_ok=True)
        raise FetchError(
            f"{remote.url} arrived with {fault}; it was removed. Run the same command again. If "
            "that does not help, the server is being updated: try later."
        )
    part.replace(path)
    tag.unlink(missing_ok=True)
    return digests, validator


def digest(path: Path) -> Digests:
    """Return the size and the hashes of a file, read once."""
    md5, sha256, size = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    with path.open("rb") as data:
        while chunk := data.read(_CHUNK):
            md5.update(chunk)
            sha256.update(chunk)
            size += len(chunk)
    return Digests(size, md5.hexdigest(), sha256.hexdigest())


def _fault(remote: RemoteFile, found: Digests) -> str | None:
    if remote.size is not None and remote.size != found.size:
        return f"{found.size} bytes, not the {remote.size} that the server publishes"
    if remote.md5 is not None and remote.md5 != found.md5:
        return f"MD5 {found.md5}, not the {remote.md5} that the server publishes"
    return None


def _transfer(client: httpx2.Client, remote: RemoteFile, part: Path, tag: Path, bar: Any) -> None:
    """Ask for what is missing and append it."""
    have = _size(part) if tag.exists() else 0
    headers = {"Range": f"bytes={have}-", "If-Range": tag.read_text("utf-8")} if have else {}
    with client.stream("GET", remote.url, headers=headers) as response:
        if have and response.status_code == 416:  # nothing is missing, or the file has shrunk
            if response.headers.get("Content-Range") == f"bytes */{have}":
                return
            part.unlink()
            raise _BusyError(416, 0)
        _check_status(response)
        if response.status_code != 206:
            have = 0
            tag.unlink(missing_ok=True)
            part.unlink(missing_ok=True)
            if validator := _validator(response):
                tag.write_text(validator, encoding="utf-8")
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink()
            raise _BusyError(206, 0)
        if length := response.headers.get("Content-Length"):
            bar.total = have + int(length)
        bar.n = have
        bar.refresh()
        with part.open("ab") as file:
            for chunk in response.iter_raw():
                file.write(chunk)
                bar.update(len(chunk))


def _validator(response: httpx2.Response) -> str:
    """Return what If-Range may carry: a strong ETag, else the date (RFC 9110, section 13.1.5)."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified", "")


def _check_status(response: httpx2.Response) -> None:
    status = response.status_code
    if status in _BUSY:
        wait = response.headers.get("Retry-After", "")
        raise _BusyError(status, min(float(wait), _DELAYS[-1]) if wait.isdigit() else 0)
    if status not in (200, 206):
        raise FetchError(
            f"{response.url} gave status {status}. Is it the right release, and does the mirror "
            "have it? A browser shows what is there."
        )


def _retry(
    attempt: Callable[[], _Result], url: str, size: Callable[[], int] = lambda: 0
) -> _Result:
    """Try until it works; five times in a row without a further chunk of bytes are too many."""
    failures, before = 0, size()
    while True:
        try:
            return attempt()
        except (httpx2.UnsupportedProtocol, httpx2.TooManyRedirects, httpx2.InvalidURL) as error:
            raise FetchError(f"{url} is refused: {error}. Only http and https are taken.") from None
        except (httpx2.TransportError, _BusyError) as error:
            if size() - before >= _CHUNK:
                failures = 0
            if failures == len(_DELAYS):
                raise FetchError(
                    f"{url} could not be read ({error or type(error).__name__}), "
                    f"{failures + 1} tries. Run the same command later; it goes on where it stood."
                ) from error
            time.sleep(max(_DELAYS[failures], getattr(error, "wait", 0)))
            failures, before = failures + 1, size()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
