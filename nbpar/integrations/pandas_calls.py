"""Run a call of pandas with its function's values computed on workers.

pandas calls a function once for each row, column, cell, group or window, in an order that does not depend on
the values.  So the values are computed first, on the workers, and then pandas makes the same call with a
function that returns one after the other: dtype, index, names and order are pandas' own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from itertools import count
from statistics import median
from typing import Any

from nbpar.core.text import function_name, plural, seconds
from nbpar.errors import NbparError
from nbpar.host.cpus import default_workers
from nbpar.integrations.pandas_arguments import Arguments, ItemFunction, Rows
from nbpar.pool.defaults import default_pools, pool_for, used_place
from nbpar.pool.in_use import check_pool
from nbpar.pool.options import Options
from nbpar.pool.pool import Pool
from nbpar.run import history
from nbpar.worker.nesting import inside_item

Operation = Callable[[Callable[..., Any]], Any]
"""A call of pandas, given its function."""

FORBIDDEN = ("errors", "max_errors", "total", "buffersize", "resume", "concurrency")
"""Options of maps that do not fit a table, which has a value for each row."""

ON_WORKERS = ("timeout", "retries", "rate", "seed")
"""Options that only maps keep; with one of them nothing is computed here."""

CHEAP = 2e-5
"""Seconds per call below which pandas is left alone: even a wrapper around the function would be felt."""

TRIED = 5
"""Calls that are made here at least, to time them."""

MOST_TRIED = 20
"""Calls that are made here at most, to time them."""

LONG_ENOUGH = 0.002
"""Seconds of calls that suffice, if there were as many as `TRIED`."""

TOO_LONG = 0.05
"""Seconds of a first call that say enough."""

START = 0.4
"""Seconds until the first workers are there."""

COPY = 1e-9
"""Seconds that a byte of the table takes to the workers."""

WORTH = 0.8
"""Workers are used if they take less than this share of the time here."""

LATE = 4
"""Calls that take this number of times as long as was expected are continued on the workers."""

PATIENCE = 1.0
"""Seconds before that is looked at."""

OF_PANDAS = 2e-5
"""Seconds that pandas itself takes for a call at most, about."""


_UNCHANGING = (float, int, str, bool, type(None))
"""Types of values that the next row cannot change."""


@dataclass(frozen=True)
class Settings:
    """Where and how a table's calls run.

    Raises:
        TypeError, ValueError: there is no such option, or it does not fit a table.
    """

    pool: Pool | None = None
    """Provides the workers; by default the default pool, or the one in use."""

    try_here: bool = True
    """Time a few calls here first, and stay here if they are so short that workers cannot pay."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the map."""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Settings:
        """Return the settings given by keyword."""
        rest = dict(given)
        pool, try_here = rest.pop("pool", None), rest.pop("try_here", True)
        check_pool(pool)
        for name in FORBIDDEN:
            if name in rest:
                raise TypeError(f"the option {name!r} does not fit a table, which has a value for each row")
        Options.of(rest)
        if pool is not None and "workers" in rest and rest["workers"] is not None:
            rest["workers"] = min(rest["workers"], max(1, pool.size))
        return cls(pool, try_here and not any(rest.get(name) for name in ON_WORKERS), rest)

    @property
    def workers(self) -> int:
        """The number of workers that a call would have."""
        asked = self.options.get("workers")
        place = self.pool or used_place()
        size = default_workers() if place is None else getattr(place, "size", None) or default_workers()
        return min(asked, size) if asked and place is not None else asked or size

    @property
    def warm(self) -> bool:
        """Whether there are workers already."""
        return self.pool is not None or used_place() is not None or bool(default_pools())


class _Decision:
    """Where the last call ran, and why."""

    text = "no call yet"


def decision() -> str:
    """Return where the last call on a table ran, and why."""
    return _Decision.text


class _Deviation(BaseException):
    """pandas has not called the function as expected; not an Exception, which pandas may catch."""


