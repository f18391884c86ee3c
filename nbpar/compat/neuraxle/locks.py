"""Locks of a context's services: those of multiprocessing can only be inherited, which engines cannot.

Neuraxle's repositories of hyperparameters have one.  A file lock replaces it.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
import weakref
from contextlib import suppress
from importlib import import_module
from multiprocessing.synchronize import Lock, RLock
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

fcntl: Any = import_module("fcntl") if os.name == "posix" else None

POLL = 0.01
"""Seconds between attempts to acquire a held lock with a time limit."""

_known: weakref.WeakValueDictionary[str, FileLock] = weakref.WeakValueDictionary()
_knowing = threading.Lock()


class FileLock:
    """A reentrant lock that processes of this host share by the path of a file.

    Args:
        path: the file; by default a temporary one, deleted with this object.
    """

    def __init__(self, path: str | None = None) -> None:
        if path is None:
            descriptor, path = tempfile.mkstemp(prefix="nbpar-lock-")
            os.close(descriptor)
            weakref.finalize(self, _remove, path)
            _known[path] = self
        self._path = path
        self._mine = threading.RLock()
        self._depth = 0
        self._descriptor = -1

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Acquire the lock; False if it was not released in time."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._mine.acquire(block, -1 if timeout is None or not block else max(0, timeout)):
            return False
        if self._depth == 0 and not self._lock_file(block, deadline):
            self._mine.release()
            return False
        self._depth += 1
        return True

    def release(self) -> None:
        """Release the lock."""
        self._depth -= 1
        if self._depth == 0:
            os.close(self._descriptor)  # this unlocks it
        self._mine.release()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def __reduce__(self) -> tuple[Any, ...]:
        return _at, (self._path,)

    def _lock_file(self, block: bool, deadline: float | None) -> bool:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        while not _try_lock(descriptor, wait=block and deadline is None):
            if not block or (deadline is not None and time.monotonic() > deadline):
                os.close(descriptor)
                return False
            time.sleep(POLL)
        self._descriptor = descriptor
        return True


def make_shareable(context: Any) -> None:
    """Replace multiprocessing's locks in the services of a context by locks that can be sent to engines."""
    if fcntl is None:
        return
    for service in context.get_services().values():
        for name, value in list(getattr(service, "__dict__", {}).items()):
            if type(value) in (Lock, RLock):  # a dead weak proxy has only this class
                setattr(service, name, FileLock())


def _try_lock(descriptor: int, *, wait: bool) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return True
    return False


def _at(path: str) -> FileLock:
    """Return this process's lock of a file: a single one, so that it is reentrant."""
    with _knowing:
        lock = _known.get(path)
        if lock is None:
            lock = _known[path] = FileLock(path)
        return lock


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)
