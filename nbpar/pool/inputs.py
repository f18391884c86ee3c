"""Turn the argument of a map into a source of items."""

from __future__ import annotations

import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence, Sized
from functools import partial
from itertools import islice
from typing import Any

from nbpar.core.safe_exceptions import harmless_input
from nbpar.core.sizes import estimated_bytes
from nbpar.core.source import Arms, DirectSource, ReadySource, SequenceSource, Source
from nbpar.core.text import size
from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.host.frames import warn
from nbpar.wire.shared import Shared

STEP = 512
"""Items handed over together when they arrive fast."""


class FeederSource(ReadySource):
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
        self.reading = 0.0

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
        """Stop reading; the thread ends when the iterable returns."""
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
        except BaseException as error:  # noqa: BLE001 (the user's iterable may raise anything)
            self.error = harmless_input(error, self._read)
        self._over = True
        self._iterator = iter(())
        self._wake()

    def _wait_until_allowed(self) -> int:
        """Return how many items may be read now; 0 if reading is over."""
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
                self._wake()  # a worker may be waiting for this item
            if self._closed:
                return False
        self.reading += time.perf_counter() - began
        self._wake()
        return self._read - before == count


REPEATED = 100_000_000
"""Bytes of the same object, summed over all items, that trigger a warning."""


def source_of(
    iterables: tuple[Iterable[Any], ...],
    *,
    wake: Callable[[], None],
    threaded: bool,
    total: int | None = None,
    arms: Arms | None = None,
) -> Source:
    """Return the source of one or several iterables; several give tuples, up to the shortest.

    Lists, tuples, ranges, strings and arrays are sliced in place.  Other iterables are read by
    a thread of their own, or if not `threaded` by the thread that waits for the results; `arms` lets Ctrl-C
    through there.

    Raises:
        TypeError: an argument is not iterable.
    """
    __tracebackhide__ = True
    if not iterables:
        raise TypeError("nothing to map over: give at least one iterable after the function")
    for place, iterable in enumerate(iterables, 1):
        if not can_iterate(iterable):
            which = "the input" if len(iterables) == 1 else f"input {place}"
            raise TypeError(f"{which} is not iterable: it is of type {type(iterable).__name__}")
    if all(_sliceable(iterable) for iterable in iterables):
        return SequenceSource(*iterables)  # type: ignore[arg-type]
    known = total if total is not None else length_of(iterables)
    items = iterables[0] if len(iterables) == 1 else zip(*iterables)  # noqa: B905 (as `map` does)
    return FeederSource(items, wake=wake, total=known) if threaded else DirectSource(items, known, arms)


def warn_of_repetition(iterables: tuple[Iterable[Any], ...]) -> None:
    """Warn about a large object that every item contains, and which is pickled with each.

    Arrays are not meant, because workers get such an array once.  Only the first two items are checked; lazy
    input is not.
    """
    if not iterables or not all(type(iterable) in (list, tuple, range) for iterable in iterables):
        return
    count = length_of(iterables) or 0
    if count < 2:
        return
    firsts = [(iterable[0], iterable[1]) for iterable in iterables]  # type: ignore[index]  # they are sequences
    if len(firsts) == 1 and type(firsts[0][0]) is type(firsts[0][1]) is tuple:
        firsts = list(zip(*firsts[0], strict=False))
    same = [one for one, other in firsts if one is other and not _sent_once(one)]
    nbytes = sum(map(estimated_bytes, same))
    if nbytes * count > REPEATED:
        kinds = " and ".join(type(one).__name__ for one in same)
        warn(
            f"the same {kinds} ({size(nbytes)}) is in each of {count:,} items and is sent with each; "
            "let the function use it from outside, which sends it once to each worker, or use `pool.share`",
            UserWarning,
        )


def _sent_once(value: object) -> bool:
    """Whether a value is shared, or all that is large in it an array of numbers (NumPy, pandas)."""
    if isinstance(value, Shared):
        return True
    package = type(value).__module__.partition(".")[0]
    if package not in ("numpy", "pandas"):
        return False
    kinds = getattr(value, "dtypes", getattr(value, "dtype", None))
    kinds = list(kinds) if isinstance(kinds, Iterable) else [kinds]
    return all(getattr(kind, "kind", "O") in "biufcmMV" for kind in kinds)


def length_of(iterables: tuple[Iterable[Any], ...]) -> int | None:
    """Return the number of items; None if an iterable has no length, or its `__len__` fails."""
    try:
        if not iterables or not all(isinstance(iterable, Sized) for iterable in iterables):
            return None
        return min(len(iterable) for iterable in iterables)  # type: ignore[arg-type]
    except BaseException as error:
        if may_be_ctrl_c(error):
            raise
        return None


def can_iterate(value: object) -> bool:
    """Whether a value can be iterated; an exception of its own is raised."""
    try:
        iter(value)  # type: ignore[call-overload]
    except TypeError:
        return False
    except BaseException as error:
        if may_be_ctrl_c(error):
            raise
        raise harmless_input(error, 0) from None
    return True


def _sliceable(value: object) -> bool:
    kind = type(value)
    return kind in (list, tuple, range, str, bytes) or (
        kind.__module__ == "numpy" and kind.__name__ == "ndarray"
    )