class _Late(BaseException):
    """Calls take longer here than expected."""


def is_callable_for_each(function: Any) -> bool:
    """Whether pandas calls it for each row or cell, rather than once with a whole array."""
    import numpy as np

    if iscoroutinefunction(function):
        raise TypeError(
            f"pandas cannot await `{function_name(function)}`; map over the rows instead: "
            "`nbpar.map(f, df.itertuples())`"
        )
    return callable(function) and not isinstance(function, (np.ufunc, str, type))


def computed(
    operation: Operation,
    arguments: Arguments,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    settings: Settings,
    known: dict[int, Any] | None = None,
) -> Any:
    """Return the result of an operation whose function's values are computed on workers, or here.

    `known` has values that were computed already, by the number of the call.
    """
    __tracebackhide__ = True
    if inside_item() or len(arguments) < 2:
        _say(arguments, "here: it is within an item" if inside_item() else "here: there is no other")
        return operation(function)
    call = _Call(operation, arguments, function, args, kwargs, settings, dict(known or {}))
    if settings.try_here:
        each = call.try_some()
        rest = len(arguments) - len(call.values)
        if _seconds_on_workers(rest, each, arguments, settings) > WORTH * rest * each:
            _say(arguments, f"here, {seconds(each)} each: workers would not be faster")
            try:
                return operation(_here(call, LATE * (each + OF_PANDAS)))
            except _Late:
                pass
    tried = len(call.values)
    _say(arguments, f"on workers, the first {tried} here" if tried else "on workers")
    call.compute()
    return call.replayed()


def transformed(operation: Operation, arguments: Arguments, function: Any, *how: Any) -> Any:
    """Like `computed`, for `transform`: if a call fails, pandas tries the function on the whole table."""
    __tracebackhide__ = True
    try:
        return computed(operation, arguments, function, *how)
    except NbparError:
        raise
    except Exception:  # noqa: BLE001 (pandas says what is wrong)
        return operation(function)


def _say(arguments: Arguments, where: str) -> None:
    _Decision.text = f"{plural(len(arguments), arguments.noun)} {where}"


def _seconds_on_workers(number: int, each: float, arguments: Arguments, settings: Settings) -> float:
    workers = settings.workers
    if workers < 2 and settings.pool is None:
        return float("inf")
    start = 0.01 if settings.warm else START
    return start + arguments.nbytes * COPY + number * ((each + arguments.cost) / workers + 5e-6)


def _name(error: BaseException, arguments: Arguments, call: int) -> None:
    """Add a note that names the row to an exception."""
    try:
        label = arguments.label(call)
    except Exception:  # noqa: BLE001 (the label's own code may run)
        label = f"{arguments.noun} {call}"
    _note(error, label)


def _note(error: BaseException, label: str) -> None:
    try:
        notes = list(getattr(error, "__notes__", ()))
        error.__notes__ = [*notes, f"it was {label}"]  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001, S110 (a class may accept no attributes)
        pass


class Enough(BaseException):
    """Enough calls were made; not an Exception, which pandas may catch."""


class Timed:
    """A function that keeps its values, and how long they took.

    Args:
        function: the function.
        noun: what it is called with.
        enough: the number of calls before `Enough` is raised; None: there is no limit.
        chooses: calls before the first one with a frame do not count, nor does that: they are those by which
            `transform` of a frame chooses what it passes.
    """

    def __init__(self, function: Any, noun: str, *, enough: int | None = None, chooses: bool = False) -> None:
        self._function = function
        self._noun = noun
        self._enough = enough
        self._counts = not chooses
        self._counted = 0
        self.values: list[Any] = []
        self.seconds = 0.0
        self.failed = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if self._enough is not None and self._counted >= self._enough:
            raise Enough
        begun = time.perf_counter()
        try:
            value = self._function(*args, **kwargs)
        except Exception as error:
            self.failed = True
            name = getattr(args[0], "name", None)
            _note(error, f"{self._noun} {len(self.values) if name is None else repr(name)}")
            raise
        self.seconds += time.perf_counter() - begun
        self.values.append(value)
        self._counts = self._counts or getattr(args[0], "ndim", 0) == 2
        self._counted += self._counts
        return value


