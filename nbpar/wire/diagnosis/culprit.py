"""Find the object that makes pickling fail, and the path to it.

Two steps, both within a time limit.  First the object is pickled once more, without output, by
a pickler that remembers the last object it visited, which is the one that failed.  Then a search from the
root follows the same references as pickling until it finds that object, and records its path.
"""

from __future__ import annotations

import sys
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.wire.diagnosis.parts import MANY, Part, parts
from nbpar.wire.pickling import Pickler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Culprit(NamedTuple):
    """The object that cannot be pickled."""

    value: Any
    """The object itself."""

    error: BaseException | None
    """The error of pickling it; None if it was only recognized by its type."""

    path: tuple[Part, ...] | None
    """The path from the root; empty for the root itself, None if it was not found."""


def find(whole: object, suspicious: Callable[[object], bool], seconds: float = 2.0) -> Culprit | None:
    """Return the object that prevents pickling `whole`, or None if it cannot be found.

    If pickling takes too long, the first `suspicious` object is returned instead.
    """
    end = monotonic() + seconds
    tracer = _Tracer(end - seconds / 2)
    try:
        tracer.dump(whole)
    except _TooLong:
        path = _search(whole, suspicious, frozenset(), end)
        if path is not None:
            return Culprit(path[-1].value if path else whole, None, path)
    except BaseException as error:
        if may_be_ctrl_c(error):
            raise
        value = tracer.touched[-1] if tracer.touched else whole
        if _fails(value, end):
            cause = error.__cause__  # cloudpickle hides a RecursionError behind an error of its own
            way = _way(whole, value, tracer.touched, end)
            return Culprit(value, cause if isinstance(cause, RecursionError) else error, way)
    return None  # it can be pickled now, or a container failed during iteration


def deepest(whole: object, seconds: float = 1.0) -> tuple[Part, ...]:
    """Return the longest chain of nested objects that pickling `whole` follows.

    It is cut at a depth that no recursion limit would allow.
    """
    end = monotonic() + seconds
    way: list[Part] = []
    longest: tuple[Part, ...] = ()
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


# ---- first step


class _TooLong(BaseException):
    """Ends a trace; a BaseException, which `except Exception` in a user's `__reduce__` does not catch."""


class _Nowhere:
    """A file that stores nothing and aborts when time is up."""

    def __init__(self, end: float) -> None:
        self._end = end

    def write(self, _: object) -> None:
        """Called every 64 KiB, so that long data abort in time too."""
        if monotonic() > self._end:
            raise _TooLong


class _Tracer(Pickler):
    """Pickles without output and remembers the last object it visited."""

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
    except _TooLong:
        return False
    except BaseException as error:
        if may_be_ctrl_c(error):
            raise
        return True
    return False


# ---- second step


def _way(whole: object, value: object, touched: Iterable[object], end: float) -> tuple[Part, ...] | None:
    path = _search(whole, lambda it: it is value, frozenset(map(id, touched)), end)
    if path is None:  # it may be a new object each time
        kind = type(value)
        path = _search(whole, lambda it: type(it) is kind and _fails(it, end), frozenset(), end)
    return path


def _search(
    whole: object, wanted: Callable[[object], bool], hot: frozenset[int], end: float
) -> tuple[Part, ...] | None:
    """Search breadth first, but `hot` objects (by id) before all others."""
    if wanted(whole):
        return ()
    places: list[tuple[Part, int]] = []
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


def _way_to(index: int, places: list[tuple[Part, int]]) -> tuple[Part, ...]:
    way = []
    while index >= 0:
        place, index = places[index]
        way.append(place)
    return tuple(reversed(way))
