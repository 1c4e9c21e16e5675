"""What stands in a file, whatever its name says: pickles, archives, weights, tables, text."""

import gzip
import io
import pickletools
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import pyarrow
import pyarrow.compute
import pyarrow.parquet

from proteinlm_ext.errors import MissingDependencyError
from proteinlm_hub.scan_patterns import Finding, Hit, find, mask, unescape, unusual
from proteinlm_hub.scan_rows import LICENCE, check_columns, check_text, free_rows

MAX_TEXT = 64 * 2**20
"""Bytes of a text; it is read whole. The largest tokenizers have half of it."""
MAX_UNPACKED = 256 * 2**20
"""Bytes of an archive's members together."""
_MAX_HEADER = 100_000_000
"""Bytes of a safetensors header: the format's own limit (safetensors, README, "Format")."""
_MAX_SHOWN = 20
"""Findings of a rule in a text, and of an archive."""
_BATCH = 1024
"""Rows of a table that are in memory at once."""
# Opcodes that memoize, import or call: what pickle writes has one, a short text that could be read
# as a pickle ("N. gonorrhoeae") has none.
_TELLING = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GLOBAL", "INST", "REDUCE", "BUILD"}
_WORDS = {"tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "added_tokens.json"}
_BROKEN_ARCHIVE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, ValueError,
    RuntimeError, NotImplementedError,  # encrypted; packed in a way that Python cannot undo
)  # fmt: skip
_Members = Callable[[Path], Iterator[tuple[str, IO[bytes] | None]]]
_pa, _pc, _pq = (cast("Any", module) for module in (pyarrow, pyarrow.compute, pyarrow.parquet))


def scan_file(file: Path, path: str, names: Sequence[str]) -> Iterator[Finding]:
    """Yield what a file must not hold.

    Args:
        file: The file.
        path: What findings call it.
        names: Of the machine and its user.

    Raises:
        MissingDependencyError: Weights cannot be read because safetensors is not installed.
        OSError: The file cannot be read.
    """
    if path.endswith(".parquet"):
        yield from _scan_table(file, path, names)
    elif path.endswith(".safetensors"):
        yield from _scan_weights(file, path, names)
    elif members := _open_archive(file):
        if members is not _gzip_members or not path.endswith(".gz"):
            yield Finding(path, None, "archive", "is an archive; publish what is in it instead")
        yield from islice(_scan_archive(members, file, path, names), _MAX_SHOWN)
    elif file.stat().st_size > MAX_TEXT:
        yield Finding(path, None, "oversized", f"is larger than {MAX_TEXT >> 20} MiB and no table")
    else:
        yield from scan_bytes(file.read_bytes(), path, names)


def scan_bytes(data: bytes, path: str, names: Sequence[str]) -> Iterator[Finding]:
    """Yield what a text must not hold; anything else is a pickle, or is refused as unknown."""
    if pickled := _find_pickle(data):
        yield Finding(path, None, "pickle", pickled)
        return
    text = _read_text(data, path)
    if text is None:
        yield Finding(path, None, "unknown-file", "is neither UTF-8 text nor of a known format")
        readable = data.replace(b"\0", b"")  # of UTF-16; a folder is found in any noise
        yield from (it for it in find_lines(readable, path, ()) if it.rule == "token")
        return
    searched = unusual(names) if PurePosixPath(path).name in _WORDS else names
    yield from find_lines(unescape(text), path, searched)
    if searched is names:  # the words of a tokenizer are such names
        yield from check_text(path, text)


def _read_text(data: bytes, path: str) -> bytes | None:
    """Return UTF-8 without byte-order mark, or a SentencePiece model as it is; None if neither."""
    if path.endswith(".model") and data.startswith(b"\n") and b"<unk>" in data[:256]:
        return data
    try:
        text = data.decode("utf-8-sig").encode()
    except UnicodeDecodeError:
        return None
    return None if b"\0" in text else text


