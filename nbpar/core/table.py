"""Results as a table: which columns values make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from nbpar.core.outcome import Failure

INDEX = "item"
"""Name of a table's index."""

FAILURE = "failure"
"""Name of the column that says what failed."""


def frame_of(values: Sequence[Any], places: Sequence[int] | None) -> Any:
    """Return a DataFrame with a row for each value; `places` are the rows' indices, if they are known."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("to_frame needs pandas: pip install pandas") from error

    index = pd.Index(range(len(values)) if places is None else places, name=INDEX)
    failed = [isinstance(value, Failure) for value in values]
    good = [value for value, bad in zip(values, failed, strict=True) if not bad]
    rows = _rows(good)
    if rows is None:
        frame = pd.DataFrame({"value": pd.Series(good, index=index[[not bad for bad in failed]])})
    else:
        frame = pd.DataFrame(rows, index=index[[not bad for bad in failed]])
    if any(failed):
        frame = frame.reindex(index)
        frame.insert(len(frame.columns), FAILURE, [_said(value) for value in values])
    return frame


def _rows(values: Sequence[Any]) -> list[dict[Any, Any]] | None:
    """Return each value as a row, if all of them have named fields."""
    rows = [_fields(value) for value in values]
    known = [row for row in rows if row is not None]
    return known if known and len(known) == len(rows) else None


def _fields(value: Any) -> dict[Any, Any] | None:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=True))
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return None


def _said(value: Any) -> str | None:
    if not isinstance(value, Failure):
        return None
    return f"{type(value.exception).__name__}: {value.exception}"
