"""The channels of a pool: which are open to which worker, and which workers their code occupies.

A worker that runs a channel's code in its main thread gets no calls of maps meanwhile, and no
worker is let go while a channel to it is open.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from nbpar.backends.base import Backend, WorkerId
from nbpar.backends.holding import hold
from nbpar.core.scheduler import Scheduler
from nbpar.dispatch.workforce import Workforce
from nbpar.wire.messages import Close, Credit, Item, Items, Message, Open, Printed
from nbpar.worker.outbox import Outbox

GATHER = 0.001
"""Seconds that frequent messages wait for company."""

CHANNEL_MESSAGES = (Item, Items, Credit, Close, Open, Printed)


class LineEnd(Protocol):
    """This side's end of a channel, as far as the dispatcher's thread knows it."""

    number: int

    def take(self, message: Message) -> None:
        """Take in what the worker says."""

    def break_off(self, reason: str) -> None:
        """The worker is gone."""

    def leave(self, reason: str) -> None:
        """This process is not the one that has the channel."""


@runtime_checkable
class Listened(Protocol):
    """A backend that hands items of channels on by itself, also in the thread of one who waits for them."""

    take_item: Callable[[WorkerId, Message], None]

    def listen(self, worker: WorkerId, ready: Callable[[], bool]) -> None:
        """See `Lines.listen`."""

    def slept(self, worker: WorkerId, seconds: float) -> None:
        """See `Lines.slept`."""


class Lines:
    """What is not marked "from any thread" belongs to the dispatcher's thread."""

    def __init__(self, backend: Backend, workforce: Workforce, scheduler: Scheduler) -> None:
        self._backend = backend
        self._workforce = workforce
        self._scheduler = scheduler
        self._ends: dict[WorkerId, dict[int, LineEnd]] = {}
        self._occupying: dict[WorkerId, list[int]] = {}
        """Channels whose code has the main thread of a worker, or waits for it."""

        self._boxes: dict[WorkerId, Outbox] = {}
        self._connected: set[WorkerId] = set()
        self._flush_at: float | None = None
        self._flush_wanted = False
        self._reminded = False
        self._lock = threading.Lock()  # for making boxes
        self.listen: Callable[[WorkerId, Callable[[], bool]], None] = lambda *_: None
        """Looks in the caller's thread, if that may be worth a moment, for what makes a condition true."""

        self.slept: Callable[[WorkerId, float], None] = lambda *_: None
        """Takes in how many seconds somebody has slept until a worker said something."""

        if isinstance(backend, Listened):
            backend.take_item = self.take
            self.listen, self.slept = backend.listen, backend.slept
        self.request: Callable[[Callable[[], None]], None] = lambda _: None
        """Has something done in the dispatcher's thread."""

        self.accept: Callable[[WorkerId, Open], LineEnd | None] = lambda *_: None
        """Makes this side's end of a channel that a worker has opened."""

        self.hub: Any = None
        """The users' side of these channels, which lives as long as they do."""

    def __len__(self) -> int:
        return sum(map(len, self._ends.values()))

    @property
    def waiting(self) -> bool:
        """Whether a worker is wanted that is not here."""
        return any(ends and worker not in self._connected for worker, ends in self._ends.items())

    # ---- from any thread

    def box(self, worker: WorkerId) -> Outbox:
        """Return where messages to a worker are put; they go when it is here."""
        with self._lock:
            if (box := self._boxes.get(worker)) is None:
                box = self._boxes[worker] = Outbox(
                    lambda messages: self._backend.send(worker, messages),
                    self._remind,
                    hold,
                )
                box.cork()
            return box

    def occupied(self, worker: WorkerId) -> int:
        """Return how many channels have or want the main thread of a worker."""
        return len(self._occupying.get(worker, ()))

    def occupy(self, worker: WorkerId, number: int) -> None:
        """Note that a channel's code wants the main thread of a worker."""
        with self._lock:
            self._occupying.setdefault(worker, []).append(number)

    # ---- opening and closing

    def open(self, worker: WorkerId, end: LineEnd, *, occupies: bool) -> None:
        """Take part in a channel, whose `Open` is in the worker's box, corked once for this call."""
        self._ends.setdefault(worker, {})[end.number] = end
        if occupies:
            self._hold(worker)
        box = self.box(worker)
        if worker in self._workforce.ready:
            self._connect(worker)
        box.uncork()

    def close(self, reason: str) -> None:
        """End all channels: tell the workers, stop the code."""
        for worker, ends in list(self._ends.items()):
            if worker in self._connected:
                self._backend.send(worker, [Close(number, half=False, fault=None) for number in ends])
                if self._occupying.get(worker):
                    self._backend.interrupt(worker)
            self._break(worker, reason)

    def leave(self, reason: str) -> None:
        """Give up all channels without a word, and without a lock: nobody may be there to open it."""
        for ends in self._ends.values():
            for end in ends.values():
                end.leave(reason)

    def interrupt(self, worker: WorkerId, number: int, now: float) -> None:
        """Interrupt a channel's code, if it is what the worker's main thread runs."""
        if self._occupying.get(worker, ())[:1] == [number]:
            still = self._occupying[worker]
            self._workforce.stop_item(worker, now, lambda: still[:1] == [number])

    def forget(self, worker: WorkerId, number: int) -> None:
        """Both sides have closed a channel."""
        if (ends := self._ends.get(worker)) is not None:
            ends.pop(number, None)
            if not ends:
                del self._ends[worker]

    # ---- what arrives

    def take(self, worker: WorkerId, message: Any) -> None:
        """Take in what a worker says about a channel: one of `CHANNEL_MESSAGES`."""
        if isinstance(message, Open):
            if (new := self.accept(worker, message)) is not None:
                self._ends.setdefault(worker, {})[message.channel] = new
            return
        if isinstance(message, Close) and not message.half:
            self._free(worker, message.channel)
        if (ends := self._ends.get(worker)) is not None and (end := ends.get(message.channel)) is not None:
            end.take(message)

    def arrive(self, worker: WorkerId) -> None:
        """A worker is here and takes calls."""
        if self._occupying.get(worker):
            self._hold(worker)
        if worker in self._boxes:
            self._connect(worker)

    def lose(self, worker: WorkerId, reason: str, *, died: bool = True) -> None:
        """A worker is gone; one that was only let go will be called back for channels that wait for it."""
        if died or worker in self._connected:
            self._break(worker, reason)
        if died and worker in self._boxes:
            self._boxes[worker].clear()
        self.disconnect(worker)

    def disconnect(self, worker: WorkerId) -> None:
        """Keep messages back from now on."""
        if worker in self._connected:
            self._connected.discard(worker)
            self._boxes[worker].cork()

    def look_for_gone(self, here: set[object]) -> None:
        """Give up workers that nobody knows any more."""
        for worker in list(self._ends):
            if worker not in self._connected and worker not in here:
                self.lose(
                    worker, f"there is no {worker} any more; begin on another gateway, or make a new group"
                )

    # ---- what has been kept back

    @property
    def flush_at(self) -> float | None:
        """When `flush` has to be called; None when nothing waits."""
        return self._flush_at

    def flush(self, now: float) -> None:
        """Send what has waited for company long enough."""
        if self._flush_wanted:
            self._flush_wanted = False
            self._flush_at = now + GATHER if self._flush_at is None else self._flush_at
        if self._flush_at is not None and now >= self._flush_at:
            self._flush_at = None
            self._reminded = False
            for box in tuple(self._boxes.values()):
                box.flush()

    def _remind(self) -> None:
        """Have what waits sent in a moment (from any thread)."""
        if not self._reminded:
            self._reminded = True
            self.request(self._flush_soon)

    def _flush_soon(self) -> None:
        self._flush_wanted = True

    # ---- inside

    def _connect(self, worker: WorkerId) -> None:
        if worker not in self._connected:
            self._connected.add(worker)
            self.box(worker).uncork()

    def _hold(self, worker: WorkerId) -> None:
        if calls := self._scheduler.hold(worker):
            self._workforce.cancel(worker, calls)

    def _free(self, worker: WorkerId, number: int) -> None:
        with self._lock:
            occupying = self._occupying.get(worker)
            if occupying is None or number not in occupying:
                return
            occupying.remove(number)
            if occupying:
                return
            del self._occupying[worker]
        self._scheduler.free(worker)

    def _break(self, worker: WorkerId, reason: str) -> None:
        ends = self._ends.pop(worker, {})
        if (occupying := self._occupying.pop(worker, None)) is not None:
            occupying.clear()  # those who interrupt look at it
            self._scheduler.free(worker)
        for end in ends.values():
            end.break_off(reason)
