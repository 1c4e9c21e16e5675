"""The answers of models, kept in SQLite so that a run that was killed goes on where it was.

A save is one transaction: after SIGKILL it is there whole or not at all. Processes may share the
store. One that is damaged is set aside under another name, neither repaired nor believed.
"""

import hashlib
import itertools
import json
import logging
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from proteinlm_ext.errors import ProteinLMError

Value: TypeAlias = Any  # what JSON can hold: [log-probability, is greedy], a text, a number
_T = TypeVar("_T")

logger = logging.getLogger("proteinlm_ext")

_BUSY_SECONDS = 60
_RETRIES = 4  # before each a store was set aside, by us or by another process
_VERSION = 1
_ROWS = "answer TEXT NOT NULL, checksum INTEGER NOT NULL"
_TABLES = (
    "CREATE TABLE models (model TEXT PRIMARY KEY, description TEXT NOT NULL) WITHOUT ROWID",
    f"CREATE TABLE answers (model TEXT, key TEXT, {_ROWS}, PRIMARY KEY (model, key)) WITHOUT ROWID",
    f"CREATE TABLE batches (model TEXT, key TEXT, {_ROWS}, PRIMARY KEY (model, key)) WITHOUT ROWID",
)
# What a write meets when another process has set the file aside, before and during it.
_MOVED = (sqlite3.SQLITE_READONLY_DBMOVED, sqlite3.SQLITE_IOERR_DELETE_NOENT)

_connect = partial(sqlite3.connect, timeout=_BUSY_SECONDS, isolation_level=None)
_json = partial(json.dumps, separators=(",", ":"))


class AnswerStore:
    """The answers of one model, among those of others in a folder.

    Its methods raise ProteinLMError where the file cannot be read or written: no permission, no
    room, or locked by another process for over a minute.
    """

    def __init__(self, folder: Path, model: Mapping[str, Any]) -> None:
        """Open `answers.sqlite` in the folder, or start it, for a model described as JSON can."""
        self._path = folder / "answers.sqlite"
        description = _json(model, sort_keys=True)
        self._model = hashlib.sha256(description.encode()).hexdigest()
        self._described = (self._model, description)
        self._connection: sqlite3.Connection | None = None
        self._inode: int | None = None
        self._attempt(lambda _: None)

    def batch(self, key: str) -> dict[str, Value] | None:
        """Return the answers of a finished batch as they were saved, None if it never was."""
        return self._attempt(lambda connection: self._read(connection, "batches", key))

    def known(self, requests: Iterable[str]) -> dict[str, Value]:
        """Return those of the requests that have an answer: the one that was saved first."""
        keys = dict.fromkeys(requests)

        def read(connection: sqlite3.Connection) -> dict[str, Value]:
            with connection:
                connection.execute("BEGIN")  # one lock for all of them
                found = {key: self._read(connection, "answers", key) for key in keys}
            return {key: answer for key, answer in found.items() if answer is not None}

        return self._attempt(read)

    def save(self, answers: Mapping[str, Value], batch: str | None = None, **beside: Value) -> None:
        """Save answers by request and, with a batch's key, all of them as a finished batch.

        What is given `beside` is part of the batch alone.

        What is there already stays: another process may have answered the same.
        """
        rows = [self._row(key, _json(answer)) for key, answer in answers.items()]
        finished = [] if batch is None else [self._row(batch, _json({**answers, **beside}))]

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                insert = "INSERT OR IGNORE INTO {} VALUES (?, ?, ?, ?)"
                connection.executemany(insert.format("answers"), rows)
                connection.executemany(insert.format("batches"), finished)

        self._attempt(write)

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _row(self, key: str, answer: str) -> tuple[str, str, str, int]:
        # SQLite looks after the structure of its pages, not after their content: hence a checksum.
        return self._model, key, answer, zlib.crc32(f"{self._model} {key} {answer}".encode())

    def _read(self, connection: sqlite3.Connection, table: str, key: str) -> Value | None:
        query = f"SELECT * FROM {table} WHERE model = ? AND key = ?"  # noqa: S608
        row = connection.execute(query, (self._model, key)).fetchone()
        if row is not None and row != self._row(key, row[2]):
            raise sqlite3.DatabaseError(f"{key} in {table} does not match its checksum")
        return None if row is None else json.loads(row[2])

    def _attempt(self, work: Callable[[sqlite3.Connection], _T], retries: int = _RETRIES) -> _T:
        """Do the work; where the store turns out to be damaged, do it on a new one."""
        try:
            try:
                return work(self._connection or self._open())
            except sqlite3.DatabaseError as error:
                self.close()
                # Full, locked and the like have classes of their own; this one is for damage.
                damaged = type(error) is sqlite3.DatabaseError
                moved = getattr(error, "sqlite_errorcode", None) in _MOVED
                if not retries or not (damaged or moved):
                    raise
                if damaged:
                    self._set_aside(error)
        except (OSError, sqlite3.DatabaseError) as error:
            raise ProteinLMError(
                f"Could not read or write {self._path}: {error}. See to permission, room on the "
                f"disk, or what locks the file for over {_BUSY_SECONDS} s, or name another --cache."
            ) from error
        return self._attempt(work, retries - 1)

    def _open(self) -> sqlite3.Connection:
        """Connect, check the whole file, and make the tables where there are none."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Before connecting: where another process sets the file aside in between, ours is sound.
        self._inode = self._path.stat().st_ino if self._path.exists() else None
        self._connection = connection = _connect(self._path)
        # Bytes that are no text are for the checksum to find.
        connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            found = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != ("ok",):
                raise sqlite3.DatabaseError(found[0])
            if _schema(connection) == {0}:
                for statement in (*_TABLES, f"PRAGMA user_version = {_VERSION}"):
                    connection.execute(statement)
            if _schema(connection) != {_VERSION, *_TABLES}:
                raise sqlite3.DatabaseError("its tables are not of our version")
            connection.execute("INSERT OR IGNORE INTO models VALUES (?, ?)", self._described)
        return connection

    def _set_aside(self, reason: sqlite3.DatabaseError) -> None:
        """Rename the file, unless another process did so since we opened it."""
        name = str(self._path)
        with closing(_connect(f"{name}.lock")) as alone:
            alone.execute("BEGIN EXCLUSIVE")
            if not self._path.exists() or self._path.stat().st_ino != self._inode:
                return
            names = (f"{name}.set-aside-{number}" for number in itertools.count(1))
            aside = next(free for free in names if not Path(free).exists())
            # The journal first: SQLite must not find it beside the new file.
            for end in ("-journal", ""):
                if Path(name + end).exists():
                    Path(name + end).rename(aside + end)
        logger.warning("%s cannot be used: %s. It is now %s; starting anew.", name, reason, aside)


def _schema(connection: sqlite3.Connection) -> set[Any]:
    """Return the version, 0 for a new file, and the definitions of all tables."""
    version = connection.execute("PRAGMA user_version").fetchone()
    return {*version, *(sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master"))}
