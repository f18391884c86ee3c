"""Find results by the keys of their items.

A map that is run again asks in nearly the order in which its results were written, so they are
read in that order, a page at a time, into a window of bounded size.  What is further away than
that is found by an index, made when it is first needed and for this connection alone.
"""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nbpar.journal.database import connect
from nbpar.journal.writer import sum_of

SMALL = 512
"""Results below so many bytes are read along with where they are."""

PAGE = 8192
"""Rows that are read in one go."""

WINDOW = 1 << 17
"""Most rows that were read and not asked for yet, but for a page."""

ASKED = 500
"""Keys that the index is asked for in one go."""

Row = tuple[bytes, int, int, "bytes | None"]
"""Key, place in the file, checksum, and the result: None for a large one, which is read when it is wanted."""

_COLUMNS = f"results.key, results.rowid, results.sum, CASE WHEN LENGTH(value) < {SMALL} THEN value END"


class Reader:
    """The results that one version of a journal had when this was made.  One thread at a time may use it."""

    def __init__(self, path: Path, version: int, say: Callable[[str], None]) -> None:
        self._version = version
        self._say = say
        self._connection: sqlite3.Connection | None = connect(path)
        self._window: dict[bytes | None, Row] = {}
        self._place = 0
        """The last row that was read into the window."""

        self._last = int(next(iter(self._read("SELECT MAX(rowid) FROM results")), (0,))[0] or 0)
        self._indexed = False

    def find(self, keys: Sequence[bytes | None]) -> list[Row | None]:
        """Return the result of each key; None where there is none."""
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
        """Return a result that was found.

        Raises:
            LookupError: it is damaged, or cannot be unpickled here (any more).
        """
        value = self._large(row) if row[3] is None else row[3]
        try:
            return pickle.loads(value)
        except Exception as error:
            raise LookupError(f"the result cannot be unpickled here: {error}") from error

    def close(self) -> None:
        """Find nothing any more.  May be called twice."""
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

    # ---- in the order in which they were written

    def _missing(self, keys: Sequence[bytes | None], found: list[Row | None]) -> list[bytes]:
        if None not in found:
            return []
        return [key for key, row in zip(keys, found, strict=True) if row is None and key is not None]

    def _read_on(self) -> None:
        """Read the next page; no lock on the file stays behind, so that results can be added meanwhile."""
        query = f"""
            SELECT {_COLUMNS} FROM results WHERE rowid > ? AND rowid <= ? AND version = ?
            ORDER BY rowid LIMIT {PAGE}
        """  # noqa: S608 (constants)
        rows = self._read(query, self._place, self._last, self._version)
        self._place = rows[-1][1] if len(rows) == PAGE else self._last
        self._window.update((row[0], row) for row in rows if _sound(row))

    # ---- anywhere

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
        """Read rows; a journal that can no longer be read has none, which is said."""
        if self._connection is None:
            return []
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:  # its items are computed instead
            self._say(f"it cannot be read: {error}")
            return []


def _sound(row: Row) -> bool:
    """Whether a result is undamaged, as far as it was read; one that is not may stand there once more."""
    return row[3] is None or sum_of(row[0], row[3]) == row[2]
