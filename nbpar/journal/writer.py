"""Write results in batches, in a thread of its own."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from zlib import crc32

from nbpar.core.text import text_of
from nbpar.host.error_log import log_warning
from nbpar.journal.database import connect, transaction

EVERY = 0.2
"""Seconds until a result is written at most; results of this interval are lost if the process is killed."""

ROWS = 20_000
"""Number of results that are written at once without further waiting."""

BYTES = 4 << 20
"""The same in bytes."""

BEHIND = 16 << 20
"""Bytes to be written from which a run is throttled."""

OVERHEAD = 100
"""Bytes counted for a result in addition to its own."""

HOLD = 1.0
"""Maximal seconds that a run is throttled per answer, if the disk is too slow."""

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
        """Queue results to be written soon."""
        with self._changed:
            if self._broken or not rows:
                return
            self._rows += rows
            self._bytes += sum(len(value) for _, value in rows) + OVERHEAD * len(rows)
            if self._thread is None:
                thread = threading.Thread(target=self._main, name="nbpar journal", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # there are too many threads
                    self._give_up(error)
                    return
                self._thread = thread
            if self._full or len(self._rows) == len(rows):
                self._changed.notify_all()
            if self._bytes > BEHIND:
                self._changed.wait_for(lambda: self._bytes <= BEHIND or self._broken, HOLD)

    def close(self, timeout: float) -> None:
        """Write the remaining results; wait for that up to `timeout` seconds."""
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
        except BaseException as error:  # noqa: BLE001 (a run must not fail for its journal)
            with self._changed:
                self._give_up(error)

    def _give_up(self, error: BaseException) -> None:
        """Accept no more; call with the lock held."""
        self._broken = True
        self._rows, self._bytes = [], 0
        self._changed.notify_all()
        log_warning(
            f"journal {self._path.stem!r} takes no more results of this run, which goes on: {text_of(error)}"
        )

    def _take(self) -> list[Row]:
        """Wait for results and return them; none at the end."""
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
    """Return the checksum of a row, to detect damaged results."""
    return crc32(value, crc32(key))
