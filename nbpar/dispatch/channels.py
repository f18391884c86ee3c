"""A pool's channels on the dispatcher's side: open ends per worker, and workers occupied by code.

A worker that runs a channel's code in its main thread gets no calls of maps meanwhile, and no
worker is released while a channel to it is open.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from nbpar.backends.base import Backend, WorkerId
from nbpar.core.scheduling.scheduler import Scheduler
from nbpar.dispatch.workforce import Workforce
from nbpar.endpoint.outbox import Outbox
from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.host.deferred_sigint import hold
from nbpar.host.error_log import call_safely, log_error
from nbpar.wire.messages import Close, Credit, Item, Items, Message, Open, Printed

GATHER = 0.001
"""Maximal seconds of delay for coalescing frequent messages."""

CHANNEL_MESSAGES = (Item, Items, Credit, Close, Open, Printed)


class OpenEnd(Protocol):
    """This side's end of a channel, as seen by the dispatcher's thread."""

    number: int

    @property
    def wanted(self) -> bool:
        """Whether it is referenced, or has a callback for its items; thread-safe."""

    def take(self, message: Message) -> None:
        """Handle a message from the worker."""

    def break_off(self, reason: str) -> None:
        """Handle the loss of the worker."""

    def leave(self, reason: str) -> None:
        """Drop the channel in a fork of its process."""


Wait = Callable[[WorkerId, Callable[[], bool], Callable[[], bool]], bool]
"""Waits until what a worker says makes a condition true: looks, or calls the function that sleeps."""


@runtime_checkable
class DeliversItems(Protocol):
    """A backend that hands items of channels on by itself, also in the thread of one who waits for them."""

    def deliver_to(self, take: Callable[[WorkerId, Message], None]) -> Wait:
        """Pass items to this function from now on; return how to wait for them."""


class UsersSide(Protocol):
    """The users' side of a pool's channels."""

    def accept(self, worker: WorkerId, opened: Open) -> OpenEnd:
        """Make this side's end of a channel opened by a worker."""


Side = TypeVar("Side", bound=UsersSide)


def _sleep_at_once(_: WorkerId, ready: Callable[[], bool], sleep: Callable[[], bool]) -> bool:
    return ready() or sleep()


