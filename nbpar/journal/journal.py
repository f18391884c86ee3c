"""The results of one function under one name: what is there, and what is to be added."""

from __future__ import annotations

import json
import logging
import pickle
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle

from nbpar.journal.database import connect, in_journal
from nbpar.journal.folder import path_of
from nbpar.journal.identity import Identity, changes
from nbpar.journal.saying import warn
from nbpar.journal.writer import Writer, sum_of

VERSIONS = 3
"""So many versions of a function keep their results, so that a change can be undone."""

LAST_WRITE = 5.0
"""Seconds that the end of a run waits for its last results to be written."""


SMALL = 4096
"""Results below so many bytes are read along with where they are."""


class Found(NamedTuple):
    """A result that is there."""

    key: bytes
    place: int
    sum: bytes
    value: bytes | None
    """None when it is large: it is read when it is wanted."""


class Journal:
    """One version's results.  One thread at a time may use it."""

    def __init__(self, path: Path, version: int, known: int) -> None:
        self._path = path
        self._reader: sqlite3.Connection | None = None
        self._writer = Writer(path, version)
        self._said = False
        self.known = known
        """How many results there were when it was opened."""

    @classmethod
    def open(cls, name: str, identity: Identity) -> Journal:
        """Find the results of a function, and say so when there are only those of an earlier version.

        Raises:
            JournalError: the file cannot be opened, or another process holds it.
        """
        path = path_of(name)
        version, known = in_journal(path, lambda connection: _version(connection, name, identity))
        made = cls(path, version, known)
        if known:
            made._look_into(version)
        return made

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Found]:
        """Return the results of these keys, of those that are there; 500 keys at most."""
        marks = ",".join("?" * len(keys))
        query = f"""
            SELECT places.key, place, sum, CASE WHEN LENGTH(value) < {SMALL} THEN value END
            FROM places JOIN results ON results.rowid = place WHERE places.key IN ({marks})
        """  # noqa: S608 (numbers and marks)
        return {row[0]: Found(*row) for row in self._read(query, *keys)}

    def value(self, found: Found) -> Any:
        """Return a result that was found.

        Raises:
            LookupError: it is damaged, or cannot be unpickled here (any more).
        """
        value = found.value
        if value is None:
            rows = self._read("SELECT value FROM results WHERE rowid = ?", found.place)
            value = rows[0][0] if rows else b""
        if sum_of(found.key, value) != found.sum:
            raise LookupError("the result is damaged")
        try:
            return pickle.loads(value)
        except Exception as error:
            raise LookupError(f"the result cannot be unpickled here: {error}") from error

    def add(self, results: Sequence[tuple[bytes, Any]]) -> None:
        """Have results written, by key; one that cannot be pickled is left out, which is logged once."""
        rows = []
        for key, value in results:
            try:
                rows.append((key, _pickled(value)))
            except Exception as error:  # noqa: BLE001 (any user code may run here)
                self._say_once(f"a {type(value).__name__} cannot be pickled: {error}")
        self._writer.add(rows)

    def close(self) -> None:
        """Write what is left.  May be called twice."""
        self._writer.close(LAST_WRITE)
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def __del__(self) -> None:
        if self._reader is not None:
            self._reader.close()

    def _look_into(self, version: int) -> None:
        """Make an index of the results that are there, for this connection alone."""
        self._reader = connect(self._path)
        self._read("CREATE TEMP TABLE places (key BLOB PRIMARY KEY, place INTEGER) WITHOUT ROWID")
        theirs = "SELECT key, rowid FROM results WHERE version = ? ORDER BY key, rowid"
        self._read(f"INSERT OR REPLACE INTO places {theirs}", version)

    def _read(self, query: str, *values: Any) -> list[Any]:
        """Read rows; a journal that can no longer be read has none, which is logged once."""
        if self._reader is None:
            return []
        try:
            return self._reader.execute(query, values).fetchall()
        except sqlite3.Error as error:  # its items are computed instead
            self._say_once(f"it cannot be read: {error}")
            return []

    def _say_once(self, what: str) -> None:
        if not self._said:
            self._said = True
            logging.getLogger("nbpar").warning(
                "journal %r does not serve for all items: %s", self._path.stem, what
            )


def _version(connection: sqlite3.Connection, name: str, identity: Identity) -> tuple[int, int]:
    """Return the number of a function's version, made if need be, and how many results it has."""
    now = time.time()
    query = "SELECT id, items, used FROM versions WHERE digest = ?"
    row = connection.execute(query, (identity.digest,)).fetchone()
    if row is not None:
        if now - row[2] > 60:  # what is only read needs no waiting for the disk
            connection.execute("UPDATE versions SET used = ? WHERE id = ?", (now, row[0]))
        return int(row[0]), int(row[1])
    _say_what_changed(connection, name, identity)
    cursor = connection.execute(
        "INSERT INTO versions (digest, function, parts, begun, used) VALUES (?, ?, ?, ?, ?)",
        (identity.digest, identity.name, json.dumps(identity.parts), now, now),
    )
    _drop_oldest(connection)
    return int(cursor.lastrowid or 0), 0


def _say_what_changed(connection: sqlite3.Connection, name: str, identity: Identity) -> None:
    before = connection.execute("SELECT items, parts FROM versions ORDER BY used DESC, id DESC").fetchone()
    if before is None:
        return
    kept = before[0]
    why = changes(json.loads(before[1]), identity.parts)
    warn(f"journal {name!r} starts anew: {why} ({kept} results of before are kept, in case that is undone)")


def _drop_oldest(connection: sqlite3.Connection) -> None:
    keep = f"SELECT id FROM versions ORDER BY used DESC, id DESC LIMIT {VERSIONS}"  # noqa: S608
    connection.execute(f"DELETE FROM results WHERE version NOT IN ({keep})")  # noqa: S608 (a constant)
    connection.execute(f"DELETE FROM versions WHERE id NOT IN ({keep})")  # noqa: S608 (a constant)


def _pickled(value: Any) -> bytes:
    """Pickle a result: by name what the notebook defines, which then is its own type again."""
    try:
        return pickle.dumps(value, 5)
    except Exception:  # noqa: BLE001 (what has no name travels by value)
        return bytes(cloudpickle.dumps(value, 5))
