"""A backend whose workers a test controls: they join, answer and leave on request."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbpar.backends.base import WorkerId
from nbpar.core.call_style import Lent, caller
from nbpar.wire.faults import Fault, describe
from nbpar.wire.messages import (
    NO_COSTS,
    Answering,
    Bye,
    Call,
    Cancel,
    Cut,
    Done,
    Load,
    Lost,
    Message,
    Missing,
    Output,
    Ready,
    Shortened,
    Silent,
)
from nbpar.wire.pickling import Packed


class ManualBackend:
    """Simulated workers: a test controls when they join, answer and leave.

    With `blocking` the test also drives the dispatcher, by `step`, and no call ever waits;
    otherwise the dispatcher has its thread and waits for messages.

    Attributes:
        sent: every message that was sent, with its worker.
        interrupted: workers that were interrupted, in order.
        killed: workers that were killed, in order.
        timeouts: the `timeout` of each call of `receive`.
        expected: workers that may join; all others join by `come` only.
        on_the_way: workers that were started and have not sent a message.
    """

    in_process = True
    interrupts = None

    def __init__(self, workers: int = 2, *, blocking: bool = True, comes: bool = True) -> None:
        self.blocking = blocking
        self.expected = [f"worker {number}" for number in range(workers)]
        self.on_the_way: list[WorkerId] = []
        self.sent: list[tuple[WorkerId, Message]] = []
        self.interrupted: list[WorkerId] = []
        self.killed: list[WorkerId] = []
        self.transit: dict[WorkerId, tuple[int, int]] = {}
        """Bytes on their way to workers, and from them."""

        self.timeouts: list[float | None] = []
        self.acquired = 0
        self.closed = False
        self.interruptible = True
        self.trouble: BaseException | None = None
        """Raised by the dispatcher's next call, like a backend with a bug."""

        self._comes = comes
        self._here: dict[WorkerId, _Hand] = {}
        self._arrived: deque[tuple[WorkerId, Message]] = deque()
        self._changed = threading.Condition()
        self._woken = False

    # ---- for tests

    @property
    def workers(self) -> list[WorkerId]:
        """The present workers."""
        return list(self._here)

    def calls(self, worker: WorkerId) -> list[Call]:
        """Return a worker's unanswered calls, oldest first."""
        return list(self._here[worker].calls) if worker in self._here else []

    def items(self, worker: WorkerId) -> list[Any]:
        """Return the items of these calls."""
        return [item for call in self.calls(worker) for item in call.items]

    def come(self, worker: WorkerId, **facts: Any) -> None:
        """Let a worker join."""
        self._here[worker] = _Hand()
        self.say(worker, Ready({"worker": worker, "host": "here", "pid": 1, **facts}))

    def answer(
        self, worker: WorkerId, items: int | None = None, *, seconds: float = 0.0, final: bool = True
    ) -> None:
        """Let a worker compute its oldest call: all items, or the next few.

        With fewer items than are left the call continues unless it is `final`: then it was interrupted.
        """
        hand = self._here[worker]
        call = hand.calls[0]
        begin = hand.begun
        end = len(call.items) if items is None else begin + items
        values, faults = hand.compute(call, begin, end)
        over = final or end == len(call.items) or bool(faults and call.stop_early)
        interrupted = over and end < len(call.items) and not faults
        hand.begun = 0 if over else end
        if over:
            hand.calls.popleft()
        self.say(worker, Done(
            call.id, call.first + begin, over, interrupted, seconds, (), 0, faults, NO_COSTS, 0, values
        ))  # fmt: skip

    def answer_all(self) -> None:
        """Let every worker compute its calls."""
        for worker in self.workers:
            while self.calls(worker):
                self.answer(worker)

    def lose(self, worker: WorkerId, reason: str = "killed by SIGKILL") -> None:
        """Let a worker die."""
        self._here.pop(worker, None)
        self.say(worker, Lost(reason))

    def silence(self, worker: WorkerId) -> None:
        """Let a worker not answer."""
        self.say(worker, Silent())

    def hear(self, worker: WorkerId) -> None:
        """Let it answer again."""
        self.say(worker, Answering())

    def leave(self, worker: WorkerId, reason: str = "released") -> None:
        """Let a worker leave normally."""
        self._here.pop(worker, None)
        self.say(worker, Bye(reason))

    def forget(self, worker: WorkerId) -> None:
        """Let a worker report the function of its calls as missing."""
        hand = self._here[worker]
        calls, hand.calls = hand.calls, deque()
        hand.functions.clear()
        self.say(worker, Missing(calls[0].digest, tuple(call.id for call in calls)))

    def print(self, worker: WorkerId, text: str, *, index: int | None = None) -> None:
        """Let a worker's current item print something."""
        call = self.calls(worker)[0]
        self.say(worker, Output(call.id, ((call.first if index is None else index, "stdout", text),)))

    def say(self, worker: WorkerId, message: Message) -> None:
        """Let any message arrive."""
        with self._changed:
            self._arrived.append((worker, message))
            self._changed.notify()

    # ---- for the dispatcher

    def acquire(self) -> None:
        self._fail()
        self.acquired += 1
        if self._comes:
            for worker in self.expected:
                if worker not in self._here:
                    self.come(worker)

    def coming(self) -> Sequence[WorkerId]:
        return self.on_the_way

    def send(self, worker: WorkerId, messages: Sequence[Message]) -> None:
        self._fail()
        self.sent += [(worker, message) for message in messages]
        if (hand := self._here.get(worker)) is not None:
            for message in messages:
                self._put(worker, hand, message)

    def keep_packed(self, call: int) -> None:
        """Do nothing: no values are packed."""

    def take_pickled(self) -> Sequence[tuple[int, Packed]]:
        return ()

    def in_transit(self, worker: WorkerId) -> tuple[int, int]:
        return self.transit.get(worker, (0, 0))

    def receive(self, timeout: float | None) -> list[tuple[WorkerId, Message]]:
        self._fail()
        self.timeouts.append(timeout)
        with self._changed:
            if not self.blocking:
                self._changed.wait_for(lambda: self._arrived or self._woken, timeout)
                self._woken = False
            arrived = list(self._arrived)
            self._arrived.clear()
        return arrived

    def wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify()

    def interrupt(self, worker: WorkerId, *, skip: bool = False) -> bool:
        self.interrupted.append(worker)
        return self.interruptible

    def kill(self, worker: WorkerId, reason: str) -> bool:
        self.killed.append(worker)
        self.lose(worker, reason)
        return True

    def release(self, worker: WorkerId) -> None:
        self.leave(worker)

    def retire(self, worker: WorkerId) -> None:
        self.leave(worker)

    def describe(self) -> list[dict[str, object]]:
        return [{"worker": worker, "host": "here", "pid": 1} for worker in self.expected]

    def close(self) -> None:
        self.closed = True
        self._here.clear()

    def _fail(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    def _put(self, worker: WorkerId, hand: _Hand, message: Message) -> None:
        if isinstance(message, Load):
            lent = message.function
            hand.functions[message.digest] = lent.fn if isinstance(lent, Lent) and lent.fn else lent
        elif isinstance(message, Call):
            hand.calls.append(message)
        elif isinstance(message, Cut):
            self._cut(worker, hand, message.call)
        elif isinstance(message, Cancel):
            for call in [call for call in list(hand.calls)[1:] if call.id in message.ids]:
                hand.calls.remove(call)
                self.say(worker, Done(call.id, call.first, True, False, 0.0, (), 0, {}, NO_COSTS, 0, []))

    def _cut(self, worker: WorkerId, hand: _Hand, number: int) -> None:
        """End the oldest call with the item after the last that was answered, if it has more.

        One that waits behind it is not begun.
        """
        call = hand.calls[0] if hand.calls else None
        if call is not None and call.id != number:
            self._put(worker, hand, Cancel((number,)))
        if call is not None and call.id == number and hand.begun + 1 < len(call.items):
            hand.calls[0] = call._replace(items=call.items[: hand.begun + 1])
            self.say(worker, Shortened(number, hand.begun + 1))


@dataclass
class _Hand:
    """A present worker."""

    calls: deque[Call] = field(default_factory=deque)
    functions: dict[bytes, Callable[..., Any]] = field(default_factory=dict)
    begun: int = 0
    """Number of answered items of the oldest call."""

    def compute(self, call: Call, begin: int, end: int) -> tuple[list[Any], dict[int, Fault]]:
        function = caller(self.functions[call.digest], call.spread)
        values: list[Any] = []
        faults: dict[int, Fault] = {}
        for item in call.items[begin:end]:
            try:
                values.append(function(item))
            except Exception as error:
                faults[len(values)] = describe(error, here=True)
                values.append(None)
                if call.stop_early:
                    break
        return values, faults
