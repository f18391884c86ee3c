"""Decide whether a failed item is tried again, and when.

Attempts are counted from 1.  Clock and random numbers are the caller's: this module only
turns numbers into numbers.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nbpar.core.text import short
from nbpar.errors import RemoteError
from nbpar.host.deadlines import real_number

ExceptionTypes = type[Exception] | tuple[type[Exception], ...]


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and after which delay a failed item is retried.

    `Retry(3)` waits 0.1, 0.2 and 0.4 seconds.  Stop is never retried: `on` takes `Exception`
    and its subclasses only, which `KeyboardInterrupt` is not.

    Raises:
        TypeError: a field is of the wrong kind.
        ValueError: a number is out of range.
    """

    times: int = 0
    """Maximal number of attempts after the first; 0 means none."""

    first: float = 0.1
    """Seconds before the second attempt."""

    growth: float = 2.0
    """Each further delay is this number of times the one before."""

    longest: float = 30.0
    """Seconds that no delay exceeds, jitter aside."""

    jitter: float = 0.1
    """Maximal random addition, as a share of the delay, so that items do not return all at once."""

    on: ExceptionTypes = (Exception,)
    """Exceptions worth another attempt: a type or a tuple of types."""

    after: bool | Callable[[Any], Any] = True
    """Whether to wait as long as an exception asks for, if that is longer.

    By default its attribute `retry_after` counts, or the header `Retry-After` of its `response` or of
    itself, and likewise its causes'.  Or a function of the exception, called on the worker, which returns
    seconds, a `timedelta`, the text of such a header, or None.
    """

    longest_after: float = 3600.0
    """Seconds: an item whose exception asks to wait for longer fails at once."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "times", _count(self.times))
        object.__setattr__(self, "on", _types(self.on))
        for name, least in _LEAST.items():
            _check_number(name, getattr(self, name), least)
        if not (isinstance(self.after, bool) or callable(self.after)):
            raise TypeError(
                f"after must be True, False or a function of the exception, was {short(self.after)}"
            )

    @classmethod
    def of(cls, retries: int | Retry | None) -> Retry:
        """Return the policy for a user's `retries=`: a number, a `Retry`, or None for none."""
        if isinstance(retries, Retry):
            return retries
        return cls() if retries is None else cls(times=retries)

    def again(self, exception: BaseException, attempt: int, after: float | None = None) -> bool:
        """Whether an item whose `attempt` ended with `exception` is tried once more.

        `after` is the number of seconds to wait that the exception asks for, if it does.
        """
        if attempt > self.times or (after is not None and after > self.longest_after):
            return False
        return isinstance(exception, self.on) or self._stands_for(exception)

    def delay_before(self, attempt: int, jitter: float = 0.0, after: float | None = None) -> float:
        """Seconds to wait before this attempt; `jitter` is a random number from 0 to 1.

        There is no wait before attempt 1.  It is never shorter than `after`, the wait that was asked for.
        """
        if attempt <= 1:
            return 0.0
        own = min(self.longest, self._grown(attempt - 2)) if self.first else 0.0
        return max(own, after or 0.0) * (1 + self.jitter * jitter)

    def _stands_for(self, exception: BaseException) -> bool:
        """Whether it stands for an exception of the right kind that could not travel."""
        if not isinstance(exception, RemoteError):
            return False
        return any(f"{kind.__module__}.{kind.__qualname__}" in exception.kinds for kind in _types(self.on))

    def _grown(self, steps: int) -> float:
        try:
            return self.first * self.growth**steps
        except OverflowError:
            return math.inf


_LEAST = {"first": 0.0, "growth": 1.0, "longest": 0.0, "jitter": 0.0, "longest_after": 0.0}


def _count(times: object) -> int:
    try:
        count = operator.index(times)  # type: ignore[arg-type]  # whether it is one is the question
    except TypeError:
        count = None
    if count is None or isinstance(times, bool):
        raise TypeError(f"retries must be a whole number or a Retry, was {short(times)}")
    if count < 0:
        raise ValueError(f"retries must be at least 0, was {count}")
    return count


def _types(on: object) -> tuple[type[Exception], ...]:
    types = tuple(on) if isinstance(on, (tuple, list, set, frozenset)) else (on,)
    for kind in types:
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise TypeError(f"on must hold Exception or subclasses of it, had {short(kind)}")
    return types


def _check_number(name: str, value: object, least: float) -> None:
    number = real_number(value)
    if number is None:
        raise TypeError(f"{name} must be a number, was {short(value)}")
    if not least <= number < math.inf:
        raise ValueError(f"{name} must be a finite number of at least {least:g}, was {short(value)}")
