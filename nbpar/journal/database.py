"""The SQLite file of one journal, opened only when it is intact and of this format.

Several processes may have it open at once: SQLite lets one of them write at a time.  It uses
no write-ahead log, because that does not work in home folders on a network.  Results are only
appended, without an index, whose pages a million of them would touch at random: see `reader` for how
they are found.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from nbpar.errors import JournalError
from nbpar.host.frames import warn
from nbpar.journal.paths import ADVICE, set_aside

APPLICATION = 0x6E627061
"""Application id in the file: "nbpa"."""

FORMAT = 1

BUSY = 5.0
"""Seconds to wait for another writing process."""

CHECKED_WHOLE = 64 << 20
"""Maximal size of files that are checked completely before use; rows are checked in any case."""

_Answer = TypeVar("_Answer")

_TABLES = f"""
CREATE TABLE versions (
    id INTEGER PRIMARY KEY, digest BLOB UNIQUE, function TEXT, parts TEXT, begun REAL, used REAL,
    items INTEGER DEFAULT 0);
CREATE TABLE results (version INTEGER, key BLOB, value BLOB, sum BLOB);
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {FORMAT};
"""


class _UnfitError(Exception):
    """The file is not a usable journal; the message has the reason."""


def in_journal(path: Path, action: Callable[[sqlite3.Connection], _Answer]) -> _Answer:
    """Run a function in one transaction of a journal, which is created if there is none.

    An unusable file is set aside with a warning.

    Raises:
        JournalError: it cannot be opened, or belongs to another user.
    """
    file = _file(path)
    try:
        return _do(path, action)
    except _UnfitError as unfit:
        if _file(path) == file:  # otherwise another process has set it aside, and created a new one
            aside = set_aside(path)
            warn(f"journal {path.stem!r} {unfit}; it was set aside as {aside}, and a new one begins")
    return _do(path, action)


def connect(path: Path) -> sqlite3.Connection:
    """Open an intact journal, or create one."""
    _refuse_foreign_owner(path)
    with _understood(path):
        connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def _do(path: Path, action: Callable[[sqlite3.Connection], _Answer]) -> _Answer:
    with closing(connect(path)) as connection, _understood(path), transaction(connection):
        return action(connection)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Execute the block atomically."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # a full disk has already ended it
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA journal_mode = TRUNCATE")
    if _said(connection, "schema_version") == 0:
        _begin(connection, path)
    if _said(connection, "application_id") != APPLICATION:
        raise _UnfitError("is a database of another program")
    if (made := _said(connection, "user_version")) != FORMAT:
        raise _UnfitError(f"has format {made} and this nbpar reads format {FORMAT}")
    if path.stat().st_size <= CHECKED_WHOLE:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise _UnfitError(f"is damaged ({verdict.splitlines()[-1]})")


def _begin(connection: sqlite3.Connection, path: Path) -> None:
    path.chmod(0o600)
    with transaction(connection):
        if _said(connection, "schema_version") == 0:  # no other process was faster
            for statement in _TABLES.strip().split(";\n"):
                connection.execute(statement.rstrip(";"))


def _said(connection: sqlite3.Connection, what: str) -> int:
    return int(connection.execute(f"PRAGMA {what}").fetchone()[0])


@contextmanager
def _understood(path: Path) -> Iterator[None]:
    """Translate SQLite's exceptions in the block to those of a journal."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise JournalError(
                f"journal {path.stem!r} is being written by another process and was not released within "
                f"{BUSY:g} s; take another name, or wait until that is over"
            ) from error
        raise JournalError(
            f"journal {path.stem!r} cannot be opened at {path}: {error}; "
            f"is its folder writable?  If not, {ADVICE}"
        ) from error
    except sqlite3.DatabaseError as error:
        raise _UnfitError(f"is no journal, or is damaged ({error})") from error


def _file(path: Path) -> int | None:
    """Return an identifier of the file at a path, which another file may replace."""
    return path.stat().st_ino if path.exists() else None


def _refuse_foreign_owner(path: Path) -> None:
    """Reject files of other users: values are pickles, which may run code when they are read."""
    if hasattr(os, "getuid") and path.exists() and path.stat().st_uid != os.getuid():
        raise JournalError(f"journal {path.stem!r} at {path} belongs to another user; it is not read")
