"""Functions on pandas' tables, applied on nbpar's workers: `nbpar.pandas`.

df.apply(f, axis=1, engine=nbpar.pandas)        # pandas 3
df.nbpar.apply(f, axis=1)                       # pandas 2.2 and newer, once nbpar.pandas was imported
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from nbpar.host.frames import entrance
from nbpar.integrations.pandas_accessors import FrameAccessor, SeriesAccessor
from nbpar.integrations.pandas_calls import Settings, decision
from nbpar.integrations.pandas_tables import array_apply, axis_number, cells, frame_apply

__all__ = ["engine", "decision"]

_Base: Any = getattr(getattr(pd.api, "executors", None), "BaseExecutionEngine", object)
"""The hook of pandas 3."""


class ExecutionEngine(_Base):  # type: ignore[misc]  # pandas has no types here
    """What pandas calls for `engine=`; its `decorator` is the object that was given there."""

    @staticmethod
    @entrance
    def map(
        data: Any,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        decorator: Any,
        skip_na: bool,
    ) -> Any:
        """Apply a function to each cell."""
        __tracebackhide__ = True
        action = "ignore" if skip_na else None

        def operation(table: Any, function: Any) -> Any:
            return table.map(lambda cell: function(cell, *args, **kwargs), na_action=action)

        settings = _settings_of(decorator)
        table = data if isinstance(data, pd.Series | pd.DataFrame) else pd.DataFrame(data)
        result = cells(table, func, operation, args, kwargs, settings, ignores_missing=skip_na)
        return result if table is data else result.to_numpy()

    @staticmethod
    @entrance
    def apply(
        data: Any,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        decorator: Any,
        axis: Any,
    ) -> Any:
        """Apply a function to each row or column."""
        __tracebackhide__ = True
        settings = _settings_of(decorator)
        if isinstance(data, pd.DataFrame):
            return frame_apply(data, func, axis, settings, args=args, kwargs=kwargs)
        return array_apply(data, func, axis_number(axis), args, kwargs, settings)


class Engine:
    """An engine for pandas' `engine=`, with options; `engine` makes it."""

    __pandas_udf__ = ExecutionEngine

    def __init__(self, settings: Settings) -> None:
        self.settings = settings


def engine(**options: Any) -> Engine:
    """Return an engine for `df.apply(f, axis=1, engine=...)` with options.

    Args:
        options: `pool`, an `nbpar.Pool`; `try_here=False`, to compute no rows here; and the options of
            `nbpar.map` that fit a table: workers, progress, label, chunksize, timeout, retries, rate, seed.

    Raises:
        TypeError, ValueError: there is no such option, or its value is invalid.
    """
    return Engine(Settings.of(options))


def _settings_of(decorator: Any) -> Settings:
    return decorator.settings if isinstance(decorator, Engine) else Settings()


def register() -> None:
    """Register the accessors `df.nbpar` and `s.nbpar` with pandas.  Idempotent."""
    if getattr(pd.DataFrame, "nbpar", None) is not FrameAccessor:
        pd.api.extensions.register_dataframe_accessor("nbpar")(FrameAccessor)
        pd.api.extensions.register_series_accessor("nbpar")(SeriesAccessor)


register()
