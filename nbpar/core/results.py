"""The results of a map: a list with failures and conversion to a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import repeat
from operator import attrgetter
from typing import Any

from nbpar.core.outcome import Failure, Part
from nbpar.core.text import text_of

INDEX = "item"
"""Name of a table's index."""

FAILURE = "failure"
"""Name of the column of failures."""


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
        _append(frame, FAILURE, [_said(value) for value in values])
    return frame


def _append(frame: Any, name: str, column: list[Any]) -> None:
    """Append a column; values may have fields of the same name."""
    while name in frame.columns:
        name = f"item_{name}"
    frame.insert(len(frame.columns), name, column)


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
    return f"{type(value.exception).__name__}: {text_of(value.exception)}"


class Results(list[Any]):
    """Values in input order.

    With `errors="collect"` a `Failure` replaces the value of a failed item; with
    `errors="skip"` such items are left out.  With `errors="raise"` there may be failures of items that were
    let go by `run.skip`.

    Attributes:
        failures: the failures, in input order.
        make_report: makes the report of their run; it is not pickled.
        details: returns seconds, worker and memory of items by their indices; it is not pickled.
    """

    make_report: Callable[[], Any] | None = None
    details: Callable[[Sequence[int]], Mapping[str, list[Any]]] | None = None

    def __init__(
        self, values: Sequence[Any] = (), failures: Sequence[Failure] = (), places: Sequence[range] = ()
    ) -> None:
        super().__init__(values)
        self.failures = list(failures)
        self._places = list(places)
        """Indices of the items with an outcome, in the order of the values."""

    @property
    def report(self) -> Any:
        """The report of their run; None if they come from none."""
        return self.make_report() if self.make_report is not None else None

    def to_frame(self, *, details: bool = False) -> Any:
        """Return a pandas DataFrame with a row per result; the index `item` is its position in the input.

        Dicts, named tuples and dataclasses become a column for each field, other values one column
        `value`.  With `errors="collect"`, a column `failure` has the errors of failed items, whose other
        columns are empty.

        Args:
            details: add what is known of each item, empty where nothing is: `seconds` it took (of short items
                that ran together, their mean), the `worker` that ran it, and, with `profile=True` of the map,
                `peak_memory`: the most resident bytes of the worker's process while it ran, all that this
                process has loaded before included.  Of an item that was tried again its last attempt
                counts.  A column of that name in the values is kept; then `item_` is put before.

        Raises:
            ImportError: pandas is not installed.
            ValueError: details are not known: the list was changed or pickled, or comes from a pipeline.
        """
        places = self._indices()
        frame = frame_of(self, places)
        if details:
            for name, column in self._details(places).items():
                _append(frame, name, column)
        return frame

    def _details(self, places: list[int] | None) -> Mapping[str, list[Any]]:
        if self.details is None:
            raise ValueError(
                "details=True needs the results of a map as they came: those of a pipeline, or results that "
                "were pickled, do not know the seconds and workers of their items"
            )
        if places is None:
            raise ValueError("details=True needs all results: values were added to this list, or removed")
        return self.details(places)

    def _indices(self) -> list[int] | None:
        """Return each value's index in the input; None if the list was changed."""
        indices = [index for places in self._places for index in places]
        if len(indices) != len(self):  # failures were left out, those of items that were let go perhaps not
            kept = {id(value) for value in self if isinstance(value, Failure)}
            failed = {failure.index for failure in self.failures if id(failure) not in kept}
            indices = [index for index in indices if index not in failed]
        return indices if len(indices) == len(self) else None

    def __getstate__(self) -> dict[str, Any]:
        return {"failures": self.failures, "_places": self._places}


def assemble(parts: list[Part], *, errors: str, sort: bool = True) -> Results:
    """Join parts, in input order or as they are; items without an outcome are omitted."""
    values: list[Any] = []
    failures: list[Failure] = []
    places: list[range] = []
    for part in sorted(parts, key=attrgetter("first")) if sort else parts:
        if places and places[-1].stop == part.first:
            places[-1] = range(places[-1].start, part.stop)
        else:
            places.append(range(part.first, part.stop))
        if not part.failures:
            values += part.values
            continue
        failures += [part.failures[index] for index in sorted(part.failures)]
        for index, value in enumerate(part.values, part.first):
            failure = part.failures.get(index)
            if failure is None:
                values.append(value)
            elif _takes_its_place(failure, errors):
                values.append(failure)
    return Results(values, failures, places)


def _takes_its_place(failure: Failure, errors: str) -> bool:
    """Whether a failure replaces the value: one that was let go must not move the other values."""
    return errors == "collect" or (errors == "raise" and failure.skipped)


def values_of(part: Part, *, errors: str, before: Callable[[int], None] | None = None) -> Iterator[Any]:
    """Yield the values of a part; with `errors="raise"` a failure raises in its place.

    `before(index)` is called before the value of each item.  The part is consumed: each value is dropped as
    it is yielded, so that large ones are freed one by one.
    """
    __tracebackhide__ = True
    values = part.values if type(part.values) is list else list(part.values)
    failures, first, total = part.failures, part.first, len(values)
    part.values = ()
    values.reverse()
    if not failures and before is None:
        yield from map(values.pop, repeat(-1, total))
        return
    try:
        for index in range(first, first + total):
            if before is not None:
                before(index)
            failure = failures.pop(index, None)
            if failure is None:
                yield values.pop()
                continue
            values.pop()
            if _takes_its_place(failure, errors):
                yield failure
            elif errors == "raise":
                raise failure.exception
    finally:
        failure = None  # the exception's traceback holds this frame
