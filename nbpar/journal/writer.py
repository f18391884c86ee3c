"""Write results behind the back of a run, many at once."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from zlib import crc32

from nbpar.journal.database import connect, transaction

EVERY = 0.2
"""Seconds that a result waits at most before it is written; so much is lost when the process is killed."""

ROWS = 20_000
"""Results that are written at once without waiting any longer."""

BYTES = 4 << 20
"""Bytes likewise."""

BEHIND = 16 << 20
"""Bytes that wait to be written before a run is held back."""

OVERHEAD = 100
"""Bytes that a result counts for besides its own."""

HOLD = 1.0
"""Seconds that a run is held back at most for every answer, by a disk that does not keep up."""

Row = tuple[bytes, bytes]


class Writer:
    """A thread that writes to one version of a journal, from the first result on."""

    def __init__(self, path: Path, version: int) -> None:
        self._path = path
        self._version = version
        self._rows: list[Row] = []
        self._bytes = 0
        self._busy = False
        self._closed = False
        self._broken = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, rows: list[Row]) -> None:
        """Have results written soon."""
        with self._changed:
            if self._broken or not rows:
                return
            self._rows += rows
            self._bytes += sum(len(value) for _, value in rows) + OVERHEAD * len(rows)
            if self._thread is None:
                self._thread = threading.Thread(target=self._main, name="nbpar journal", daemon=True)
                self._thread.start()
            if self._full or len(self._rows) == len(rows):
                self._changed.notify_all()
            if self._bytes > BEHIND:
                self._changed.wait_for(lambda: self._bytes <= BEHIND or self._broken, HOLD)

    def close(self, timeout: float) -> None:
        """Write what is left; wait for it up to `timeout` seconds."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)

    @property
    def _full(self) -> bool:
        return len(self._rows) >= ROWS or self._bytes >= BYTES

    def _main(self) -> None:
        try:
            with closing(connect(self._path)) as connection:
                while rows := self._take():
                    self._write(connection, rows)
        except Exception as error:  # noqa: BLE001 (a run must not fail for its journal)
            logging.getLogger("nbpar").warning(
                "journal %r takes no more results of this run, which goes on: %s", self._path.stem, error
            )
            with self._changed:
                self._broken = True
                self._rows, self._bytes = [], 0
                self._changed.notify_all()

    def _take(self) -> list[Row]:
        """Wait for results and return them; none when there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._rows or self._closed)
            if not self._closed and not self._full:
                self._changed.wait_for(lambda: self._closed or self._full, EVERY)
            rows, self._rows, self._bytes = self._rows, [], 0
            self._changed.notify_all()
            return rows

    def _write(self, connection: sqlite3.Connection, rows: list[Row]) -> None:
        version = self._version
        with transaction(connection):
            connection.executemany(
                "INSERT INTO results VALUES (?, ?, ?, ?)",
                ((version, key, value, sum_of(key, value)) for key, value in rows),
            )
            used = "UPDATE versions SET used = ?, items = items + ? WHERE id = ?"
            connection.execute(used, (time.time(), len(rows), version))


def sum_of(key: bytes, value: bytes) -> int:
    """Return a checksum of a row, so that a damaged one is never taken for a result."""
    return crc32(value, crc32(key))
