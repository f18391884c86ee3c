"""What became of items: values, and failures that know their item.

Outcomes travel in bulk.  A million items must not cost a million objects, so values stay
a plain list and failures, which are rare, are kept beside it by index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbpar.core.short import short
from nbpar.core.spread import Spread, caller


@dataclass(frozen=True, repr=False)
class Failure:
    """An item that has no value, and why."""

    index: int
    """Place of the item in the input."""

    item: Any
    """The item itself."""

    exception: BaseException
    """What was raised, with its original type where that was possible."""

    traceback: str = ""
    """The worker's traceback as text, without library frames."""

    output: str = ""
    """What the item printed before it failed."""

    worker: str = ""
    """Where it ran."""

    seconds: float = 0.0
    """How long the last attempt ran."""

    attempts: int = 1
    """How often it was tried."""

    function: Callable[..., Any] | None = field(default=None, repr=False, compare=False)
    """What was applied to the item."""

    spread: Spread = field(default=Spread.ONE, repr=False, compare=False)
    """How the item became the function's arguments."""

    @property
    def where(self) -> str:
        """Where in a pipeline it happened, in words; "" in a map."""
        return ""

    def __repr__(self) -> str:
        item, error = short(self.item), self.exception
        return f"<Failure of item {self.index} ({item}): {type(error).__name__}: {error}>"

    def replay(self) -> Any:
        """Run the item here, in this thread, so that debuggers see it.

        Returns what the function returns, should it succeed this time.
        """
        __tracebackhide__ = True
        if self.function is None:
            raise ValueError(f"item {self.index} cannot be replayed: its function is not known here")
        return caller(self.function, self.spread)(self.item)


@dataclass(slots=True)
class Part:
    """Outcomes of neighbouring items."""

    first: int
    """Index of the first of them."""

    values: Sequence[Any]
    """One value per item; None where `failures` has the item."""

    failures: dict[int, Failure] = field(default_factory=dict)
    """By index in the input."""

    @property
    def stop(self) -> int:
        """Index after the last item."""
        return self.first + len(self.values)


class KnownPart(Part):
    """Outcomes of an earlier run: nothing is left to be done with them."""

    __slots__ = ()
