"""The source of a run's items, as the scheduler sees it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Protocol

from nbpar.core.outcome import Part
from nbpar.core.safe_exceptions import harmless_input
from nbpar.host.ctrl_c import may_be_ctrl_c


class Source(Protocol):
    """Items of one run, read from the front."""

    @property
    def ended(self) -> bool:
        """Whether there will be no more items."""

    @property
    def remaining(self) -> int | None:
        """Number of items left to take; None if unknown."""

    @property
    def ready(self) -> bool:
        """Whether an item is available now."""

    def take(self, limit: int, *, eager: bool) -> Sequence[Any]:
        """Take up to `limit` items that are ready now; if not `eager`, exactly `limit` or none."""

    @property
    def error(self) -> BaseException | None:
        """What the user's input raised, if that ended it."""

    @property
    def reading(self) -> float:
        """Seconds that reading the user's input has taken."""

    def want(self, total: int) -> None:
        """Let up to `total` items, counted from the start of the run, be read from the user's input."""

    def known(self) -> Part | None:
        """Take the next outcomes if they are final without being computed."""

    def close(self) -> None:
        """Read no more of the input.  May be called twice."""


class ReadySource:
    """The defaults of a source whose items are all here: no error, no time, nothing known in advance."""

    error: BaseException | None = None
    reading = 0.0

    def want(self, total: int) -> None:
        """Nothing is read ahead."""

    def known(self) -> Part | None:
        return None

    def close(self) -> None:
        """There is nothing to close."""


class SequenceSource(ReadySource):
    """Items of lists, tuples, ranges, arrays: sliced, never copied as a whole.

    With several sequences an item is the tuple of their elements, up to the shortest.
    """

    def __init__(self, *sequences: Sequence[Any]) -> None:
        self._sequences = sequences
        self._next = 0
        self._stop = min(len(sequence) for sequence in sequences)

    @property
    def ended(self) -> bool:
        return self._next >= self._stop

    @property
    def remaining(self) -> int:
        return self._stop - self._next

    @property
    def ready(self) -> bool:
        return not self.ended

    def take(self, limit: int, *, eager: bool) -> Sequence[Any]:  # noqa: ARG002 (everything is ready)
        here = slice(self._next, min(self._next + limit, self._stop))
        self._next = here.stop
        if len(self._sequences) == 1:
            return self._sequences[0][here]
        return list(zip(*(sequence[here] for sequence in self._sequences), strict=True))


class HandedOverSource(ReadySource):
    """Items that only this source references: each is dropped when it is taken."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = deque(items)

    @property
    def ended(self) -> bool:
        return not self._items

    @property
    def remaining(self) -> int:
        return len(self._items)

    @property
    def ready(self) -> bool:
        return bool(self._items)

    def take(self, limit: int, *, eager: bool) -> Sequence[Any]:  # noqa: ARG002 (everything is ready)
        return [self._items.popleft() for _ in range(min(limit, len(self._items)))]


class EndedSource(ReadySource):
    """What is left of a source when its run is over: no items.

    Args:
        reading: seconds spent reading the input.
        error: the exception that ended the input, if any.
    """

    ended, remaining, ready = True, 0, False

    def __init__(self, reading: float = 0.0, error: BaseException | None = None) -> None:
        self.reading = reading
        self.error = error

    def take(self, limit: int, *, eager: bool) -> Sequence[Any]:  # noqa: ARG002 (there is nothing)
        return ()


class Arms(Protocol):
    """Lets Ctrl-C through while it is armed."""

    armed: bool


class DirectSource(ReadySource):
    """Items of any iterable, read in the thread that takes them, only as far as needed.

    It is `arms.armed` while the iterable computes.
    """

    def __init__(self, iterable: Iterable[Any], total: int | None = None, arms: Arms | None = None) -> None:
        self._iterator = iter(iterable)
        self._arms = arms if arms is not None else _Unarmed()
        self._total = total
        self._taken = 0
        self._wanted = 0
        self.ended = False

    @property
    def remaining(self) -> int | None:
        return None if self._total is None else max(self._total - self._taken, 1)

    @property
    def ready(self) -> bool:
        return not self.ended and self._taken < self._wanted

    def take(self, limit: int, *, eager: bool) -> Sequence[Any]:  # noqa: ARG002 (everything is ready)
        items: list[Any] = []
        limit = min(limit, self._wanted - self._taken)
        try:
            self._arms.armed = True
            items.extend(islice(self._iterator, limit))
            self._arms.armed = False
        except BaseException as error:  # noqa: BLE001 (any exception of the user's iterable ends the input)
            self._arms.armed = False
            self.error = error if may_be_ctrl_c(error) else harmless_input(error, self._taken + len(items))
        self._taken += len(items)
        self.ended = self.error is not None or len(items) < limit
        return items

    def want(self, total: int) -> None:
        self._wanted = max(self._wanted, total)


class _Unarmed:
    """For code that is interruptible anyway."""

    armed = False
