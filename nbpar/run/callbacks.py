"""A thread that calls users' callbacks, so that a slow one does not block a pool."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable

from nbpar.host.error_log import call_safely
from nbpar.host.interpreter_exit import interpreter


class CallbackThread:
    """Calls callbacks, one after another; its thread lives while there are any."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        """Reset to no callbacks and no thread: a fork of this process has none."""
        self._changed = threading.Condition()  # for both
        self._due: deque[tuple[Callable[[], object], str]] = deque()
        self._thread: threading.Thread | None = None

    def tell(self, callback: Callable[[], object], what: str) -> None:
        """Call a callback soon; its exceptions are logged under `what`, and the other callbacks still run."""
        with self._changed:
            self._due.append((callback, what))
            if self._thread is None:
                # no daemon, even if a daemon starts it: due callbacks are called before the interpreter ends
                thread = threading.Thread(target=self._work, name="nbpar callbacks", daemon=False)
                interpreter.start(thread)
                self._thread = thread

    @property
    def here(self) -> bool:
        """Whether this is a callback."""
        return self._thread is threading.current_thread()

    def wait(self) -> None:
        """Wait until no callback is pending; not from a callback."""
        with self._changed:
            self._changed.wait_for(lambda: self._thread is None)

    def _work(self) -> None:
        over = False
        try:
            while not over:
                over = self._call_next()
        finally:
            if not over:  # an exception was raised into this thread from outside: start a new one
                with self._changed:
                    self._end()

    def _call_next(self) -> bool:
        """Call the next callback; return whether there was none."""
        with self._changed:
            if not self._due:
                self._end()
                return True
            callback, what = self._due.popleft()
        call_safely(callback, f"a callback of {what} failed")
        return False

    def _end(self) -> None:
        self._thread = None
        self._changed.notify_all()


callback_thread = CallbackThread()
"""The only one of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=callback_thread._begin)  # noqa: SLF001 (of our own kind)
