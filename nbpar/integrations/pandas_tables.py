"""The calls of a DataFrame and a Series that apply a function, with its values computed on workers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from nbpar.integrations.pandas_arguments import Arguments, Columns, Recorded, Rows, Vectors
from nbpar.integrations.pandas_calls import (
    CHEAP,
    Settings,
    Timed,
    computed,
    is_callable_for_each,
    transformed,
)
from nbpar.worker.nesting import inside_item

FEW = 4
"""Rows whose cells are computed first, to time them."""

MANY = 64
"""Rows from which on that is done."""


def frame_apply(
    frame: Any,
    function: Any,
    axis: Any,
    settings: Settings,
    *,
    name: str = "apply",
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any],
    **how: Any,
) -> Any:
    """Return `frame.apply(...)` or, by `name`, `frame.agg(...)`; `how` are pandas' own options."""
    __tracebackhide__ = True
    number = axis_number(axis)

    def operation(func: Any) -> Any:
        if name == "apply":
            return frame.apply(func, axis=axis, args=args, **how, **kwargs)
        return getattr(frame, name)(func, axis, *args, **kwargs)

    if not is_callable_for_each(function) or not all(frame.shape):
        return operation(function)
    arguments = _arguments(frame, number, raw=how.get("raw", False), result_type=how.get("result_type"))
    if arguments is None:
        return operation(function)
    if name == "transform":
        return transformed(operation, arguments, function, args, kwargs, settings)
    return computed(operation, arguments, function, args, kwargs, settings)


def axis_number(axis: Any) -> int:
    """Return an axis as a number.

    Raises:
        ValueError: there is no such axis.
    """
    known = {0: 0, "index": 0, "rows": 0, 1: 1, "columns": 1}
    try:
        return known[axis]
    except (KeyError, TypeError):
        raise ValueError(f"No axis named {axis!r} for object type DataFrame") from None


def _arguments(frame: Any, axis: int, *, raw: bool, result_type: Any) -> Arguments | None:
    if result_type == "broadcast":
        columns = frame.T if axis else frame
        return Columns(columns) if columns.columns.is_unique else None
    if raw:
        return Vectors(frame.values, axis, frame.index if axis else frame.columns)
    return Rows(frame) if axis else Columns(frame)


def array_apply(
    values: Any, function: Any, axis: int, args: tuple[Any, ...], kwargs: dict[str, Any], settings: Settings
) -> Any:
    """Return what a frame's `apply(raw=True)` makes of an array, as an array."""
    __tracebackhide__ = True
    return frame_apply(
        pd.DataFrame(values), function, axis, settings, args=args, kwargs=kwargs, raw=True
    ).to_numpy()  # fmt: skip


def cells(
    table: Any,
    function: Any,
    operation: Callable[[Any, Any], Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    settings: Settings,
    *,
    ignores_missing: bool = False,
    compute: Callable[..., Any] = computed,
) -> Any:
    """Return `operation(table, function)`, which applies a function to each cell of a frame or series."""
    __tracebackhide__ = True
    if not is_callable_for_each(function) or inside_item():
        return operation(table, function)
    known: dict[int, Any] = {}
    if settings.try_here and not ignores_missing and len(table) >= MANY and _is_cell_by_cell(table):
        tried = Timed(function, "cell")
        try:
            head = operation(table.iloc[:FEW], tried)
        except Exception:
            if compute is computed:
                raise
            tried.failed = True
        if tried.failed:  # `transform` has tried the function on all cells at once
            return operation(table, function)
        if tried.seconds < CHEAP * len(tried.values):
            rest = operation(table.iloc[FEW:], function)
            joined = _joined(table, head, rest)
            return operation(table, function) if joined is None else joined
        for number, value in enumerate(tried.values):
            column, row = divmod(number, FEW)
            known[column * len(table) + row] = value
    passed: list[Any] = []
    operation(table, partial(_record, passed))
    names = table.index if table.ndim == 1 else None
    recorded = Recorded("cell", passed, names)
    if len(passed) != table.size:
        known = {}
    return compute(partial(operation, table), recorded, function, args, kwargs, settings, known)


def _record(passed: list[Any], value: Any, *_: Any, **__: Any) -> None:
    passed.append(value)


def _is_cell_by_cell(table: Any) -> bool:
    """Whether pandas passes each cell in turn, as it would in a part of the table.

    Of categories and sparse arrays it passes each value once.  Masked arrays and those of Arrow are converted
    before, depending on whether anything is missing.
    """
    kinds = [table.dtype] if table.ndim == 1 else list(table.dtypes)
    return bool(kinds) and all(isinstance(kind, _CELL_BY_CELL) for kind in kinds)


_CELL_BY_CELL = (np.dtype, pd.StringDtype, pd.DatetimeTZDtype)


def _joined(table: Any, head: Any, rest: Any) -> Any:
    """Return two results as one; None if pandas might have chosen other types for the whole."""
    if type(head) is not type(rest) or head.ndim != table.ndim:
        return None
    if head.ndim == 1 and head.dtype != rest.dtype:
        return None
    if head.ndim == 2 and list(head.dtypes) != list(rest.dtypes):
        return None
    kinds = [head.dtype] if head.ndim == 1 else head.dtypes
    if not all(isinstance(kind, np.dtype) for kind in kinds):
        return None
    joined = pd.concat([head, rest])
    joined.index = table.index
    return joined
