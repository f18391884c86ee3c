"""Time limits of calls that wait more than once."""

from __future__ import annotations

import time


def deadline_in(timeout: float | None) -> float | None:
    """Return when so many seconds will be over; None: never."""
    return None if timeout is None else time.monotonic() + timeout


def left_until(deadline: float | None) -> float | None:
    """Return how many seconds are left; None: as many as it takes."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())
