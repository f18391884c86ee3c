"""Deadlines of operations that wait more than once."""

from __future__ import annotations

import time


def deadline_in(timeout: float | None) -> float | None:
    """Return the time a number of seconds from now; None: never."""
    return None if timeout is None else time.monotonic() + timeout


def left_until(deadline: float | None) -> float | None:
    """Return the number of seconds left; None: unlimited."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())
