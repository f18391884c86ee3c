"""Time limits of calls that wait: what they may be, and the deadlines that follow."""

from __future__ import annotations

import math
import time
from typing import Any

CENTURY = 100 * 365 * 86_400.0
"""Seconds of the longest time: clocks of some systems overflow not far beyond."""


def real_number(value: Any) -> float | None:
    """Return a number, infinite if it is too large for a float; None for everything else, and True."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError):  # an array
        return None


def waiting_time(timeout: Any, name: str = "timeout") -> float | None:
    """Return the seconds that a call may wait, a century at most; None: no limit.

    Less than 0 is 0: what is left until a deadline in the past.

    Raises:
        TypeError: it is neither None nor a number.
        ValueError: it is nan.
    """
    if timeout is None:
        return None
    seconds = real_number(timeout)
    if seconds is None:
        raise TypeError(f"{name} must be None or a number of seconds, was {timeout!r:.200}")
    if math.isnan(seconds):
        raise ValueError(f"{name} must be None or a number of seconds, was nan")
    return min(max(seconds, 0.0), CENTURY)


def deadline_in(timeout: float | None) -> float | None:
    """Return the time a number of seconds from now; None: never.

    Raises:
        TypeError, ValueError: as `waiting_time`.
    """
    seconds = waiting_time(timeout)
    return None if seconds is None else time.monotonic() + seconds


def left_until(deadline: float | None) -> float | None:
    """Return the number of seconds left; None: unlimited."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())
