"""Groups and windows of a table: pandas' calls that apply a function to each, with its values from workers.

pandas first makes the call with a function that only records its arguments, which become the items.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from nbpar.host.frames import entrance
from nbpar.integrations.pandas_arguments import Recorded
from nbpar.integrations.pandas_calls import (
    CHEAP,
    Enough,
    Settings,
    Timed,
    computed,
    is_callable_for_each,
)
from nbpar.worker.nesting import inside_item

COST = {pd.DataFrame: 4e-4, pd.Series: 1.5e-4}
"""Seconds that handing over a group takes, about."""


TRIED = 4
"""Calls that are made here first."""

OLDER = int(pd.__version__.partition(".")[0]) < 3
"""After a TypeError such a pandas calls the function again, with groups without their keys."""


class Grouped:
    """The groups of a table on workers; `df.nbpar.groupby(...)` makes it."""

    def __init__(self, table: Any, groups: Any, settings: Settings) -> None:
        self._table = table
        self._groups = groups
        self._settings = settings

    def __getitem__(self, key: Any) -> Grouped:
        return Grouped(self._table, self._groups[key], self._settings)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in getattr(self._table, "columns", ()):
            raise AttributeError(
                f"groups of nbpar have no {name!r}: they have agg, apply, expanding, rolling and transform"
            )
        return self[name]

    @entrance
    def apply(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        """Apply a function to each group; like `apply` of pandas' groups."""
        __tracebackhide__ = True
        return self._computed("apply", func, args, kwargs, dict.fromkeys(["include_groups"]))

    @entrance
    def agg(self, func: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Aggregate each group; like `agg` of pandas' groups."""
        __tracebackhide__ = True
        return self._computed("agg", func, args, kwargs, dict.fromkeys(["engine", "engine_kwargs"]))

    aggregate = agg

    @entrance
    def transform(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        """Transform each group; like `transform` of pandas' groups."""
        __tracebackhide__ = True
        return self._computed("transform", func, args, kwargs, dict.fromkeys(["engine", "engine_kwargs"]))

    def rolling(self, *args: Any, **kwargs: Any) -> Windowed:
        """Return the rolling windows of each group; they have `apply`."""
        return Windowed(self._groups.rolling(*args, **kwargs), self._settings)

    def expanding(self, *args: Any, **kwargs: Any) -> Windowed:
        """Return the expanding windows of each group; they have `apply`."""
        return Windowed(self._groups.expanding(*args, **kwargs), self._settings)

    def _computed(
        self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], of_pandas: dict[str, Any]
    ) -> Any:
        """Call a method of the groups; `of_pandas` are its own keyword arguments."""
        __tracebackhide__ = True
        method = getattr(self._groups, name)

        def operation(function: Any) -> Any:
            return method(function, *args, **kwargs)

        if not _is_plain_function(func):
            return operation(func)
        own = {key: value for key, value in kwargs.items() if key not in of_pandas}
        answer = {"apply": _none, "agg": _zero, "transform": _same}[name]
        chooses = name == "transform" and isinstance(self._groups, pd.api.typing.DataFrameGroupBy)
        return _recorded(operation, "group", answer, func, args, own, self._settings, chooses=chooses)


class Windowed:
    """The windows of a table on workers; `df.nbpar.rolling(...)` makes it."""

    def __init__(self, windows: Any, settings: Settings) -> None:
        self._windows = windows
        self._settings = settings

    def __getitem__(self, key: Any) -> Windowed:
        return Windowed(self._windows[key], self._settings)

    @entrance
    def apply(
        self, func: Any, raw: bool = False, engine: Any = None, engine_kwargs: Any = None,
        args: tuple[Any, ...] | None = None, kwargs: dict[str, Any] | None = None,
    ) -> Any:  # fmt: skip
        """Apply a function to each window; like `apply` of pandas' windows."""
        __tracebackhide__ = True

        def operation(function: Any) -> Any:
            return self._windows.apply(
                function, raw=raw, engine=engine, engine_kwargs=engine_kwargs, args=args, kwargs=kwargs
            )

        if engine not in (None, "cython") or not _is_plain_function(func):
            return operation(func)
        return _recorded(operation, "window", _zero, func, args or (), kwargs or {}, self._settings)


def _none(_: Any) -> None:
    return None


def _zero(_: Any) -> float:
    return 0.0


def _same(value: Any) -> Any:
    return value


def _is_plain_function(function: Any) -> bool:
    """Whether pandas calls it for each group; it has its own ways for names, `sum`, and NumPy's functions."""
    if not is_callable_for_each(function) or inside_item():
        return False
    return str(getattr(function, "__module__", "")).partition(".")[0] not in ("builtins", "numpy")


def _recorded(
    operation: Callable[[Any], Any],
    noun: str,
    answer: Callable[[Any], Any],
    function: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    settings: Settings,
    *,
    chooses: bool = False,
) -> Any:
    """Return the result of an operation, whose arguments are recorded first.

    The first calls are made here: to time them, and because `transform` of a frame `chooses` by the first
    group's values whether it passes groups or their columns.
    """
    __tracebackhide__ = True
    tried = Timed(function, noun, enough=TRIED, chooses=chooses)
    if chooses or settings.try_here:
        try:
            return operation(tried)  # there are no more calls than that
        except Enough:
            pass
        if tried.failed or (settings.try_here and tried.seconds < CHEAP * len(tried.values)):
            return operation(function)
    values, passed = tried.values, []

    def record(value: Any, *_: Any, **__: Any) -> Any:
        passed.append(value)
        return values[len(passed) - 1] if len(passed) <= len(values) else answer(value)

    try:
        operation(record)
    except Exception:  # noqa: BLE001 (pandas says it again, of the function itself)
        return operation(function)
    if not passed:
        return operation(function)
    arguments = Recorded(noun, passed, cost=COST.get(type(passed[-1]), 1e-5))
    try:
        return computed(operation, arguments, function, args, kwargs, settings, dict(enumerate(values)))
    except TypeError:
        if noun == "group" and OLDER:
            return operation(function)
        raise
