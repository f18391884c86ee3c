"""Keep the permits of a call's items, in a run at a limited rate, until it is known when they began.

Plain functions of the call: the scheduler calls them where it hears of one, if it has permits.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from nbpar.core.windows import Assignment

DRIFT = 1e-3
"""Share by which seconds on a worker's clock may be longer than here; clocks are adjusted by half of that."""


def answered(
    call: Assignment, values: int, each: Sequence[float], now: float, *, final: bool, struck: bool
) -> None:
    """Note outcomes of a call's next items; with `final` the others have not begun, if one follows the other.

    Args:
        call: without these items among the done ones yet.
        values: number of the outcomes.
        each: seconds of each item, or nothing.
        now: when they arrived.
        final: whether the call is over.
        struck: whether the next item was interrupted, and so has begun.
    """
    stop = call.done + values
    times, together = [now] * values, call.run.chunker.concurrency > 0
    if len(each) == values:  # an item began at the latest when its time, and that of those after it, was left
        left = each if together else list(accumulate(reversed(each)))[::-1]
        times = [now - seconds * (1 - DRIFT) for seconds in left]
    if struck:
        stop, times = stop + 1, [*times, now]
    fresh = times[max(call.begun - call.done, 0) :]
    _begun(call, min(stop, call.permits), fresh)
    if final and not together:
        cut(call, call.begun)


def began(call: Assignment, items: int, age: float, now: float) -> None:
    """Note that the first `items` of a call began, some seconds ago at the latest."""
    items = min(items, call.permits)
    _begun(call, items, [now - age * (1 - DRIFT)] * (items - call.begun))


def cut(call: Assignment, items: int) -> None:
    """Give back the permits of a call's items after the first `items`: they will not begin."""
    items = max(items, call.begun)
    if (number := call.permits - items) > 0 and call.run.gate is not None:
        call.permits = items
        call.run.gate.unbegun(number)


def lost(call: Assignment) -> None:
    """Give up a call, any item of which may have begun."""
    if (number := call.permits - call.begun) > 0 and call.run.gate is not None:
        call.permits = call.begun
        call.run.gate.lost(number)


def _begun(call: Assignment, items: int, times: list[float]) -> None:
    if (number := items - call.begun) > 0 and call.run.gate is not None:
        call.begun = items
        call.run.gate.begun(times[:number])
