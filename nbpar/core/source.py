"""Where a run's items come from, seen from the scheduler."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Protocol


class Source(Protocol):
    """Items of one run, read from the front."""

    @property
    def ended(self) -> bool:
        """Whether no item will come any more."""

    @property
    def remaining(self) -> int | None:
        """How many items are left to take; None when nobody knows."""

    @property
    def ready(self) -> bool:
        """Whether there is an item to take now."""

    def take(self, limit: int, *, eager: bool) -> Sequence[Any]:
        """Take up to `limit` items that are ready now; when not `eager`, `limit` of them or none."""

    def want(self, total: int) -> None:
        """Allow that `total` items, counted from the start of the run, are read from the user's input."""


class SequenceSource:
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

    def want(self, total: int) -> None:
        """Nothing is read ahead."""


class Arms(Protocol):
    """What lets Ctrl-C through while it is armed."""

    armed: bool


class DirectSource:
    """Items of any iterable, read by whoever takes them, no further than they are wanted.

    It is `arms.armed` while the iterable computes.
    """

    def __init__(self, iterable: Iterable[Any], total: int | None = None, arms: Arms | None = None) -> None:
        self._iterator = iter(iterable)
        self._arms = arms if arms is not None else _Unarmed()
        self._total = total
        self._taken = 0
        self._wanted = 0
        self.ended = False
        self.error: BaseException | None = None

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
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 (whatever the user's iterable raises ends the input)
            self._arms.armed = False
            self.error = error
        self._taken += len(items)
        self.ended = self.error is not None or len(items) < limit
        return items

    def want(self, total: int) -> None:
        self._wanted = max(self._wanted, total)


class _Unarmed:
    """Where Ctrl-C is somebody else's business."""

    armed = False
