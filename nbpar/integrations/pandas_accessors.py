"""`df.nbpar` and `s.nbpar`: pandas' methods that apply a function, with its values computed on workers."""

from __future__ import annotations

from typing import Any

from nbpar.host.frames import entrance
from nbpar.integrations.pandas_calls import Settings, transformed
from nbpar.integrations.pandas_groups import Grouped, Windowed
from nbpar.integrations.pandas_tables import cells, frame_apply


class _Accessor:
    """What both accessors have in common."""

    def __init__(self, table: Any, settings: Settings = Settings()) -> None:  # noqa: B008 (it is frozen)
        self._table = table
        self._settings = settings

    def __call__(self, **options: Any) -> Any:
        """Return an accessor with options: those of `nbpar.pandas.engine`."""
        return type(self)(self._table, Settings.of(options))

    @entrance
    def map(self, func: Any, na_action: str | None = None, **kwargs: Any) -> Any:
        """Apply a function to each value; like `DataFrame.map` and `Series.map`."""
        __tracebackhide__ = True
        return cells(
            self._table, func, lambda table, function: table.map(function, na_action=na_action, **kwargs),
            (), kwargs, self._settings, ignores_missing=na_action is not None,
        )  # fmt: skip

    def groupby(self, *args: Any, **kwargs: Any) -> Grouped:
        """Group the table as its own `groupby` does; the groups have this accessor's methods."""
        return Grouped(self._table, self._table.groupby(*args, **kwargs), self._settings)

    def rolling(self, *args: Any, **kwargs: Any) -> Windowed:
        """Return the rolling windows of the table; they have `apply`."""
        return Windowed(self._table.rolling(*args, **kwargs), self._settings)

    def expanding(self, *args: Any, **kwargs: Any) -> Windowed:
        """Return the expanding windows of the table; they have `apply`."""
        return Windowed(self._table.expanding(*args, **kwargs), self._settings)


class FrameAccessor(_Accessor):
    """A DataFrame's methods that apply a function, on workers: same arguments, same results.

    `df.nbpar(workers=4, progress="none")` is an accessor with options.
    """

    @entrance
    def apply(
        self, func: Any, axis: Any = 0, raw: bool = False, result_type: str | None = None,
        args: tuple[Any, ...] = (), **kwargs: Any,
    ) -> Any:  # fmt: skip
        """Apply a function to each column, or row with `axis=1`; like `DataFrame.apply`."""
        __tracebackhide__ = True
        how: dict[str, Any] = {"raw": raw, "result_type": result_type}
        if "by_row" in kwargs:
            how["by_row"] = kwargs.pop("by_row")
        return frame_apply(self._table, func, axis, self._settings, args=args, kwargs=kwargs, **how)

    @entrance
    def agg(self, func: Any = None, axis: Any = 0, *args: Any, **kwargs: Any) -> Any:
        """Aggregate each column, or row with `axis=1`; like `DataFrame.agg`."""
        __tracebackhide__ = True
        return frame_apply(self._table, func, axis, self._settings, name="agg", args=args, kwargs=kwargs)

    aggregate = agg

    @entrance
    def transform(self, func: Any, axis: Any = 0, *args: Any, **kwargs: Any) -> Any:
        """Transform each column, or row with `axis=1`; like `DataFrame.transform`."""
        __tracebackhide__ = True
        return frame_apply(
            self._table, func, axis, self._settings, name="transform", args=args, kwargs=kwargs
        )  # fmt: skip


class SeriesAccessor(_Accessor):
    """A Series' methods that apply a function, on workers: same arguments, same results.

    `s.nbpar(workers=4, progress="none")` is an accessor with options.
    """

    @entrance
    def apply(self, func: Any, args: tuple[Any, ...] = (), *, by_row: Any = "compat", **kwargs: Any) -> Any:
        """Apply a function to each value; like `Series.apply`."""
        __tracebackhide__ = True

        def operation(table: Any, function: Any) -> Any:
            return table.apply(function, args=args, by_row=by_row, **kwargs)

        if by_row is False:
            return operation(self._table, func)
        return cells(self._table, func, operation, args, kwargs, self._settings)

    @entrance
    def agg(self, func: Any = None, axis: Any = 0, *args: Any, **kwargs: Any) -> Any:
        """Aggregate the values; pandas calls a function once, with all of them, so that happens here."""
        __tracebackhide__ = True
        return self._table.agg(func, axis, *args, **kwargs)

    aggregate = agg

    @entrance
    def transform(self, func: Any, axis: Any = 0, *args: Any, **kwargs: Any) -> Any:
        """Transform each value; like `Series.transform`."""
        __tracebackhide__ = True
        return cells(
            self._table, func, lambda table, function: table.transform(function, axis, *args, **kwargs),
            args, kwargs, self._settings, compute=transformed,
        )  # fmt: skip
