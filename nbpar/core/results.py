"""The results of a map: a list that also knows what failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any

from nbpar.core.outcome import Failure, Part
from nbpar.core.table import frame_of


class Results(list[Any]):
    """Values in input order.

    With `errors="collect"` a `Failure` stands in the place of an item that failed; with
    `errors="skip"` such items are left out.

    Attributes:
        failures: the failures, in input order.
        make_report: makes the report of the run that they come from; it does not travel.
    """

    make_report: Callable[[], Any] | None = None

    def __init__(
        self, values: Sequence[Any] = (), failures: Sequence[Failure] = (), places: Sequence[range] = ()
    ) -> None:
        super().__init__(values)
        self.failures = list(failures)
        self._places = list(places)
        """Indices of the items that have an outcome, in the order of the values."""

    @property
    def report(self) -> Any:
        """The report of the run that they come from; None when they come from none."""
        return self.make_report() if self.make_report is not None else None

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each result; the index `item` is its place in the input.

        Dicts, named tuples and dataclasses become a column for each field, anything else one column
        `value`.  With `errors="collect"`, where an item failed a column `failure` says why, and the other
        columns are empty.

        Raises:
            ImportError: pandas is not installed.
        """
        return frame_of(self, self._indices())

    def _indices(self) -> list[int] | None:
        """Return each value's index in the input; None for a list that was changed since."""
        indices = [index for places in self._places for index in places]
        if len(indices) != len(self):  # failures were skipped
            failed = {failure.index for failure in self.failures}
            indices = [index for index in indices if index not in failed]
        return indices if len(indices) == len(self) else None

    def __getstate__(self) -> dict[str, Any]:
        return {"failures": self.failures, "_places": self._places}


def assemble(parts: list[Part], *, errors: str, sort: bool = True) -> Results:
    """Put parts together, in input order or as they are; items that have no outcome are left out."""
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
            elif errors == "collect":
                values.append(failure)
    return Results(values, failures, places)


def values_of(part: Part, *, errors: str, before: Callable[[int], None] | None = None) -> Iterator[Any]:
    """Yield the values of a part; with `errors="raise"` what failed raises in its place.

    `before(index)` is called before the value of each item.
    """
    __tracebackhide__ = True
    if not part.failures and before is None:
        yield from part.values
        return
    for index, value in enumerate(part.values, part.first):
        if before is not None:
            before(index)
        failure = part.failures.get(index)
        if failure is None:
            yield value
        elif errors == "raise":
            raise failure.exception
        elif errors == "collect":
            yield failure
