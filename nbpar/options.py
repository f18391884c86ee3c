"""What may be said of a map, checked in one place."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any

from nbpar.core.retry import Retry
from nbpar.core.words import ERRORS, PROGRESS, check_word


@dataclass(frozen=True, slots=True)
class Options:
    """Keyword arguments of every map.

    Raises:
        TypeError, ValueError: a word or number that does not do; the message says what does.
    """

    chunksize: int | str = "auto"
    """Items sent together; "auto" aims at 50 ms of work."""

    timeout: float | None = None
    """Seconds that one item may take; only that item is stopped."""

    retries: int | Retry | None = 0
    """How often an item that failed is tried again."""

    errors: str = "raise"
    """"raise" the first, "collect" a `Failure` in the item's place, or "skip" the item."""

    max_errors: int | None = None
    """With "collect" and "skip": more failures than this raise after all."""

    seed: int | None = None
    """Gives item i the same random stream on any number of workers; on threads `nbpar.rng()` only."""

    progress: str = "auto"
    """"auto", "widget", "text" or "none"."""

    label: str | None = None
    """What views call the run; the function's name unless given."""

    total: int | None = None
    """Number of items, for inputs that cannot tell."""

    buffersize: int | None = None
    """`imap`: at most so many items are under way or waiting to be taken."""

    resume: str | None = None
    """Keep results under this name; the same map, run again after a crash, computes only what is missing."""

    retry: Retry = field(init=False)

    def __post_init__(self) -> None:
        if self.chunksize != "auto":
            object.__setattr__(self, "chunksize", at_least(1, "chunksize", self.chunksize, '"auto" or '))
        for name in ("max_errors", "total"):
            if (value := getattr(self, name)) is not None:
                at_least(0, name, value, "None or ")
        if self.buffersize is not None:
            at_least(1, "buffersize", self.buffersize)
        if self.timeout is not None:
            _seconds("timeout", self.timeout)
        check_word("errors", self.errors, ERRORS)
        check_word("progress", self.progress, PROGRESS)
        if self.seed is not None:
            object.__setattr__(self, "seed", _whole("seed", self.seed))
        if self.resume is not None:
            _file_name("resume", self.resume)
        object.__setattr__(self, "retry", Retry.of(self.retries))

    @classmethod
    def of(cls, given: dict[str, Any]) -> Options:
        """Return the options given by keyword.

        Raises:
            TypeError: there is no such option; the message says which are like it.
        """
        known = [field.name for field in fields(cls) if field.init]
        for name in given:
            if name not in known:
                near = get_close_matches(name, known, cutoff=0.5)
                hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
                raise TypeError(f"a map has no option {name!r}; {hint}")
        return cls(**given)

    @property
    def fixed_chunksize(self) -> int | None:
        """The chunk size when it is fixed."""
        return None if isinstance(self.chunksize, str) else self.chunksize


def at_least(least: int, name: str, value: Any, otherwise: str = "", hint: str = "") -> int:
    """Return a whole number from `least` on.

    Raises:
        TypeError, ValueError: it is none; `otherwise` says what else would do, `hint` what to do instead.
    """
    number = _whole(name, value, otherwise)
    if number < least:
        raise ValueError(f"{name} must be at least {least}, was {number}{hint}")
    return number


def _file_name(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a name, was {value!r}")
    if not re.fullmatch(r"\w(?:[\w .-]{0,98}\w)?", value):
        raise ValueError(
            f"{name} must be a name of at most 100 letters and digits, with blanks, '.', '_' or '-' between "
            f"them, was {value!r}"
        )


def _whole(name: str, value: Any, otherwise: str = "") -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be {otherwise}a whole number, was {value!r}") from None


def _seconds(name: str, value: Any) -> None:
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number of seconds, was {value!r}")
    if not value > 0:
        raise ValueError(f"{name} must be a number of seconds above 0, was {value!r}")
