"""Read a user's iterable in a thread of its own, ahead of need but never far.

So a slow input never delays results, and an endless one is fine.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any

STEP = 512
"""Items that are handed over together when they come fast."""


class FeederSource:
    """A source that a daemon thread fills from any iterable, from the first `want` on.

    The iterable's code runs in that thread, with a copy of the caller's context variables.
    An exception that it raises ends the input and is kept in `error`.
    """

    def __init__(
        self, iterable: Iterable[Any], *, wake: Callable[[], None], total: int | None = None
    ) -> None:
        self._iterator = iter(iterable)
        self._wake = wake
        self._total = total
        self._taken = 0
        self._read = 0
        self._wanted = 0
        self._items: deque[Any] = deque()
        self._changed = threading.Condition()
        self._over = False
        self._closed = False
        self.error: BaseException | None = None
        self.reading = 0.0
        """Seconds that the iterable took so far."""

        self._context = contextvars.copy_context()
        self._started = False

    @property
    def ended(self) -> bool:
        return self._over and not self._items

    @property
    def remaining(self) -> int | None:
        if self._over:
            return len(self._items)
        return None if self._total is None else max(self._total - self._taken, 1)

    @property
    def ready(self) -> bool:
        return bool(self._items)

    def take(self, limit: int, *, eager: bool) -> Sequence[Any]:
        ready = len(self._items)
        if not ready or (ready < limit and not eager and not self._over):
            return ()
        items = [self._items.popleft() for _ in range(min(limit, ready))]
        self._taken += len(items)
        return items

    def want(self, total: int) -> None:
        if total > self._wanted:
            with self._changed:
                self._wanted = total
                self._changed.notify()
            self._start()

    def close(self) -> None:
        """Read no more; the thread ends when the iterable gives it the chance."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _start(self) -> None:
        if not self._started and not self._closed:
            self._started = True
            feed = partial(self._context.run, self._feed)
            threading.Thread(target=feed, name="nbpar feeder", daemon=True).start()

    def _feed(self) -> None:
        try:
            while (allowed := self._wait_until_allowed()) and self._read_some(min(allowed, STEP)):
                pass
        except BaseException as error:  # noqa: BLE001 (whatever the user's iterable raises)
            self.error = error
        self._over = True
        self._iterator = iter(())
        self._wake()

    def _wait_until_allowed(self) -> int:
        """Return how many items may be read now; 0 when no more are wanted at all."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._read < self._wanted)
            return 0 if self._closed else self._wanted - self._read

    def _read_some(self, count: int) -> bool:
        """Read up to `count` items; False at the end of the input."""
        before, began = self._read, time.perf_counter()
        for item in islice(self._iterator, count):
            self._items.append(item)
            self._read += 1
            if len(self._items) == 1:
                self._wake()  # a worker may be waiting for this very item
            if self._closed:
                return False
        self.reading += time.perf_counter() - began
        self._wake()
        return self._read - before == count
