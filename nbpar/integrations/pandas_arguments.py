"""The arguments of a table function's calls: rows, columns, cells, groups and windows, made where it runs.

A frame is captured by the function that workers get, so it travels once, and an item is the position of a
row.  Cells, groups and windows are items themselves.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import pandas as pd

BLOCK = 256
"""Rows that pandas generates from one part of the frame."""


class Arguments(Protocol):
    """What a function is called with, call by call."""

    noun: str
    """What one of them is called in messages."""

    cost: float
    """Seconds that handing over one of them takes, about."""

    def __len__(self) -> int: ...

    def __call__(self, item: Any) -> Any:
        """Return the argument that an item stands for."""

    def items(self) -> Sequence[Any]:
        """Return the items, one for each call."""

    def label(self, call: int) -> str:
        """Return the name of a call in errors."""

    @property
    def nbytes(self) -> int:
        """Bytes that each worker gets once."""

    def kept(self, value: Any) -> Any:
        """Return the function's value as it may be kept."""


class _AsItIs:
    """Arguments of their own."""

    def kept(self, value: Any) -> Any:
        """Return the value."""
        return value


class _Generated(threading.local):
    """Rows that pandas generates, of one thread: the position of the next one, and the generator."""

    position = -1
    rows: Iterator[Any] = iter(())


class Rows:
    """The rows of a frame as pandas passes them to functions of `apply(axis=1)`.

    pandas generates them, which takes a tenth of the time of `iloc`: it exchanges the values of one Series.
    """

    noun, cost = "row", 4e-6

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self._generated = _Generated()

    def __reduce__(self) -> tuple[Any, ...]:
        return Rows, (self._frame,)

    def __len__(self) -> int:
        return len(self._frame)

    def items(self) -> Sequence[Any]:
        """Return the positions."""
        return range(len(self._frame))

    def label(self, call: int) -> str:
        """Return the row's name."""
        return _at("row", self._frame.index, call)

    @property
    def nbytes(self) -> int:
        """Bytes of the frame."""
        return int(self._frame.memory_usage(index=True).sum())

    def __call__(self, item: int) -> Any:
        here = self._generated
        row = next(here.rows, None) if item == here.position else None
        if row is None:
            rows = _generator(self._frame.iloc[item : item + BLOCK])
            if rows is None:
                return self._frame.iloc[item]
            here.rows, row = rows, next(rows)
        here.position = item + 1
        return row

    def kept(self, value: Any) -> Any:
        """Return a value so that the next row does not change it."""
        return value.copy(deep=False) if isinstance(value, pd.Series) else value


def _generator(frame: Any) -> Iterator[Any] | None:
    """Return pandas' own generator of rows; None if this pandas has none."""
    try:
        from pandas.core.apply import frame_apply

        rows: Iterator[Any] = frame_apply(frame, len, axis=1, kwargs={}).series_generator
    except (ImportError, AttributeError, TypeError):
        return None
    return rows


class Columns(_AsItIs):
    """The columns of a frame as pandas passes them to functions of `apply(axis=0)`."""

    noun, cost = "column", 2e-5

    def __init__(self, frame: Any) -> None:
        self._frame = frame

    def __len__(self) -> int:
        return len(self._frame.columns)

    def items(self) -> Sequence[Any]:
        """Return the positions."""
        return range(len(self._frame.columns))

    def label(self, call: int) -> str:
        """Return the column's name."""
        return _at("column", self._frame.columns, call)

    @property
    def nbytes(self) -> int:
        """Bytes of the frame."""
        return int(self._frame.memory_usage(index=True).sum())

    def __call__(self, item: int) -> Any:
        return self._frame.iloc[:, item]


class Vectors(_AsItIs):
    """The rows or columns of an array: those of `apply(raw=True)`."""

    cost = 1e-6

    def __init__(self, values: Any, axis: int, names: Any) -> None:
        self._values = values
        self._axis = axis
        self._names = names
        self.noun = "row" if axis else "column"

    def __len__(self) -> int:
        return int(self._values.shape[1 - self._axis])

    def items(self) -> Sequence[Any]:
        """Return the positions."""
        return range(len(self))

    def label(self, call: int) -> str:
        """Return the name of the row or column."""
        return _at(self.noun, self._names, call)

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return int(self._values.nbytes)

    def __call__(self, item: int) -> Any:
        return self._values[item] if self._axis else self._values[:, item]


class Recorded(_AsItIs):
    """Arguments that pandas has passed to a function that only records them; they are the items."""

    nbytes = 0

    def __init__(self, noun: str, passed: list[Any], names: Any = None, cost: float = 1e-6) -> None:
        self.noun = noun
        self.cost = cost
        self._passed = passed
        self._names = names

    def __getstate__(self) -> dict[str, Any]:
        return {"noun": self.noun, "cost": self.cost, "_passed": [], "_names": None}

    def __len__(self) -> int:
        return len(self._passed)

    def items(self) -> Sequence[Any]:
        """Return the arguments, those of a group with its name, which is no part of a frame's pickle."""
        return [_with_name(one) for one in self._passed]

    def label(self, call: int) -> str:
        """Return the name of a cell, group or window."""
        if self._names is not None and len(self._names) == len(self._passed):
            return _at(self.noun, self._names, call)
        name = getattr(self._passed[call], "name", None)
        return f"{self.noun} {name!r}" if name is not None else f"{self.noun} {call}"

    def __call__(self, item: Any) -> Any:
        if type(item) is _Named:
            object.__setattr__(item.frame, "name", item.name)
            return item.frame
        return item


class _Named:
    """A group's frame with the name that pandas has pinned to it."""

    def __init__(self, frame: Any, name: Any) -> None:
        self.frame, self.name = frame, name

    def __repr__(self) -> str:
        return f"the group {self.name!r}"


def _with_name(value: Any) -> Any:
    if isinstance(value, pd.DataFrame) and "name" in vars(value):
        return _Named(value, value.name)
    return value


def _at(noun: str, names: Any, call: int) -> str:
    try:
        return f"{noun} {names[call]!r}, at position {call}"
    except (IndexError, KeyError):
        return f"{noun} {call}"


class ItemFunction:
    """A function as workers get it: from an item to the function's value."""

    def __init__(
        self, function: Any, arguments: Arguments, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.__wrapped__ = function
        self._arguments = arguments
        self._args = args
        self._kwargs = kwargs

    def __call__(self, item: Any) -> Any:
        __tracebackhide__ = True
        value = self.__wrapped__(self._arguments(item), *self._args, **self._kwargs)
        return self._arguments.kept(value)