class PoolChannels:
    """Methods not marked "from any thread" belong to the dispatcher's thread.

    Args:
        backend: carries the messages.
        workforce: the workers that are present.
        scheduler: gives no calls to workers whose main thread runs code.
        request: runs a function in the dispatcher's thread, soon.
    """

    def __init__(
        self,
        backend: Backend,
        workforce: Workforce,
        scheduler: Scheduler,
        request: Callable[[Callable[[], None]], None],
    ) -> None:
        self._backend = backend
        self._workforce = workforce
        self._scheduler = scheduler
        self._ends: dict[WorkerId, dict[int, OpenEnd]] = {}
        self._occupying: dict[WorkerId, list[int]] = {}
        """Channels whose code occupies the main thread of a worker, or waits for it."""

        self._boxes: dict[WorkerId, Outbox] = {}
        self._early: dict[WorkerId, Outbox] = {}
        """Those of channels that need not wait until the worker takes calls."""

        self._greeted: set[WorkerId] = set()
        """Workers to which these are sent."""

        self._connected: set[WorkerId] = set()
        self._forgotten: set[WorkerId] = set()
        """Workers whose boxes are deleted with them."""

        self._flush_at: float | None = None
        self._flush_wanted = False
        self._reminded = False
        self._lock = threading.Lock()  # for making boxes and the users' side
        self._request = request
        self.wait: Wait = _sleep_at_once
        if isinstance(backend, DeliversItems):
            self.wait = backend.deliver_to(self.take)
        self._users: UsersSide | None = None
        """It lives as long as these channels."""

    def __len__(self) -> int:
        return sum(map(len, self._ends.values()))

    @property
    def waiting(self) -> bool:
        """Whether a missing worker is needed."""
        return any(ends and worker not in self._connected for worker, ends in self._ends.items())

    @property
    def wanted(self) -> bool:
        """Whether any channel is referenced, or has a callback for its items."""
        return any(end.wanted for ends in self._ends.values() for end in ends.values())

    # ---- from any thread

    @property
    def used(self) -> bool:
        """Whether gateways or channels were asked for."""
        return self._users is not None

    def users_side(self, make: Callable[[], Side]) -> Side:
        """Return the users' side of these channels, which is made at the first call."""
        with self._lock:
            if self._users is None:
                self._users = make()
            return cast("Side", self._users)

    def box(self, worker: WorkerId) -> Outbox:
        """Return the outgoing mailbox of a worker; it is sent when the worker is present."""
        return self._box(worker, self._boxes)

    def early_box(self, worker: WorkerId) -> Outbox:
        """Return the one for channels that may open before the worker has run its initializer."""
        return self._box(worker, self._early)

    def occupied(self, worker: WorkerId) -> int:
        """Return the number of channels that have or need the main thread of a worker."""
        return len(self._occupying.get(worker, ()))

    def occupy(self, worker: WorkerId, number: int) -> None:
        """Note that a channel's code needs the main thread of a worker."""
        with self._lock:
            self._occupying.setdefault(worker, []).append(number)

    # ---- opening and closing

    def open(self, worker: WorkerId, end: OpenEnd, *, occupies: bool) -> None:
        """Add a channel, whose `Open` is in the worker's box, corked once for this call."""
        self._ends.setdefault(worker, {})[end.number] = end
        if occupies:
            self._hold(worker)
        box = self.box(worker)
        if worker in self._workforce.ready:
            self._connect(worker)
        box.uncork()

    def open_early(self, worker: WorkerId, end: OpenEnd) -> None:
        """Add a channel, whose `Open` is in the worker's early box, corked once for this call."""
        self._ends.setdefault(worker, {})[end.number] = end
        box = self.early_box(worker)
        if worker in self._workforce.present:
            self.greet(worker)
        box.uncork()

    def close(self, reason: str) -> None:
        """End all channels: notify the workers, stop the code."""
        for worker, ends in list(self._ends.items()):
            if worker in self._connected:
                self._backend.send(worker, [Close(number, half=False, fault=None) for number in ends])
                if self._occupying.get(worker):
                    self._backend.interrupt(worker)
            self._break(worker, reason)

    def leave(self, reason: str) -> None:
        """Drop all channels without messages, and without a lock, whose holder may not exist."""
        for ends in self._ends.values():
            for end in ends.values():
                end.leave(reason)

    def interrupt(self, worker: WorkerId, number: int, now: float) -> None:
        """Interrupt a channel's code, if it is running in the worker's main thread."""
        if self._occupying.get(worker, ())[:1] == [number]:
            still = self._occupying[worker]
            self._workforce.stop_item(worker, now, lambda: still[:1] == [number])

    def forget(self, worker: WorkerId, number: int) -> None:
        """Delete a channel that both sides have closed."""
        if (ends := self._ends.get(worker)) is not None:
            ends.pop(number, None)
            if not ends:
                del self._ends[worker]

    # ---- messages from workers

    def take(self, worker: WorkerId, message: Any) -> None:
        """Handle a worker's message about a channel: one of `CHANNEL_MESSAGES`.

        A message that cannot be handled breaks only its channel.
        """
        try:
            self._take(worker, message)
        except BaseException as bug:
            if may_be_ctrl_c(bug):
                raise
            self._give_up(worker, message.channel, bug)

    def _take(self, worker: WorkerId, message: Any) -> None:
        if isinstance(message, Open):
            if self._users is not None:
                new = self._users.accept(worker, message)
                self._ends.setdefault(worker, {})[message.channel] = new
            return
        if isinstance(message, Close) and not message.half:
            self._free(worker, message.channel)
        if (ends := self._ends.get(worker)) is not None and (end := ends.get(message.channel)) is not None:
            end.take(message)

    def greet(self, worker: WorkerId) -> None:
        """Handle a worker that is present, and may not take calls yet."""
        if worker in self._early and worker not in self._greeted:
            self._greeted.add(worker)
            self.early_box(worker).uncork()

    def arrive(self, worker: WorkerId) -> None:
        """Handle a worker that is present and takes calls."""
        if self._occupying.get(worker):
            self._hold(worker)
        if worker in self._boxes:
            self._connect(worker)

    def lose(self, worker: WorkerId, reason: str, *, died: bool = True) -> None:
        """Handle the loss of a worker; a released one is called back for channels that wait for it."""
        if died or worker in self._connected or worker in self._greeted:
            self._break(worker, reason)
        for boxes in (self._boxes, self._early):
            if died and worker in boxes:
                boxes[worker].clear()
        self.disconnect(worker)
        if worker in self._forgotten:
            self.forget_worker(worker)

    def forget_worker(self, worker: WorkerId) -> None:
        """Delete the state of a worker without future channels, as soon as it is gone."""
        gone = worker not in self._connected and worker not in self._ends
        if gone:
            self._forgotten.discard(worker)
            with self._lock:
                self._boxes.pop(worker, None)
                self._early.pop(worker, None)
        else:
            self._forgotten.add(worker)

    def disconnect(self, worker: WorkerId) -> None:
        """Queue messages from now on."""
        if worker in self._connected:
            self._connected.discard(worker)
            self._boxes[worker].cork()
        if worker in self._greeted:
            self._greeted.discard(worker)
            self._early[worker].cork()

    def look_for_gone(self, here: set[object]) -> None:
        """Give up workers that no longer exist."""
        for worker in list(self._ends):
            if worker not in self._connected and worker not in here:
                self.lose(
                    worker, f"there is no {worker} any more; begin on another gateway, or make a new group"
                )

    # ---- queued messages

    @property
    def flush_at(self) -> float | None:
        """When `flush` must be called; None if nothing waits."""
        return self._flush_at

    def flush(self, now: float) -> None:
        """Send messages that were queued long enough for coalescing."""
        if self._flush_wanted:
            self._flush_wanted = False
            self._flush_at = now + GATHER if self._flush_at is None else self._flush_at
        if self._flush_at is not None and now >= self._flush_at:
            self._flush_at = None
            self._reminded = False
            for worker, box in (*self._boxes.items(), *self._early.items()):
                try:
                    box.flush()
                except BaseException as bug:  # noqa: BLE001 (the others must be sent as well)
                    self._give_up_all(worker, bug)

    def _remind(self) -> None:
        """Schedule a flush (from any thread)."""
        if not self._reminded:
            self._reminded = True
            self._request(self._flush_soon)

    def _flush_soon(self) -> None:
        self._flush_wanted = True

    # ---- internals

    def _box(self, worker: WorkerId, boxes: dict[WorkerId, Outbox]) -> Outbox:
        with self._lock:
            if (box := boxes.get(worker)) is None:
                box = boxes[worker] = Outbox(
                    lambda messages: self._backend.send(worker, messages), self._remind, hold
                )
                box.cork()
            return box

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

    def _give_up(self, worker: WorkerId, number: int, bug: BaseException) -> None:
        reason = f"nbpar failed to handle a message of {worker} for this channel ({type(bug).__name__})"
        log_error(reason, bug)
        if (ends := self._ends.get(worker)) is not None and (end := ends.get(number)) is not None:
            call_safely(lambda: end.break_off(reason), f"a channel to {worker} could not be ended")

    def _give_up_all(self, worker: WorkerId, bug: BaseException) -> None:
        reason = f"nbpar failed to send to {worker} ({type(bug).__name__})"
        log_error(reason, bug)
        for boxes in (self._boxes, self._early):
            if worker in boxes:
                boxes[worker].clear()
        self._break(worker, reason)

    def _break(self, worker: WorkerId, reason: str) -> None:
        ends = self._ends.pop(worker, {})
        if (occupying := self._occupying.pop(worker, None)) is not None:
            occupying.clear()  # those who interrupt read it
            self._scheduler.free(worker)
        for end in ends.values():
            call_safely(partial(end.break_off, reason), f"a channel to {worker} could not be ended")
