"""Keyword options of every map, validated in one place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, TypedDict, TypeVar

from nbpar.core.checks import (
    ERRORS,
    PROGRESS,
    at_least,
    check_flag,
    check_name,
    check_seconds,
    check_text,
    check_word,
    number_of_workers,
    whole_number,
)
from nbpar.core.rates.rate import Rate
from nbpar.core.rates.retry import Retry
from nbpar.core.scheduling.needs import Needs
from nbpar.host.deadlines import CENTURY

F = TypeVar("F", bound=Callable[..., Any])

OF_OTHERS = {
    "resources": "needs",
    "memory": "needs",
    "rate_limit": "rate",
    "max_per_second": "rate",
    "chunk": "chunksize",
    "batch_size": "chunksize",
    "n_jobs": "workers",
    "n_workers": "workers",
    "num_workers": "workers",
    "max_workers": "workers",
    "processes": "workers",
    "nprocs": "workers",
    "cores": "workers",
}
"""Other tools' names of the options."""


@dataclass(frozen=True, slots=True)
class Options:
    """Keyword arguments of every map.

    Raises:
        TypeError, ValueError: a value is invalid; the message says what is allowed.
    """

    chunksize: int | str = "auto"
    """Items sent together; "auto" aims at 50 ms of work."""

    timeout: float | None = None
    """Time limit of one item in seconds; only that item is stopped."""

    retries: int | Retry | None = 0
    """Number of times a failed item is retried, or a `Retry`."""

    rate: Rate | str | float | tuple[float, float] | None = None
    """Limit of items that begin in any window of time: "500/min", or a `Rate` that several runs share."""

    errors: str = "raise"
    """"raise" the first, "collect" a `Failure` in the item's place, or "skip" the item."""

    max_errors: int | None = None
    """With "collect" and "skip": one more failure than this raises."""

    seed: int | None = None
    """Makes random numbers of item i the same on any number of workers; on threads `nbpar.rng()` only."""

    progress: str = "auto"
    """"auto", "widget", "text" or "none"."""

    label: str | None = None
    """Name of the run in views; by default the function's name."""

    total: int | None = None
    """Number of items, for inputs without a length."""

    buffersize: int | None = None
    """`imap`: maximal number of items running or waiting to be consumed."""

    resume: str | None = None
    """Keep results under this name; the same map, run again after a crash, computes only the missing ones."""

    concurrency: int | None = None
    """Items of an async function under way at once on each worker; by default 100."""

    workers: int | None = None
    """Maximal number of workers for this call; a default pool with fewer adds some until it is over."""

    needs: Mapping[str, Any] | Needs | None = None
    """What an item needs of its host, {"memory": "2GB", "cores": 2}: as many are under way as fit."""

    profile: bool = False
    """Sample the items' functions and lines for `report.profile`, and measure the memory of each."""

    retry: Retry = field(init=False)
    limit: Rate | None = field(init=False)
    needed: Needs | None = field(init=False)

    def __post_init__(self) -> None:
        self._settle_numbers()
        self._settle_failures()
        check_word("progress", self.progress, PROGRESS)
        check_flag("profile", self.profile)
        if self.label is not None:
            check_text("label", self.label, "None or ")
        if self.resume is not None:
            check_name("resume", self.resume)

    def _settle_numbers(self) -> None:
        if not _is_auto(self.chunksize):
            object.__setattr__(self, "chunksize", at_least(1, "chunksize", self.chunksize, '"auto" or '))
        if self.total is not None:
            object.__setattr__(self, "total", at_least(0, "total", self.total, "None or "))
        if self.buffersize is not None:
            object.__setattr__(self, "buffersize", at_least(1, "buffersize", self.buffersize))
        if self.concurrency is not None:
            object.__setattr__(self, "concurrency", at_least(1, "concurrency", self.concurrency, "None or "))
        if self.workers is not None:
            object.__setattr__(self, "workers", number_of_workers(self.workers, otherwise="None or "))
        if self.seed is not None:
            object.__setattr__(self, "seed", whole_number("seed", self.seed))

    def _settle_failures(self) -> None:
        if self.timeout is not None and check_seconds("timeout", self.timeout) == CENTURY:
            object.__setattr__(self, "timeout", None)
        check_word("errors", self.errors, ERRORS)
        if self.max_errors is not None:
            object.__setattr__(self, "max_errors", at_least(0, "max_errors", self.max_errors, "None or "))
            if self.errors == "raise":
                raise ValueError(
                    f'max_errors needs errors="collect" or "skip", was {self.max_errors} with "raise", '
                    "which ends the run at the first failure"
                )
        object.__setattr__(self, "retry", Retry.of(self.retries))
        object.__setattr__(self, "limit", Rate.of(self.rate))
        object.__setattr__(self, "needed", Needs.of(self.needs))

    @classmethod
    def of(cls, given: Mapping[str, Any], fn: object = None) -> Options:
        """Return the options given by keyword.

        Args:
            given: the keyword arguments.
            fn: the mapped function; the user may have meant its parameters.

        Raises:
            TypeError: an option is unknown; the message suggests a similar one.
        """
        known = [field.name for field in fields(cls) if field.init]
        for name in given:
            if name not in known:
                raise TypeError(f"unknown option {name!r}; {_hint(name, known, fn)}")
        return cls(**given)

    @property
    def fixed_chunksize(self) -> int | None:
        """The chunk size if it is fixed."""
        return None if isinstance(self.chunksize, str) else self.chunksize


class MapOptions(TypedDict, total=False):
    """The same options for type checkers."""

    chunksize: int | str
    timeout: float | None
    retries: int | Retry | None
    rate: Rate | str | float | tuple[float, float] | None
    errors: str
    max_errors: int | None
    seed: int | None
    progress: str
    label: str | None
    total: int | None
    buffersize: int | None
    resume: str | None
    concurrency: int | None
    workers: int | None
    needs: Mapping[str, Any] | Needs | None
    profile: bool


def takes_options(function: F) -> F:
    """Show the options in a function's signature, in place of its `**options`."""
    signature = inspect.signature(function)
    keyword = inspect.Parameter.KEYWORD_ONLY
    own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    options = [
        inspect.Parameter(one.name, keyword, default=one.default, annotation=one.type)
        for one in fields(Options)
        if one.init
    ]
    function.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
    return function


def _is_auto(value: object) -> bool:
    """Whether it is "auto"; arrays are compared element by element otherwise."""
    return isinstance(value, str) and value == "auto"


def _hint(name: str, known: list[str], fn: object) -> str:
    if name in OF_OTHERS:
        return f"did you mean {OF_OTHERS[name]}?"
    if name in parameters_of(fn):
        called = getattr(fn, "__name__", "fn")
        return f"to give it to the function, map `functools.partial({called}, {name}=...)`"
    if near := get_close_matches(name, known, cutoff=0.5):
        return f"did you mean {' or '.join(near)}?"
    return f"there are {', '.join(known)}"


def parameters_of(fn: object) -> set[str]:
    """Return the names of a function's parameters; nothing if they are unknown."""
    try:
        return set(inspect.signature(fn).parameters)  # type: ignore[arg-type]  # it need be no function
    except (TypeError, ValueError):
        return set()
