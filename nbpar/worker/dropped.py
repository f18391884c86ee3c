"""Close ends of channels that nobody holds any more."""

from __future__ import annotations

from collections import deque
from contextlib import suppress

from nbpar.worker.end import End


def drop_all(dropped: deque[End]) -> None:
    """Close ends that nobody holds any more; several threads may do it at the same time."""
    while dropped:
        with suppress(IndexError):
            end = dropped.popleft()
            if end.handle is None or end.handle() is None:
                end.drop()
