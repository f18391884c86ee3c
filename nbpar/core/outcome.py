"""Outcomes of items: values, failures that know their item, and groups of like failures.

Outcomes are sent in bulk.  A million items must not cost a million objects, so values stay
in a plain list and failures, which are rare, are kept beside it by index.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from inspect import iscoroutine
from operator import attrgetter
from typing import Any, NamedTuple

from nbpar.core.call_style import CallStyle, caller
from nbpar.core.text import kind_of, short, text_of
from nbpar.errors import SkippedError
from nbpar.host.event_loops import no_event_loop


@dataclass(frozen=True, repr=False)
class Failure:
    """An item without a value, and the reason."""

    index: int
    """Position of the item in the input."""

    item: Any
    """The item itself."""

    exception: BaseException
    """The exception, with its original type if possible."""

    traceback: str = ""
    """The worker's traceback as text, without library frames."""

    output: str = ""
    """The item's output before it failed."""

    worker: str = ""
    """Name of the worker."""

    seconds: float = 0.0
    """Duration of the last attempt."""

    attempts: int = 1
    """Number of attempts."""

    after: float | None = None
    """Seconds that the exception asked to wait before another attempt, if there are `retries`."""

    function: Callable[..., Any] | None = field(default=None, repr=False, compare=False)
    """The function that was applied to the item."""

    spread: CallStyle = field(default=CallStyle.ONE, repr=False, compare=False)
    """Conversion of the item to the function's arguments."""

    @property
    def skipped(self) -> bool:
        """Whether it was let go by `run.skip`: it does not end its run, and is not retried."""
        return isinstance(self.exception, SkippedError)

    @property
    def where(self) -> str:
        """Description of the stage in a pipeline; "" in a map."""
        return ""

    def __repr__(self) -> str:
        item, error = short(self.item), self.exception
        return f"<Failure of item {self.index} ({item}): {type(error).__name__}: {text_of(error)}>"

    def replay(self) -> Any:
        """Run the item in this thread, for a debugger.

        Returns the function's result, if it succeeds this time.  A coroutine is run to its end.
        """
        __tracebackhide__ = True
        if self.function is None:
            raise ValueError(f"item {self.index} cannot be replayed: its function is not known here")
        with no_event_loop():
            value = caller(self.function, self.spread)(self.item)
            if not iscoroutine(value):
                return value
            import asyncio

            return asyncio.run(value)


@dataclass(slots=True)
class Part:
    """Outcomes of neighboring items."""

    first: int
    """Index of the first of them."""

    values: Sequence[Any]
    """One value per item; None where `failures` has the item."""

    failures: dict[int, Failure] = field(default_factory=dict)
    """Failures by index in the input."""

    @property
    def stop(self) -> int:
        """Index after the last item."""
        return self.first + len(self.values)


class KnownPart(Part):
    """Outcomes of an earlier run, which need no further processing."""

    __slots__ = ()


GROUPS = 50
"""Groups that are told apart; failures of further kinds are one group more."""

OTHERS = "other errors"

_FRAME = re.compile(r'File "(?P<file>[^"\n]*)", line (?P<line>\d+)')
_LAST = "Traceback (most recent call last):"


class FailureGroup(NamedTuple):
    """Failures of one type, raised at one line."""

    error: str
    """Name of the exception's type."""

    line: int
    """Where in the function, or in what stands in the same file, it was raised; 0 where that is not known."""

    stage: str
    """Of a pipeline, where they happened; "" in a map."""

    number: int
    example: Failure
    """The one with the lowest index."""

    def __str__(self) -> str:
        stage = f" in {self.stage}" if self.stage else ""
        line = f" at line {self.line}" if self.line else ""
        return f"{self.number:,} × {self.error}{stage}{line}"  # noqa: RUF001 (it is that sign)


class FailureGroups:
    """The groups of a run, counted up failure by failure."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, str], tuple[int, Failure]] = {}

    def add(self, failure: Failure) -> None:
        """Count a failure."""
        key = key_of(failure)
        if key not in self._known and len(self._known) >= GROUPS:
            key = (OTHERS, 0, "")
        number, example = self._known.get(key, (0, failure))
        self._known[key] = number + 1, min(example, failure, key=attrgetter("index"))

    def known(self) -> tuple[FailureGroup, ...]:
        """Return the groups, the most frequent first; from any thread."""
        if not self._known:
            return ()
        groups = [FailureGroup(*key, *counted) for key, counted in list(self._known.items())]
        return tuple(sorted(groups, key=lambda group: (-group.number, group.example.index)))


def key_of(failure: Failure) -> tuple[str, int, str]:
    """Return what failures of one group have in common: type, line, stage."""
    stage = getattr(failure, "stage", "")
    return kind_of(failure.exception), line_of(failure.traceback), stage


def line_of(traceback: str) -> int:
    """Return the innermost line of a traceback that is in the same file as its first; 0 when it has none.

    The first frame is the function's own; behind a call of a library there are lines of that library.
    """
    frames = _FRAME.findall(traceback, max(traceback.rfind(_LAST), 0))
    return next((int(line) for file, line in reversed(frames) if file == frames[0][0]), 0)


def parts_between(
    first: int, values: Sequence[Any], failures: dict[int, Failure], gaps: list[int]
) -> list[Part]:
    """Split outcomes into parts without the items in `gaps`."""
    if not gaps:
        return [Part(first, values, failures)] if values else []
    parts = []
    starts = [first, *(gap + 1 for gap in gaps)]
    stops = [*gaps, first + len(values)]
    for start, stop in zip(starts, stops, strict=True):
        if start < stop:
            inside = {i: f for i, f in failures.items() if start <= i < stop}
            parts.append(Part(start, values[start - first : stop - first], inside))
    return parts
