"""The results of a map: a list that also knows what failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any

from nbpar.core.outcome import Failure, Part


class Results(list[Any]):
    """Values in input order.

    With `errors="collect"` a `Failure` stands in the place of an item that failed; with
    `errors="skip"` such items are left out.

    Attributes:
        failures: the failures, in input order.
        make_report: makes the report of the run that they come from; it does not travel.
    """

    make_report: Callable[[], Any] | None = None

    def __init__(self, values: Sequence[Any] = (), failures: Sequence[Failure] = ()) -> None:
        super().__init__(values)
        self.failures = list(failures)

    @property
    def report(self) -> Any:
        """The report of the run that they come from; None when they come from none."""
        return self.make_report() if self.make_report is not None else None

    def __getstate__(self) -> dict[str, Any]:
        return {"failures": self.failures}


def assemble(parts: list[Part], *, errors: str, sort: bool = True) -> Results:
    """Put parts together, in input order or as they are; items that have no outcome are left out."""
    values: list[Any] = []
    failures: list[Failure] = []
    for part in sorted(parts, key=attrgetter("first")) if sort else parts:
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
    return Results(values, failures)


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
