"""One item of an async function, and the call that it is part of."""

from __future__ import annotations

import time
from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol

from nbpar.core.text import short
from nbpar.wire.faults import Fault
from nbpar.wire.messages import INITIALIZER, Call, Done, MemoryPeaks, Message
from nbpar.wire.pickling import snapshot
from nbpar.wire.references import IN_PARAMETER, settled
from nbpar.worker.output.coroutines import CoroutineOutput

if TYPE_CHECKING:
    from asyncio import Task, TimerHandle

    from nbpar.worker.profiling.peaks import Span

_clock = time.perf_counter


class Ends(Protocol):
    """Takes the ends of items."""

    def end(self, item: CoroutineItem, value: Any, error: BaseException | None) -> None:
        """An item has ended."""

    async def enter(self, manager: Any) -> Any:
        """Enter an async context manager, to be left at the end of the event loop; return its value."""

    def keep(self, value: Any) -> None:
        """Let items find the value of an initializer, which is not sent anywhere."""


class CoroutineCall:
    """A call whose items are coroutines.

    Args:
        call: the message.
        function: returns an awaitable for an item.
        items: the items.
        faults: by offset, those of items that could not be made.
        describe: serializes an exception of an item.
        by_reference: values are passed on as they are, and not pickled.
    """

    def __init__(
        self,
        call: Call,
        function: Callable[[Any], Any],
        items: list[Any],
        faults: dict[int, Fault],
        describe: Callable[[BaseException], Fault],
        *,
        by_reference: bool = False,
    ) -> None:
        self.call = call
        self.function = function
        self.items = items
        self.faults = faults
        self.describe = describe
        self._by_reference = by_reference
        self.values: list[Any] = [None] * len(items)
        self.each = [0.0] * len(items)
        self.open = len(items)
        """Number of its items without an outcome."""

        self.begun_after: float | None = None
        """Seconds of an item after which the client is told that it has begun, if it wants that."""

        self.peaks: list[int] | None = None
        """The most memory of the process while each item was under way, where that is measured."""

        self.stopped = False
        """Whether its items are canceled, because nothing waits for them."""

        self.unanswered: set[int] = set()
        """Offsets of items that were stopped, and so have no outcome."""

    @property
    def answered(self) -> list[Any]:
        """Values of the items that the answer is about: all, or those before the first that was stopped."""
        return self.values[: min(self.unanswered, default=len(self.values))]

    def measure_memory(self) -> None:
        """Measure the memory of each item."""
        self.peaks = [0] * len(self.items)

    @property
    def measured(self) -> list[Message]:
        """The message that tells the memory of each item, if it was measured."""
        if self.peaks is None:
            return []
        peaks = tuple((index, 1, peak) for index, peak in enumerate(self.peaks, self.call.first) if peak)
        return [MemoryPeaks(self.call.id, peaks)]

    def keep(self, place: int, value: Any) -> None:
        """Take an item's value; pickled, if something else may change it before the answer is sent."""
        self.items[place] = None  # it does not hold the value any more
        self.values[place] = value if self._by_reference else settled(value, IN_PARAMETER, snapshot)

    def done(
        self,
        body: Any,
        share: float,
        memory: int,
        costs: tuple[float, float, float, float, float],
        unsendable: dict[int, Fault],
    ) -> Done:
        """Return the answer.

        Args:
            body: has the values, as they are sent.
            share: seconds for which each item kept the loop busy.
            memory: bytes of the process.
            costs: of the answer, as of `Done`.
            unsendable: faults of values that could not be sent, by offset.
        """
        number = len(self.answered)
        faults = {place: fault for place, fault in self.faults.items() if place < number}
        return Done(
            self.call.id, self.call.first, True, False, share * number, tuple(self.each[:number]), memory,
            {**faults, **unsendable}, costs, 0, body,
        )  # fmt: skip


class CoroutineItem:
    """An item, from the start of its coroutine to its outcome."""

    __slots__ = (
        "begun",
        "begun_timer",
        "call",
        "coroutine",
        "limit",
        "output",
        "over",
        "overdue",
        "place",
        "pressed",
        "span",
        "started",
        "task",
    )

    def __init__(self, call: CoroutineCall, place: int, output: CoroutineOutput) -> None:
        self.call = call
        self.place = place
        """Its offset in the call."""

        self.output = output
        self.begun = _clock()
        self.over = self.started = False
        self.overdue = False
        """Whether it has exceeded its time limit."""

        self.pressed = 0
        """How often it was told to end."""

        self.span: Span | None = None
        """Measures memory, where that is wanted."""

        self.begun_timer: TimerHandle | None = None
        """Tells the client that it has begun."""

        self.limit: TimerHandle | None = None
        """Ends it, or tells it to end again."""

        self.coroutine: Any = None
        self.task: Task[None] | None = None

    @property
    def index(self) -> int:
        """Its index in the input."""
        return self.call.call.first + self.place


async def run(item: CoroutineItem, ends: Ends) -> None:
    """Run an item; nothing that it raises gets past this."""
    item.started, item.begun = True, _clock()
    try:
        waiting = _called(item.call, item.place, ends)
        values = [await waiting]  # which `end` takes, so that no variable here refers to it
        if item.call.call.run == INITIALIZER:
            ends.keep(values.pop())
            values.append(None)
    except BaseException as error:  # noqa: BLE001 (whatever the user's code raises)
        ends.end(item, None, error)
    else:
        ends.end(item, values.pop(), None)


RUN = run.__code__
"""The code of the frame below which an item's own frames are; its local `item` tells which."""


def _called(call: CoroutineCall, place: int, ends: Ends) -> Awaitable[Any]:
    """Call the function with an item.

    Raises:
        CancelledError: the call was stopped meanwhile.
        TypeError: what the function returns cannot be awaited.
    """
    if call.stopped:
        raise CancelledError
    value = call.function(call.items[place])
    if type(value) is CoroutineType or isawaitable(value):
        return value
    if call.call.run == INITIALIZER and hasattr(type(value), "__aenter__"):
        return ends.enter(value)
    raise TypeError(
        f"the function returned {short(value)}, which cannot be awaited, although concurrency= was given; "
        "items of an ordinary function run one after another on each worker: use more workers, or an "
        "`async def` with `await asyncio.to_thread(...)`"
    )
