"""Turn what a user maps over into a source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sized
from typing import Any

from nbpar.core.source import Arms, DirectSource, SequenceSource, Source
from nbpar.feeder import FeederSource


def source_of(
    iterables: tuple[Iterable[Any], ...],
    *,
    wake: Callable[[], None],
    threaded: bool,
    total: int | None = None,
    arms: Arms | None = None,
) -> Source:
    """Return the source of one or several iterables; several give tuples, up to the shortest.

    Lists, tuples, ranges, strings and arrays are sliced where they are.  Anything else is read by
    a thread of its own, or by whoever waits for the results when not `threaded`; `arms` lets Ctrl-C
    through there.

    Raises:
        TypeError: something is not iterable.
    """
    __tracebackhide__ = True
    if not iterables:
        raise TypeError("nothing to map over: give at least one iterable after the function")
    for place, iterable in enumerate(iterables, 1):
        if not _iterable(iterable):
            which = "the input" if len(iterables) == 1 else f"input {place}"
            raise TypeError(f"{which} is not iterable: it is of type {type(iterable).__name__}")
    if all(_sliceable(iterable) for iterable in iterables):
        return SequenceSource(*iterables)  # type: ignore[arg-type]
    known = total if total is not None else length_of(iterables)
    items = iterables[0] if len(iterables) == 1 else zip(*iterables)  # noqa: B905 (as `map` does)
    return FeederSource(items, wake=wake, total=known) if threaded else DirectSource(items, known, arms)


def length_of(iterables: tuple[Iterable[Any], ...]) -> int | None:
    """Return how many items there will be; None when one of the iterables cannot tell."""
    if not iterables or not all(isinstance(iterable, Sized) for iterable in iterables):
        return None
    return min(len(iterable) for iterable in iterables)  # type: ignore[arg-type]


def _iterable(value: object) -> bool:
    try:
        iter(value)  # type: ignore[call-overload]
    except TypeError:
        return False
    return True


def _sliceable(value: object) -> bool:
    kind = type(value)
    return kind in (list, tuple, range, str, bytes) or (
        kind.__module__ == "numpy" and kind.__name__ == "ndarray"
    )
