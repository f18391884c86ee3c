"""Call users' callbacks in a thread of their own, so that a slow one holds up no pool."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable


class Teller:
    """Calls what it is given, one after another; its thread lives while there is something to call."""

    def __init__(self) -> None:
        self._changed = threading.Condition()  # for both
        self._due: deque[tuple[Callable[[], object], str]] = deque()
        self._thread: threading.Thread | None = None

    def tell(self, callback: Callable[[], object], what: str) -> None:
        """Have a callback called soon; what it raises is logged as of `what`."""
        with self._changed:
            self._due.append((callback, what))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="nbpar callbacks")
                self._thread.start()  # no daemon: what is due is called before the interpreter ends

    @property
    def here(self) -> bool:
        """Whether this is a callback."""
        return self._thread is threading.current_thread()

    def wait(self) -> None:
        """Wait until nothing is due; not from a callback."""
        with self._changed:
            self._changed.wait_for(lambda: self._thread is None)

    def _work(self) -> None:
        while (due := self._next()) is not None:
            callback, what = due
            try:
                callback()
            except Exception:  # it is the user's, and others are due
                logging.getLogger("nbpar").exception("a callback of %s failed", what)

    def _next(self) -> tuple[Callable[[], object], str] | None:
        with self._changed:
            if self._due:
                return self._due.popleft()
            self._thread = None
            self._changed.notify_all()
            return None


teller = Teller()
"""The one of this process."""
