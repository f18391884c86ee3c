"""Whether this code runs inside an item, so that nested maps run serially."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_thread = threading.local()
_process = False


def inside_item() -> bool:
    """Whether the caller is inside a user's function that a worker runs."""
    return _process or getattr(_thread, "inside", False)


@contextmanager
def inside(*, whole_process: bool) -> Iterator[None]:
    """Mark this thread, or this whole process, as a worker."""
    global _process  # noqa: PLW0603 (one flag per process is the point)
    if whole_process:
        before, _process = _process, True
        try:
            yield
        finally:
            _process = before
    else:
        outer = getattr(_thread, "inside", False)
        _thread.inside = True
        try:
            yield
        finally:
            _thread.inside = outer
