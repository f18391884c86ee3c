"""Keep the permits of a call's items, in a run at a limited rate, until it is known when they began.

Plain functions of the call: the scheduler calls them where it hears of one, if it has permits.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from nbpar.core.scheduling.windows import Assignment

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
    together = call.run.chunker.concurrency > 0
    if len(each) == values:  # an item began at the latest when its time, and that of those after it, was left
        left = each if together else list(accumulate(reversed(each)))[::-1]
        _begun(call, call.done + values, now, left[max(call.begun - call.done, 0) :])
    else:
        _begun(call, call.done + values, now)
    if struck:
        _begun(call, call.done + values + 1, now)
    if final and not together:
        cut(call, call.begun)


def began(call: Assignment, items: int, age: float, now: float) -> None:
    """Note that the first `items` of a call began, some seconds ago at the latest."""
    _begun(call, items, now - age * (1 - DRIFT))


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


def _begun(call: Assignment, items: int, now: float, left: Sequence[float] | None = None) -> None:
    """Note that the first `items` of a call have begun by `now`, or as many seconds before as are `left`."""
    if (number := min(items, call.permits) - call.begun) <= 0 or (gate := call.run.gate) is None:
        return
    call.begun += number
    if left is None:
        gate.begun([now], number)
    else:
        gate.begun([now - seconds * (1 - DRIFT) for seconds in left[:number]])
