"""Gates that hold threads and processes until opened, and a fake clock."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds after which waiting threads give up, so that a failing test does not hang."""

LOOK = 0.002
"""Seconds between two checks of a gate, or of a condition."""


class FakeClock:
    """A clock that stands still until it is advanced."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the current time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Advance the clock."""
        self.now += seconds


@dataclass(frozen=True)
class Gate:
    """Blocks all callers of `wait` until it is opened, in this process and in any other on this host.

    It is a folder of files, so it may be captured by functions that are sent to engines.  The folder is
    removed with the object that has made it: keep that as long as anything may wait.

    Args:
        folder: that of another gate, which keeps it; "" makes a new one.
    """

    folder: str = ""

    def __post_init__(self) -> None:
        if not self.folder:
            object.__setattr__(self, "folder", tempfile.mkdtemp(prefix="nbpar-gate-"))
            weakref.finalize(self, _remove, self.folder, os.getpid())

    def wait(self, timeout: float = PATIENCE) -> None:
        """Wait until the gate is open.

        Raises:
            TimeoutError: it was not opened.
        """
        mark = self._path(f"waiting-{uuid.uuid4().hex}")
        mark.touch()
        try:
            until(lambda: self.is_open, timeout, "the gate was not opened")
        finally:
            mark.unlink(missing_ok=True)

    def open(self) -> None:
        """Let all through, from now on."""
        self._path("open").touch()

    @property
    def is_open(self) -> bool:
        """Whether it was opened."""
        return self._path("open").exists()

    @property
    def waiting(self) -> int:
        """Number of current waiters."""
        return sum(name.startswith("waiting-") for name in os.listdir(self.folder))  # noqa: PTH208 (fast)

    def until_waiting(self, number: int = 1, timeout: float = PATIENCE) -> None:
        """Wait until a number of callers wait at the gate.

        Raises:
            TimeoutError: they did not arrive.
        """
        until(lambda: self.waiting >= number, timeout, f"{number} did not come to the gate")

    def _path(self, name: str) -> Path:
        return Path(self.folder, name)


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # a fork has a copy of the gate
        shutil.rmtree(folder, ignore_errors=True)


def until(
    condition: Callable[[], T], timeout: float = PATIENCE, otherwise: str = "it did not come true"
) -> T:
    """Wait until a condition is true, and return its value; `otherwise` is the message if it never is.

    Raises:
        TimeoutError: it was not true in time.
    """
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{otherwise} within {timeout:g} s")
        time.sleep(LOOK)
    return found