@dataclass
class _Call:
    """One call of pandas, and the values of its function by the number of their call."""

    operation: Operation
    arguments: Arguments
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    settings: Settings
    values: dict[int, Any]

    def try_some(self) -> float:
        """Make the first calls here; return the seconds of one."""
        __tracebackhide__ = True
        items = self.arguments.items()
        spent: list[float] = []
        for call in range(len(items)):
            if call in self.values:
                continue
            argument = self.arguments(items[call])
            begun = time.perf_counter()
            value = self.value(call, argument, *self.args, **self.kwargs)
            spent.append(time.perf_counter() - begun)
            self.values[call] = self.arguments.kept(value)
            enough = len(spent) >= TRIED and sum(spent) > LONG_ENOUGH
            if enough or sum(spent) > TOO_LONG or len(spent) >= MOST_TRIED:
                break
        others = spent[1:] or spent or [0.0]  # the first may include imports, and filling caches
        return min(median(others), sum(others) / len(others))  # something else may have had the CPU

    def value(self, call: int, /, *args: Any, **kwargs: Any) -> Any:
        """Compute the value of a call here, and keep it."""
        __tracebackhide__ = True
        try:
            value = self.values[call] = self.function(*args, **kwargs)
        except Exception as error:
            _name(error, self.arguments, call)
            raise
        return value

    def compute(self) -> None:
        """Compute the missing values on workers."""
        __tracebackhide__ = True
        options: Any = {"label": function_name(self.function), **self.settings.options}
        items = self.arguments.items()
        missing = [call for call in range(len(items)) if call not in self.values]
        if not missing:
            return
        pool = self.settings.pool or pool_for("engines", options)
        sent = items[missing[0] :] if len(items) - missing[0] == len(missing) else [items[i] for i in missing]
        item = ItemFunction(self.function, self.arguments, self.args, self.kwargs)
        try:
            found = pool.map(item, sent, **options)
        except Exception as error:
            run = history.run
            for failure in run.failures if run is not None else ():
                if failure.exception is error:
                    _name(error, self.arguments, missing[failure.index])
                    break
            raise
        self.values.update(zip(missing, found, strict=True))

    def replayed(self) -> Any:
        """Return the operation's result, made of the values."""
        __tracebackhide__ = True
        replay = _Replay([self.values[call] for call in range(len(self.arguments))])
        try:
            result = self.operation(replay)
        except _Deviation:
            pass
        else:
            if replay.complete:
                return result
        _say(self.arguments, "here: pandas did not call the function as expected")
        return self.operation(self.function)


class _Replay:
    """A function that returns known values, one per call."""

    def __init__(self, values: list[Any]) -> None:
        self._values = iter(values)

    @property
    def complete(self) -> bool:
        """Whether all values were returned."""
        return next(self._values, self) is self

    def __call__(self, *_: Any, **__: Any) -> Any:
        for value in self._values:
            return value
        raise _Deviation


def _here(call: _Call, longest: float) -> Callable[..., Any]:
    """Return a function that returns the known values and computes the others.

    It ends the operation if a call takes more than `longest` seconds on average.

    A closure, and not a class: it is called for each of many short calls.
    """
    values, function, clock = call.values, call.function, time.perf_counter
    kept = call.arguments.kept if isinstance(call.arguments, Rows) else None
    numbers, begun = count(), clock()

    def value_of(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        number = next(numbers)
        if number in values:
            return values[number]
        if not number % 16 and clock() - begun > max(PATIENCE, longest * number):
            raise _Late
        try:
            value = function(*args, **kwargs)
        except Exception as error:
            _name(error, call.arguments, number)
            raise
        values[number] = value if kept is None or isinstance(value, _UNCHANGING) else kept(value)
        return value

    return value_of
