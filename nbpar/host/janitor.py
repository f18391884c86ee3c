"""Clean up after objects that were dropped without being closed, in a thread of its own.

The garbage collector comes by in any thread, whatever locks are held there.  So an owner's `__del__` only
says what is left, which takes no lock, and the thread was begun when there was something to own.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from queue import SimpleQueue

from nbpar.host.error_log import call_safely
from nbpar.host.frames import first_foreign_frame

Line = tuple[str, int, str]
"""File, line and module."""


def users_line() -> Line:
    """Return where the user's code called nbpar."""
    frame, _ = first_foreign_frame()
    return frame.f_code.co_filename, frame.f_lineno, str(frame.f_globals.get("__name__", ""))


class Janitor:
    """Waits for the end of one owner; each is told of that once, by `take` or by `dismiss`.

    Args:
        made_at: where the owner was made.
    """

    def __init__(self, made_at: Line) -> None:
        self._made_at = made_at
        self._left: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        threading.Thread(target=_wait, args=(self._left,), name="nbpar janitor", daemon=True).start()

    def take(self, clean_up: Callable[[], object]) -> None:
        """Have `clean_up()` called in the thread; it must not hold the owner.  Safe in finalizers."""
        self._left.put(clean_up)

    def dismiss(self) -> None:
        """Record that the owner was closed."""
        self._left.put(None)

    def warn(self, what: str, method: str, *, source: object) -> None:
        """Warn of an owner without a call of a method, as of the line that made it.  It may raise.

        Args:
            what: the owner in words, found without a lock.
            method: what closes it.
            source: the owner, for those who trace allocations.
        """
        file, line, module = self._made_at
        text = f"unclosed {what}; use it in a `with` block, or call its `{method}()`"
        warnings.warn_explicit(text, ResourceWarning, file, line, module, source=source)


def _wait(left: SimpleQueue[Callable[[], object] | None]) -> None:
    if (clean_up := left.get()) is not None:
        call_safely(clean_up, "what was dropped without being closed could not be cleaned up")
