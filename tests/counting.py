"""Count the operations of a piece of code, because its time says nothing on a busy machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def counted_calls(act: Callable[[], object]) -> int:
    """Return how many functions are called, of Python and of C, while `act()` runs in this thread."""
    number = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal number
        number += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        act()
    finally:
        sys.setprofile(before)
    return number
