"""Limit how many items begin in any window of time.

A log of permits: an item has one from when it is sent until a window's length after its acknowledged begin.
When the last of any window's items was sent, all others of that window still had theirs, so there are never
more than permitted, whatever messages take, and whichever workers come and go.  Buckets of tokens and shares
for each worker do not keep that promise: a full bucket lets twice as many through.

Times are the caller's, on one clock; nothing here reads it.
"""

from __future__ import annotations

import math
import re
import threading
import weakref
from collections.abc import Callable, Sequence
from fractions import Fraction
from heapq import heappop, heappush
from typing import Any, NoReturn

from nbpar.core.checks import at_least
from nbpar.core.text import short
from nbpar.host.deadlines import CENTURY, real_number

BINS = 1024
"""Permits of a large rate come back in as many lots per window, so that none is kept by itself."""

ALLOWED = '"10/s", "500/min", "1000/h", "100 in 10 s", a number per second, or (number, seconds)'

UNITS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
}
"""Seconds of the units of time."""

_TEXT = re.compile(
    r"\s*([\d_]+(?:\.\d+)?)\s*(?:/|per\s|in\s)\s*(\d+(?:\.\d+)?)?\s*([a-z]+)\s*", re.IGNORECASE
)

OPEN, NEVER = -math.inf, math.inf
LAST = math.nextafter(NEVER, 0.0)

SOON = 1e-6
"""Seconds after which a gate that is shut may be asked again, at the earliest."""


class Rate:
    """At most a number of items that begin in any window of time, for `rate=` of maps and stages.

    One object may be shared by several runs, pools and threads of a process, which then stay below it
    together.  Attempts after the first count as well.

    Args:
        limit: "10/s", "500/min", "1000/h", "100 in 10 s", a number per second, or `(number, seconds)`.
        burst: maximal number of items that are sent at once; the others follow evenly.  By default all that
            the window has left, which is never slower; 1 spaces them evenly.

    Raises:
        TypeError, ValueError: an argument is invalid; the message says what is allowed.
    """

    def __init__(self, limit: Any, *, burst: int | None = None) -> None:
        self.number, self.seconds = _read(limit)
        if burst is not None:
            burst = at_least(1, "burst", burst, "None or ")
            if burst > self.number:
                raise ValueError(
                    f"burst must be at most {self.number}, as many as begin at {self}, was {burst}"
                )
        self.burst = burst
        self.permits = Permits(self.number, self.seconds, burst)
        """For nbpar's own use."""

    @classmethod
    def of(cls, limit: Any) -> Rate | None:
        """Return the rate for a user's `rate=`; None for no limit."""
        return limit if limit is None or isinstance(limit, Rate) else cls(limit)

    def __str__(self) -> str:
        unit = _NAMES.get(self.seconds)
        return f"{self.number}/{unit}" if unit else f"{self.number} in {self.seconds:g} s"

    def __repr__(self) -> str:
        return f'Rate("{self}"{"" if self.burst is None else f", burst={self.burst}"})'

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} counts in one process; pass it as `rate=` instead of using it in items")


class Gate:
    """The permits of one run.

    Args:
        rate: may have other gates, in other threads.
        stir: called when permits may have come back; thread-safe.
    """

    def __init__(self, rate: Rate, stir: Callable[[], None]) -> None:
        self.rate = rate
        self.stir = stir
        self.opens = OPEN
        """Time when the run may ask again, after it was refused permits; `NEVER` until it is stirred."""

        self._permits = rate.permits
        self._held = [0]
        weakref.finalize(self, _abandon, rate.permits.lost, self._held).atexit = False

    def is_shut(self, now: float) -> bool:
        """Whether it is too early to ask; afterwards the time to ask again is forgotten."""
        if now < self.opens:
            return True
        self.opens = OPEN
        return False

    def available(self, now: float) -> int:
        """Return the number of items that may begin; if there are none, note when to ask again."""
        with self._permits.lock:
            return self._available(now)

    def take(self, wanted: int, now: float) -> int:
        """Take permits for items that are being sent; return for how many."""
        with self._permits.lock:
            taken = min(wanted, self._available(now))
            self._held[0] += taken
            self._permits.take(taken)
        return taken

    def begun(self, times: Sequence[float], number: int = 1) -> None:
        """Note that items began, at these times at the latest, so many at each."""
        with self._permits.lock:
            self._held[0] -= len(times) * number
            refused = self._permits.begun(times, number)
        _stir(refused)

    def unbegun(self, number: int) -> None:
        """Give back permits of items that have not begun, and will not."""
        with self._permits.lock:
            self._held[0] -= number
            refused = self._permits.give_back(number)
        _stir(refused)

    def lost(self, number: int) -> None:
        """Give up permits of items that may have begun by now, and will not begin later."""
        with self._permits.lock:
            self._held[0] -= number
            self._permits.lost.append(number)
            refused = self._permits.reopen(OPEN)
        _stir(refused)

    def shut(self, until: float) -> None:
        """Let nothing begin until then, in any run at this rate."""
        with self._permits.lock:
            self._permits.shut = max(self._permits.shut, until)

    def _available(self, now: float) -> int:
        available, opens = self._permits.available(now)
        self.opens = OPEN if available else max(opens, now + SOON)
        if not available:
            self._permits.refused.add(self)
        return available


