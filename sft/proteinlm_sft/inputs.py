"""Input files: patterns to a sorted list, and one open stream with the sha256 of its bytes.

Local paths, folders, globs and any fsspec URL; gzip is recognised by its first bytes.
"""

import contextlib
import hashlib
import io
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from proteinlm_sft.entry import SourceError

_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class InputFile:
    """One input: its URL or path as fsspec takes it, and its size in bytes as stored."""

    path: str
    size: int

    @property
    def name(self) -> str:
        """The last part of the path: what reports and manifests show, free of local folders."""
        return self.path.rstrip("/").rsplit("/", 1)[-1]


def find_inputs(patterns: Sequence[str], suffixes: Sequence[str] = ()) -> list[InputFile]:
    """Return the files that paths, folders, globs and URLs name.

    Patterns keep their order; what one pattern names is sorted, so that shards follow from the
    inputs. A folder gives every file below it. Hidden files are left out.

    Args:
        patterns: Paths, folders, globs or fsspec URLs.
        suffixes: For folders: take only names that end so, a `.gz` after it allowed.

    Raises:
        SourceError: A pattern names no file, or a file twice.
    """
    import fsspec

    found: list[InputFile] = []
    for pattern in patterns:
        filesystem, path = cast("tuple[Any, str]", fsspec.core.url_to_fs(pattern))
        if filesystem.isdir(path):
            paths = [
                name
                for name in filesystem.find(path)
                if not any(part.startswith(".") for part in name[len(path) :].split("/"))
                and (not suffixes or name.removesuffix(".gz").endswith(tuple(suffixes)))
            ]
        elif any(mark in pattern for mark in ("*" if pattern.startswith("http") else "*?[")):
            paths = [
                name
                for name in filesystem.glob(path)
                if not name.rsplit("/", 1)[-1].startswith(".") and not filesystem.isdir(name)
            ]
        else:
            paths = [path] if filesystem.exists(path) else []
        if not paths:
            raise SourceError(f"No input file: {pattern}. Give a file, folder, glob or URL.")
        found += [
            InputFile(
                filesystem.unstrip_protocol(name).removeprefix("file://"),
                int(filesystem.size(name) or 0),  # a server may not tell
            )
            for name in sorted(paths)
        ]
    seen: set[str] = set()
    for file in found:
        if file.path in seen:
            raise SourceError(f"The input {file.path} is named twice; name each file once.")
        seen.add(file.path)
    return found


def one_input(pattern: str | None) -> InputFile | None:
    """Return the one file that a pattern names, None for none.

    Raises:
        SourceError: It names no file, or several.
    """
    if pattern is None:
        return None
    found = find_inputs([pattern])
    if len(found) > 1:
        names = ", ".join(file.name for file in found[:5])
        raise SourceError(f"{pattern} should be one file and is {len(found)}: {names}. Name one.")
    return found[0]


@dataclass(slots=True)
class Source:
    """An open input: `stream` gives the decompressed bytes, `sha256` grows with what was read."""

    stream: BinaryIO
    _hashed: "_HashedFile" = field(repr=False)

    def sha256(self) -> str:
        """Read what is left of the stored bytes and return their sha256 as hex."""
        while self._hashed.read(_CHUNK):
            pass
        return self._hashed.digest.hexdigest()


class _HashedFile(io.RawIOBase):
    """Passes reads through and hashes the bytes, so that a file is read once."""

    def __init__(self, file: BinaryIO, head: bytes, path: str) -> None:
        self.digest = hashlib.sha256(head)
        self._file, self._head, self._path = file, head, path

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            data = self._file.read(len(buffer) - len(self._head))
        except OSError as error:
            raise SourceError(f"{self._path} cannot be read: {error}") from error
        self.digest.update(data)
        data, self._head = self._head + data, b""
        buffer[: len(data)] = data
        return len(data)


@contextlib.contextmanager
def open_input(file: InputFile) -> Generator[Source]:
    """Open a plain or gzip file for one pass.

    Raises:
        SourceError: The file is empty, cannot be read, or its gzip data are broken or cut short.
    """
    import fsspec
    from isal import igzip, isal_zlib

    broken = cast("tuple[type[Exception], ...]", (EOFError, igzip.BadGzipFile, isal_zlib.error))
    try:
        raw = cast("Any", fsspec.open(file.path, "rb")).open()
        head = raw.read(len(_GZIP))
    except OSError as error:
        raise SourceError(f"{file.path} cannot be read: {error}") from error
    try:
        with raw:
            if not head:
                raise SourceError(f"{file.path} is empty. Download it again or leave it out.")
            hashed = _HashedFile(raw, head, file.path)
            stored = io.BufferedReader(hashed, _CHUNK)
            stream = igzip.IGzipFile(fileobj=stored) if head == _GZIP else stored
            yield Source(cast("BinaryIO", stream), hashed)
    except broken as error:
        raise SourceError(
            f"{file.path}: broken or truncated gzip ({error}). Download it again; nothing of it "
            "was used."
        ) from error


def file_sha256(file: InputFile) -> str:
    """Return the sha256 of the stored bytes as hex."""
    with open_input(file) as source:
        return source.sha256()
