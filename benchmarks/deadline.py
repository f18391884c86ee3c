"""Limit the time that a block of code may take, by SIGALRM."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


class HangError(Exception):
    """A peer did not answer in time."""


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise `HangError` here when the block takes longer; no limit where there is no SIGALRM."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def give_up(number: int, frame: FrameType | None) -> None:
        raise HangError(f"did not answer in {seconds:g} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
