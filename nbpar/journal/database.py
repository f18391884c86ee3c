"""The SQLite file of one journal: opened only when it is whole and ours.

Several processes may have it open at once: SQLite lets one of them write at a time.  It uses
no write-ahead log, because that does not work in home folders on a network.  Results are only
appended, without an index, whose pages a million of them would touch at random: `reader` says how
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
from nbpar.journal.folder import set_aside
from nbpar.journal.saying import warn

APPLICATION = 0x6E627061
"""What the file says of the program that made it: "nbpa"."""

FORMAT = 1

BUSY = 5.0
"""Seconds to wait for another process that writes."""

CHECKED_WHOLE = 64 << 20
"""Files up to so many bytes are read through before they are used; rows are checked in any case."""

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
    """The file is no journal that can be used; says why."""


def in_journal(path: Path, action: Callable[[sqlite3.Connection], _Answer]) -> _Answer:
    """Do something in one transaction of a journal, which is begun when there is none.

    A file that cannot be used is set aside with a warning.

    Raises:
        JournalError: it cannot be opened at all, or belongs to another user.
    """
    file = _file(path)
    try:
        return _do(path, action)
    except _UnfitError as unfit:
        if _file(path) == file:  # else another process has set it aside, and begun a new one
            aside = set_aside(path)
            warn(f"journal {path.stem!r} {unfit}; it was set aside as {aside}, and a new one begins")
    return _do(path, action)


def connect(path: Path) -> sqlite3.Connection:
    """Open a journal that is whole, or begin one."""
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
    """Do all of the block or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # a full disk has ended it already
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
        if _said(connection, "schema_version") == 0:  # no other process was quicker
            for statement in _TABLES.strip().split(";\n"):
                connection.execute(statement.rstrip(";"))


def _said(connection: sqlite3.Connection, what: str) -> int:
    return int(connection.execute(f"PRAGMA {what}").fetchone()[0])


@contextmanager
def _understood(path: Path) -> Iterator[None]:
    """Turn what SQLite raises in the block into what it means for a journal."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise JournalError(
                f"journal {path.stem!r} is being written by another process and did not get free within "
                f"{BUSY:g} s; take another name, or wait until that is over"
            ) from error
        raise JournalError(f"journal {path.stem!r} cannot be opened at {path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise _UnfitError(f"is no journal, or is damaged ({error})") from error


def _file(path: Path) -> int | None:
    """Tell a file from another one that may get its name."""
    return path.stat().st_ino if path.exists() else None


def _refuse_foreign_owner(path: Path) -> None:
    """Values are pickles, which may run code when they are read: those of others are not read."""
    if hasattr(os, "getuid") and path.exists() and path.stat().st_uid != os.getuid():
        raise JournalError(f"journal {path.stem!r} at {path} belongs to another user; it is not read")
