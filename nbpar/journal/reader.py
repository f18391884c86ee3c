"""Find results by the keys of their items.

A resumed map queries results in nearly the order of writing, so they are
read in that order, a page at a time, into a window of bounded size.  Results further away than
that are found by an index, made on demand for this connection alone.
"""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nbpar.core.text import text_of
from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.journal.database import connect
from nbpar.journal.writer import sum_of

SMALL = 512
"""Maximal size in bytes of results that are read together with their positions."""

PAGE = 8192
"""Rows per page."""

WINDOW = 1 << 17
"""Maximal number of rows that were read and not queried yet, rounded up to a page."""

ASKED = 500
"""Number of keys in one query of the index."""

Row = tuple[bytes, int, int, "bytes | None"]
"""Key, row id, checksum, and the result: None for a large one, which is read on demand."""

_COLUMNS = f"results.key, results.rowid, results.sum, CASE WHEN LENGTH(value) < {SMALL} THEN value END"


class Reader:
    """The results that one version of a journal had when this was made.  One thread at a time may use it."""

    def __init__(self, path: Path, version: int, say: Callable[[str], None]) -> None:
        self._version = version
        self._say = say
        self._connection: sqlite3.Connection | None = connect(path)
        self._window: dict[bytes | None, Row] = {}
        self._place = 0
        """The last row read into the window."""

        self._last = int(next(iter(self._read("SELECT MAX(rowid) FROM results")), (0,))[0] or 0)
        self._indexed = False

    def find(self, keys: Sequence[bytes | None]) -> list[Row | None]:
        """Return the result of each key; None if there is none."""
        window = self._window
        found = [window.pop(key, None) for key in keys]
        while self._missing(keys, found) and self._place < self._last and len(self._window) < WINDOW:
            self._read_on()
            found = [row or window.pop(key, None) for row, key in zip(found, keys, strict=True)]
        if self._place < self._last and (missing := self._missing(keys, found)):
            elsewhere = self._look_up(missing)
            found = [row or elsewhere.get(key) for row, key in zip(found, keys, strict=True)]
        return found

    def value(self, row: Row) -> Any:
        """Return a found result.

        Raises:
            LookupError: it is damaged, or cannot be unpickled here (any more).
        """
        value = self._large(row) if row[3] is None else row[3]
        try:
            return pickle.loads(value)
        except BaseException as error:
            if may_be_ctrl_c(error):
                raise
            raise LookupError(f"the result cannot be unpickled here: {text_of(error)}") from error

    def close(self) -> None:
        """Stop finding results.  Idempotent."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._window.clear()

    __del__ = close

    def _large(self, row: Row) -> bytes:
        for (value,) in self._read("SELECT value FROM results WHERE rowid = ?", row[1]):
            if sum_of(row[0], value) == row[2]:
                return bytes(value)
        raise LookupError("the result is damaged")

    # ---- in order of writing

    def _missing(self, keys: Sequence[bytes | None], found: list[Row | None]) -> list[bytes]:
        if None not in found:
            return []
        return [key for key, row in zip(keys, found, strict=True) if row is None and key is not None]

    def _read_on(self) -> None:
        """Read the next page; releases the lock on the file, so that results can be added meanwhile."""
        query = f"""
            SELECT {_COLUMNS} FROM results WHERE rowid > ? AND rowid <= ? AND version = ?
            ORDER BY rowid LIMIT {PAGE}
        """  # noqa: S608 (constants)
        rows = self._read(query, self._place, self._last, self._version)
        self._place = rows[-1][1] if len(rows) == PAGE else self._last
        self._window.update((row[0], row) for row in rows if _sound(row))

    # ---- in any order

    def _look_up(self, keys: list[bytes]) -> dict[bytes | None, Row]:
        self._make_index()
        found: dict[bytes | None, Row] = {}
        for start in range(0, len(keys), ASKED):
            some = keys[start : start + ASKED]
            query = f"""
                SELECT {_COLUMNS} FROM places JOIN results ON results.rowid = place
                WHERE places.key IN ({",".join("?" * len(some))})
            """  # noqa: S608 (constants and marks)
            found.update((row[0], row) for row in self._read(query, *some) if _sound(row))
        return found

    def _make_index(self) -> None:
        if self._indexed:
            return
        self._indexed = True
        self._read("CREATE TEMP TABLE places (key BLOB PRIMARY KEY, place INTEGER) WITHOUT ROWID")
        theirs = "SELECT key, rowid FROM results WHERE version = ? AND rowid <= ? ORDER BY key, rowid"
        self._read(f"INSERT OR REPLACE INTO places {theirs}", self._version, self._last)

    def _read(self, query: str, *values: Any) -> list[Any]:
        """Read rows; an unreadable journal has none, with a warning."""
        if self._connection is None:
            return []
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:  # its items are computed instead
            self._say(f"it cannot be read: {error}")
            return []


def _sound(row: Row) -> bool:
    """Whether a result is undamaged, as far as it was read; a damaged one may have a later copy."""
    return row[3] is None or sum_of(row[0], row[3]) == row[2]
