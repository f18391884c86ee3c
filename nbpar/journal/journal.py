"""The stored results of one function under one name: look up and add."""

from __future__ import annotations

import json
import pickle
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nbpar.core.text import text_of
from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.host.error_log import log_warning
from nbpar.host.frames import warn
from nbpar.journal.database import in_journal
from nbpar.journal.identity import Identity, changes
from nbpar.journal.paths import path_of
from nbpar.journal.reader import Reader, Row
from nbpar.journal.writer import Writer
from nbpar.wire.pickling import dumps

VERSIONS = 3
"""Number of versions of a function whose results are kept, so that a change can be undone."""

LAST_WRITE = 5.0
"""Maximal seconds that the end of a run waits for its last results to be written."""


class Journal:
    """One version's results.  One thread at a time may use it."""

    def __init__(self, path: Path, version: int, known: int) -> None:
        self._path = path
        self._reader: Reader | None = None
        self._writer = Writer(path, version)
        self._said = False
        self.known = known
        """Number of results when it was opened."""

    @classmethod
    def open(cls, name: str, identity: Identity) -> Journal:
        """Find the results of a function, and warn if there are only those of an earlier version.

        Raises:
            JournalError: the file cannot be opened, or another process holds it.
        """
        path = path_of(name)
        version, known = in_journal(path, lambda connection: _version(connection, name, identity))
        made = cls(path, version, known)
        if known:
            made._reader = Reader(path, version, made._say_once)
        return made

    def find(self, keys: Sequence[bytes | None]) -> list[Row | None]:
        """Return the result of each key; None if there is none."""
        return [None] * len(keys) if self._reader is None else self._reader.find(keys)

    def value(self, row: Row) -> Any:
        """Return a found result.

        Raises:
            LookupError: it is damaged, or cannot be unpickled here (any more).
        """
        assert self._reader is not None
        return self._reader.value(row)

    def add(self, results: Sequence[tuple[bytes, Any]]) -> None:
        """Write results, by key; one that cannot be pickled is omitted, which is logged once."""
        rows = []
        for key, value in results:
            try:
                rows.append((key, _pickled(value)))
            except BaseException as error:
                if may_be_ctrl_c(error):
                    raise
                self._say_once(f"a {type(value).__name__} cannot be pickled: {text_of(error)}")
        self._writer.add(rows)

    def close(self) -> None:
        """Write the remaining results.  Idempotent."""
        self._writer.close(LAST_WRITE)
        if self._reader is not None:
            self._reader.close()

    def _say_once(self, what: str) -> None:
        if not self._said:
            self._said = True
            log_warning(f"journal {self._path.stem!r} does not serve for all items: {what}")


def _version(connection: sqlite3.Connection, name: str, identity: Identity) -> tuple[int, int]:
    """Return the number of a function's version, created if necessary, and the number of its results."""
    now = time.time()
    query = "SELECT id, items, used FROM versions WHERE digest = ?"
    row = connection.execute(query, (identity.digest,)).fetchone()
    if row is not None:
        if now - row[2] > 60:  # reading needs no waiting for the disk
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
    """Pickle a result: classes of the notebook by name, so that they are the same types again."""
    try:
        return pickle.dumps(value, 5)
    except Exception:  # noqa: BLE001 (objects without a name are pickled by value)
        return dumps(value)