def find_lines(text: bytes, path: str, names: Sequence[str]) -> Iterator[Finding]:
    """Yield the lines of a text with what must not be there, each rule once a line."""
    shown: dict[Finding, None] = {}
    of_rule: dict[str, int] = {}
    ends: dict[tuple[str, str], int] = {}  # of the last line that is shown
    for hit in find(text, names):
        if of_rule.get(hit.rule, 0) == _MAX_SHOWN or hit.start < ends.get(hit[2:], 0):
            continue
        ends[hit[2:]] = len(text) if (end := text.find(b"\n", hit.start)) < 0 else end
        found = Finding(path, text.count(b"\n", 0, hit.start) + 1, hit.rule, hit.text)
        of_rule[hit.rule] = of_rule.get(hit.rule, 0) + (found not in shown)
        shown[found] = None
    yield from sorted(shown)


def _find_pickle(data: bytes) -> str | None:
    """Return what kind of pickle it is. Old protocols have no magic: their opcodes are followed."""
    pickled = "is a pickle, which runs code when it is loaded"
    if data[:1] == b"\x80" and data[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return pickled
    if data.startswith(b"\x93NUMPY") and b"O" in data[:128].partition(b"'descr'")[2][:8]:
        return "is a NumPy array of objects, which is a pickle"
    try:
        pickletools.dis(data, cast("Any", _Nowhere()), indentlevel=0)
    except (ValueError, IndexError, KeyError) as error:
        # Neither of these keeps it from being loaded.
        if not any(said in str(error) for said in ("stack not empty", "memo key")):
            return None
    return pickled if _has_telling(data) else None


def _has_telling(data: bytes) -> bool:
    try:
        return any(op.name in _TELLING for op, _, _ in pickletools.genops(data))
    except ValueError:  # no opcodes until there
        return False


class _Nowhere:
    def write(self, _: str) -> None:
        """Keep nothing: what is printed of a short file can fill the memory."""


def _open_archive(file: Path) -> _Members | None:
    if zipfile.is_zipfile(file):  # also behind other content
        return _zip_members
    with file.open("rb") as data:
        head = data.read(512)
    if _is_tar(head):
        return _tar_members
    return _gzip_members if head.startswith(b"\x1f\x8b") else None


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def _scan_archive(
    members: _Members, file: Path, path: str, names: Sequence[str]
) -> Iterator[Finding]:
    """Yield what the members of an archive must not hold; an archive in it is refused unopened."""
    room = MAX_UNPACKED
    try:
        for name, data in members(file):
            content = data.read(room + 1) if data else b""
            if (room := room - len(content)) < 0:
                unpacked = f"unpacks to more than {MAX_UNPACKED >> 20} MiB"
                yield Finding(path, None, "oversized", unpacked)
                return
            inner = f"{path}!{mask(name, names)}" if name else path
            if data is None:
                yield Finding(inner, None, "symlink", "is a link or a device in an archive")
            elif content.startswith((b"PK\3\4", b"\x1f\x8b")) or _is_tar(content):
                yield Finding(inner, None, "nested-archive", "is an archive in an archive")
            else:
                found = scan_bytes(content, inner, names)
                # Within a zip or tar, which is refused anyway, what is unknown need not be named.
                yield from (it for it in found if not name or it.rule != "unknown-file")
    except _BROKEN_ARCHIVE:
        yield Finding(path, None, "unreadable", "is an archive that cannot be read whole")


def _zip_members(file: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    with zipfile.ZipFile(file) as archive:
        yield "comment", io.BytesIO(archive.comment)
        for member in archive.infolist():
            if not member.is_dir():
                with archive.open(member) as data:
                    yield member.filename, data


def _tar_members(file: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    with tarfile.open(file) as archive:
        for member in archive:
            if not member.isdir():
                yield member.name, archive.extractfile(member) if member.isfile() else None


def _gzip_members(file: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    with gzip.open(file) as data:
        yield "", cast("IO[bytes]", data)


def _scan_weights(file: Path, path: str, names: Sequence[str]) -> Iterator[Finding]:
    """Search the header; dtypes, offsets and the length are checked by the library."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise MissingDependencyError(
            "Weights are checked with safetensors: pip install 'proteinlm-ext[hf]'"
        ) from error
    with file.open("rb") as data:
        length = int.from_bytes(data.read(8), "little")
        header = data.read(length) if length <= _MAX_HEADER else b""
    yield from _without_lines(find_lines(unescape(header), path, names))
    try:
        with safe_open(file, framework="numpy"):
            pass
    except SafetensorError:  # its message may quote the header
        text = "is no safetensors file: header, dtypes, offsets or length are wrong"
        yield Finding(path, None, "broken", text)


def _scan_table(file: Path, path: str, names: Sequence[str]) -> Iterator[Finding]:
    """Search metadata and cells of a Parquet file, and count the rows not to be passed on."""
    shown: set[tuple[str, str]] = set()
    first_row = unfree = 0
    try:
        with _pq.ParquetFile(file) as table:
            yield from _without_lines(find_lines(_table_texts(table), path, names))
            yield from check_columns(path, table.schema_arrow)
            for batch in table.iter_batches(_BATCH):
                unfree += len(batch) - (_pc.sum(free_rows(batch)).as_py() or 0)
                for column, hit in _find_cells(batch, unusual(names)):
                    if (column, hit.text) not in shown:
                        shown.add((column, hit.text))
                        rows = f"column {mask(column, names)!r}, rows {first_row} to "
                        text = f"{hit.text}, in {rows}{first_row + len(batch) - 1}"
                        yield Finding(path, None, hit.rule, text)
                first_row += len(batch)
    except (_pa.ArrowException, OSError):
        yield Finding(path, None, "broken", "is no Parquet file that can be read")
    if unfree:
        text = f"text whose licence does not let it be passed on ({unfree} rows)"
        yield Finding(path, None, LICENCE, text)


def _table_texts(table: Any) -> bytes:
    """Return names and metadata of a Parquet file as lines."""
    schema = table.schema_arrow.to_string(truncate_metadata=False, element_size_limit=10**9)
    stored: dict[bytes, bytes] = table.metadata.metadata or {}
    texts = [part for pair in stored.items() if pair[0] != b"ARROW:schema" for part in pair]
    return b"\n".join([schema.encode(), str(table.metadata.created_by).encode(), *texts])


def _find_cells(batch: Any, names: Sequence[str]) -> Iterator[tuple[str, Hit]]:
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        for texts in _texts(column):
            # Joined, so that a search is one and not one a cell.
            every = _pa.ListArray.from_arrays(_pa.array([0, len(texts)], _pa.int32()), texts)
            joined = _pc.binary_join(every, _pa.scalar("\n", texts.type))
            found = find(unescape(joined[0].as_buffer().to_pybytes()), names)
            yield from ((name, hit) for hit in found)


def _texts(column: Any) -> Iterator[Any]:
    """Yield the arrays of text or bytes in an array, without their gaps."""
    kind, types = column.type, _pa.types
    if isinstance(kind, _pa.BaseExtensionType):
        yield from _texts(column.storage)
    elif types.is_dictionary(kind):
        yield from _texts(column.dictionary)
    elif types.is_struct(kind):
        for part in column.flatten():
            yield from _texts(part)
    elif types.is_map(kind):
        yield from _texts(column.keys)
        yield from _texts(column.items)
    elif types.is_nested(kind):
        yield from _texts(column.flatten())
    elif not (types.is_primitive(kind) or types.is_null(kind) or types.is_decimal(kind)):
        yield column.drop_null().cast(_pa.binary())  # text or bytes of whatever width, or an error


def _without_lines(findings: Iterator[Finding]) -> Iterator[Finding]:
    yield from (finding._replace(line=None) for finding in findings)
