"""Find the object that makes pickling fail, and the way to it.

Two looks, both within a time limit.  First the object is pickled once more, into nothing, by
a pickler that remembers what it touched last: that is what failed.  Then a search from the
outside follows what pickling follows until it meets that object, and keeps its steps.
"""

from __future__ import annotations

import sys
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from nbpar.wire.parts import MANY, Place, parts
from nbpar.wire.pickler import Pickler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Culprit(NamedTuple):
    """What cannot be pickled."""

    value: Any
    """The object itself."""

    error: Exception | None
    """What pickling it raised; None when it was only recognised by its kind."""

    path: tuple[Place, ...] | None
    """The way to it from the outside; empty for the whole itself, None when it was not found."""


def find(whole: object, suspicious: Callable[[object], bool], seconds: float = 2.0) -> Culprit | None:
    """Return what keeps `whole` from being pickled, or None when that cannot be said.

    When pickling takes too long, the first object that is `suspicious` is taken instead.
    """
    end = monotonic() + seconds
    tracer = _Tracer(end - seconds / 2)
    try:
        tracer.dump(whole)
    except Exception as error:  # noqa: BLE001 (any user code may run here)
        value = tracer.touched[-1] if tracer.touched else whole
        if _fails(value, end):
            cause = error.__cause__  # cloudpickle hides a RecursionError behind an error of its own
            way = _way(whole, value, tracer.touched, end)
            return Culprit(value, cause if isinstance(cause, RecursionError) else error, way)
    except _TooLong:
        path = _search(whole, suspicious, frozenset(), end)
        if path is not None:
            return Culprit(path[-1].value if path else whole, None, path)
    return None  # it pickles now, or a container failed while it was being read


def deepest(whole: object, seconds: float = 1.0) -> tuple[Place, ...]:
    """Return the longest chain of objects that pickling `whole` follows one inside the other.

    It is cut where no recursion limit would let pickling go on.
    """
    end = monotonic() + seconds
    way: list[Place] = []
    longest: tuple[Place, ...] = ()
    open_parts = [parts(whole)]
    kept: dict[int, Any] = {id(whole): whole}
    while open_parts and len(longest) < sys.getrecursionlimit() and monotonic() < end:
        place = next(open_parts[-1], None)
        if place is None:
            open_parts.pop()
            if way:
                way.pop()
        elif id(place.value) not in kept and len(kept) < MANY:
            kept[id(place.value)] = place.value
            way.append(place)
            open_parts.append(parts(place.value))
            if len(way) > len(longest):
                longest = tuple(way)
    return longest


# ---- first look


class _TooLong(BaseException):
    """Ends a trace; no `except Exception` of a user's `__reduce__` may hold it up."""


class _Nowhere:
    """A file that keeps nothing and breaks off when time is up."""

    def __init__(self, end: float) -> None:
        self._end = end

    def write(self, _: object) -> None:
        """Called every 64 KiB, so that long data end in time too."""
        if monotonic() > self._end:
            raise _TooLong


class _Tracer(Pickler):
    """Pickles into nothing and remembers what it touched last."""

    def __init__(self, end: float) -> None:
        self._nowhere = _Nowhere(end)
        self.touched: deque[Any] = deque(maxlen=1000)
        super().__init__(self._nowhere, protocol=5, buffer_callback=lambda _: None)

    def reducer_override(self, obj: Any) -> Any:
        self.touched.append(obj)
        self._nowhere.write(b"")
        return super().reducer_override(obj)


def _fails(value: object, end: float) -> bool:
    try:
        _Tracer(end).dump(value)
    except Exception:  # noqa: BLE001 (any user code may run here)
        return True
    except _TooLong:
        return False
    return False


# ---- second look


def _way(whole: object, value: object, touched: Iterable[object], end: float) -> tuple[Place, ...] | None:
    path = _search(whole, lambda it: it is value, frozenset(map(id, touched)), end)
    if path is None:  # it may be made anew each time
        kind = type(value)
        path = _search(whole, lambda it: type(it) is kind and _fails(it, end), frozenset(), end)
    return path


def _search(
    whole: object, wanted: Callable[[object], bool], hot: frozenset[int], end: float
) -> tuple[Place, ...] | None:
    """Search breadth first, but `hot` objects (by id) before all others."""
    if wanted(whole):
        return ()
    places: list[tuple[Place, int]] = []
    seen = {id(whole)}
    waiting = deque([-1])
    while waiting and len(places) < MANY:
        parent = waiting.popleft()
        holder = whole if parent < 0 else places[parent][0].value
        for place in parts(holder):
            if monotonic() > end:
                return None
            if id(place.value) in seen:
                continue
            seen.add(id(place.value))
            places.append((place, parent))  # keeps it alive, so its id stays its own
            if wanted(place.value):
                return _way_to(len(places) - 1, places)
            (waiting.appendleft if id(place.value) in hot else waiting.append)(len(places) - 1)
    return None


def _way_to(index: int, places: list[tuple[Place, int]]) -> tuple[Place, ...]:
    way = []
    while index >= 0:
        place, index = places[index]
        way.append(place)
    return tuple(reversed(way))