class Permits:
    """The permits of a rate, and the gates that were refused some; its lock is held for every call."""

    def __init__(self, number: int, seconds: float, burst: int | None) -> None:
        self._log = _Log(number, seconds)
        self._bucket = None if burst is None else _Bucket(burst, seconds / number)
        self.shut = OPEN
        """Time until which nothing begins, because a server has asked for that."""

        self.lost: list[int] = []
        """Permits that came back without a time; any thread may append, without the lock."""

        self.refused: weakref.WeakSet[Gate] = weakref.WeakSet()
        self.lock = threading.Lock()  # for all of this, and of the gates

    def available(self, now: float) -> tuple[int, float]:
        """Return how many there are; if there are none, also when, as far as that is known."""
        while self.lost:
            self._log.begun([now], self.lost.pop())
        free = self._log.free(now)
        opens = max(self.shut, OPEN if free else self._log.opens())
        if self._bucket is not None:
            free = min(free, self._bucket.fill(now))
            opens = max(opens, self._bucket.opens(now))
        return (0 if self.shut > now else free), opens

    def take(self, number: int) -> None:
        """Take some that are available."""
        self._log.held += number
        if self._bucket is not None:
            self._bucket.level -= number

    def begun(self, times: Sequence[float], number: int) -> list[Gate]:
        """Note when items began, at the latest; return gates that may ask earlier than they know."""
        self._log.begun(times, number)
        if self._bucket is not None:  # what they know is mostly when the bucket has something
            return self.reopen(LAST)
        return self.reopen(max(self._log.opens(), self.shut))

    def give_back(self, number: int) -> list[Gate]:
        """Take back permits that were not used; likewise."""
        self._log.held -= number
        if self._bucket is not None:
            self._bucket.level += number
        return self.reopen(self.shut)

    def reopen(self, at: float) -> list[Gate]:
        """Return the gates that know of a later time only; they may ask again."""
        reopened = [gate for gate in self.refused if gate.opens > at] if self.refused else []
        for gate in reopened:
            gate.opens = OPEN
            self.refused.discard(gate)
        return reopened


def _stir(gates: list[Gate]) -> None:
    for gate in gates:
        gate.stir()


def _abandon(lost: list[int], held: list[int]) -> None:
    """Take back the permits of a gate that is gone."""
    if held[0]:
        lost.append(held[0])


class _Log:
    """Permits in use."""

    def __init__(self, number: int, seconds: float) -> None:
        self._number = number
        self._seconds = seconds
        self._bin = seconds / BINS if number > BINS else 0.0
        self.held = 0
        """Permits of items that were sent, and whose begin is not known."""

        self._begun = 0
        """Permits of items that began less than a window ago."""

        self._ends: list[float] = []
        """When these come back: a heap."""

        self._lots: dict[float, int] = {}
        """How many come back then."""

    def free(self, now: float) -> int:
        """Return the number of permits that are not in use."""
        ends = self._ends
        while ends and ends[0] <= now:
            self._begun -= self._lots.pop(heappop(ends))
        return max(self._number - self.held - self._begun, 0)

    def opens(self) -> float:
        """Return when the next permit comes back, as far as is known."""
        return self._ends[0] if self._ends else NEVER

    def begun(self, times: Sequence[float], number: int) -> None:
        """Note that items with permits began, at these times at the latest, so many at each."""
        self.held -= len(times) * number
        self._begun += len(times) * number
        lots, size = self._lots, self._bin
        for at in times:
            end = at + self._seconds
            if size:
                end = max(math.ceil(end / size) * size, end)
            if end in lots:
                lots[end] += number
            else:
                lots[end] = number
                heappush(self._ends, end)


class _Bucket:
    """Spaces items: a bucket of tokens, of which one comes at each interval."""

    def __init__(self, size: int, interval: float) -> None:
        self._size = size
        self._interval = interval
        self._filled = 0.0
        self.level = float(size)

    def fill(self, now: float) -> int:
        """Add the tokens that have come; return how many there are."""
        self.level = min(self.level + max(now - self._filled, 0.0) / self._interval, self._size)
        self._filled = max(self._filled, now)  # loops that share a rate bring times a little out of order
        return int(self.level + 1e-9)

    def opens(self, now: float) -> float:
        """Return when there is one, just after `fill`."""
        return now + max(1.0 - self.level, 0.0) * self._interval


_NAMES = {1.0: "s", 60.0: "min", 3600.0: "h", 86_400.0: "d"}


def _read(limit: Any) -> tuple[int, float]:
    """Return the number and the seconds of a limit."""
    number, seconds = _parts(limit)
    if not (0 < number < NEVER and 0 < seconds < NEVER):
        raise ValueError(f"rate must be {ALLOWED}, all above 0, was {short(limit)}")
    whole = max(math.floor(number), 1)
    seconds = float(Fraction(seconds) * whole / Fraction(number))
    if seconds > CENTURY:
        raise ValueError(f"rate must be at least one in a century, was {short(limit)}")
    return whole, seconds


def _parts(limit: Any) -> tuple[float, float]:
    if isinstance(limit, str):
        if (match := _TEXT.fullmatch(limit)) and (unit := UNITS.get(match[3].lower())):
            return float(match[1]), float(match[2] or 1) * unit
        raise ValueError(f"rate must be {ALLOWED}, was {short(limit)}")
    pair = limit if isinstance(limit, (tuple, list)) and len(limit) == 2 else (limit, 1.0)
    numbers = [real_number(part) for part in pair]
    if numbers[0] is None or numbers[1] is None:
        raise TypeError(f"rate must be {ALLOWED}, was {short(limit)}")
    return numbers[0], numbers[1]
