"""Workers that a test moves by hand."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbpar.backends.base import WorkerId
from nbpar.core.spread import caller
from nbpar.wire.faults import Fault, describe
from nbpar.wire.messages import NO_COSTS, Bye, Call, Cancel, Done, Load, Lost, Message, Missing, Output, Ready


class ManualBackend:
    """Workers in name only: a test says when they come, answer and go.

    With `blocking` the test also drives the dispatcher, by `step`, and nothing ever waits;
    otherwise the dispatcher has its thread and waits until something arrives.

    Attributes:
        sent: every message that was sent, with its worker.
        interrupted: workers that were interrupted, in order.
        killed: workers that were killed, in order.
        timeouts: how long `receive` might have waited, each time.
        expected: workers that may come; those beyond them come by `come` only.
        on_the_way: workers that were asked to come and have not said a word.
    """

    in_process = True

    def __init__(self, workers: int = 2, *, blocking: bool = True, comes: bool = True) -> None:
        self.blocking = blocking
        self.expected = [f"worker {number}" for number in range(workers)]
        self.on_the_way: list[WorkerId] = []
        self.sent: list[tuple[WorkerId, Message]] = []
        self.interrupted: list[WorkerId] = []
        self.killed: list[WorkerId] = []
        self.timeouts: list[float | None] = []
        self.acquired = 0
        self.closed = False
        self.interruptible = True
        self.trouble: BaseException | None = None
        """Raised by whatever the dispatcher asks next, as a backend with a bug would."""

        self._comes = comes
        self._here: dict[WorkerId, _Hand] = {}
        self._arrived: deque[tuple[WorkerId, Message]] = deque()
        self._changed = threading.Condition()
        self._woken = False

    # ---- for tests

    @property
    def workers(self) -> list[WorkerId]:
        """Who is here."""
        return list(self._here)

    def calls(self, worker: WorkerId) -> list[Call]:
        """Return what a worker has been asked for and has not answered, oldest first."""
        return list(self._here[worker].calls) if worker in self._here else []

    def items(self, worker: WorkerId) -> list[Any]:
        """Return the items of these calls."""
        return [item for call in self.calls(worker) for item in call.items]

    def come(self, worker: WorkerId, **facts: Any) -> None:
        """Let a worker come."""
        self._here[worker] = _Hand()
        self.say(worker, Ready({"worker": worker, "host": "here", "pid": 1, **facts}))

    def answer(
        self, worker: WorkerId, items: int | None = None, *, seconds: float = 0.0, final: bool = True
    ) -> None:
        """Let a worker compute its oldest call: all items, or the next few.

        With fewer items than are left the call goes on unless it is `final`: then it was interrupted.
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
        """Let every worker compute what it has."""
        for worker in self.workers:
            while self.calls(worker):
                self.answer(worker)

    def lose(self, worker: WorkerId, reason: str = "killed by SIGKILL") -> None:
        """Let a worker die."""
        self._here.pop(worker, None)
        self.say(worker, Lost(reason))

    def leave(self, worker: WorkerId, reason: str = "released") -> None:
        """Let a worker go in peace."""
        self._here.pop(worker, None)
        self.say(worker, Bye(reason))

    def forget(self, worker: WorkerId) -> None:
        """Let a worker miss the function of the calls it has."""
        hand = self._here[worker]
        calls, hand.calls = hand.calls, deque()
        hand.functions.clear()
        self.say(worker, Missing(calls[0].digest, tuple(call.id for call in calls)))

    def print(self, worker: WorkerId, text: str, *, index: int | None = None) -> None:
        """Let the item that a worker runs print something."""
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
        """Nothing is packed here."""

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

    def interrupt(self, worker: WorkerId) -> bool:
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
            hand.functions[message.digest] = message.function
        elif isinstance(message, Call):
            hand.calls.append(message)
        elif isinstance(message, Cancel):
            for call in [call for call in list(hand.calls)[1:] if call.id in message.ids]:
                hand.calls.remove(call)
                self.say(worker, Done(call.id, call.first, True, False, 0.0, (), 0, {}, NO_COSTS, 0, []))


@dataclass
class _Hand:
    """A worker that is here."""

    calls: deque[Call] = field(default_factory=deque)
    functions: dict[bytes, Callable[..., Any]] = field(default_factory=dict)
    begun: int = 0
    """How many items of the oldest call are answered."""

    def compute(self, call: Call, begin: int, end: int) -> tuple[list[Any], dict[int, Fault]]:
        function = caller(self.functions[call.digest], call.spread)
        values: list[Any] = []
        faults: dict[int, Fault] = {}
        for item in call.items[begin:end]:
            try:
                values.append(function(item))
            except Exception as error:  # noqa: BLE001 (whatever the function raises)
                faults[len(values)] = describe(error, here=True)
                values.append(None)
                if call.stop_early:
                    break
        return values, faults
