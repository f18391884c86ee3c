"""The ways between stages: what one delivers is where the next one takes its items from.

A stage delivers in its dispatcher's thread and the next takes in its own, which may be the
same.  Taking gives the stage before credit for as many items more, so no queue grows beyond
the appetite of the stages that read from it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from nbpar.core.events import Event
from nbpar.core.outcome import Part
from nbpar.core.runstate import nothing_known
from nbpar.core.source import Source
from nbpar.dispatch.desk import Desk
from nbpar.dispatch.job import Job
from nbpar.pipeline.appetite import Appetite, Reader
from nbpar.pipeline.backlog import Backlog


class Listener(Protocol):
    """Hears what happens in one stage."""

    def event(self, event: Event) -> None:
        """Something happened."""

    def named(self, part: Part) -> Part:
        """Return the outcomes with failures that know their stage."""

    def aborted(self, error: BaseException) -> None:
        """The stage ended before its time."""


Wake = Callable[[], None]


class Feed(Source, Protocol):
    """Where a stage takes its items from."""

    @property
    def error(self) -> BaseException | None:
        """What ended it before its time."""

    @property
    def waiting(self) -> int:
        """Items that wait."""

    def feed(self, wake: Wake, reader: Reader) -> None:
        """Call `wake` when there is something to take; `reader` says how many items would be taken soon."""

    def hand_out(self, batch: int | None) -> None:
        """Hand out whole batches of this size only, but for the last."""

    def known(self) -> Part | None:
        """Take the outcomes that are next and final, if some are."""


class Link:
    """Sink of one stage and source of the next."""

    def __init__(self, listener: Listener, appetite: Appetite) -> None:
        self._listener = listener
        self.appetite = appetite
        self._lock = threading.Lock()  # the two stages may be in two threads
        self._backlog = Backlog()
        self._over = False
        self.error: BaseException | None = None
        self._wakes: list[Wake] = []
        self._desk: Desk | None = None
        self._job: Job | None = None

    def comes_from(self, desk: Desk, job: Job) -> None:
        """Take in which stage fills it."""
        self._desk, self._job = desk, job

    @property
    def waiting(self) -> int:
        """Items that wait."""
        return self._backlog.size

    # ---- sink

    def deliver(self, parts: list[Part]) -> None:
        with self._lock:
            for part in parts:
                self.appetite.weigh(part)
                self._backlog.put(self._listener.named(part) if part.failures else part)
        self._wake()

    def finish(self, error: BaseException | None) -> None:
        assert self._job is not None
        self.error = error
        self._over = True
        stopped = isinstance(error, KeyboardInterrupt)  # while the input was read
        if error is not None and (stopped or error is not getattr(self._job.state.source, "error", None)):
            self._listener.aborted(error)
        self._wake()

    def emit(self, event: Event) -> None:
        self._listener.event(event)

    # ---- source

    def feed(self, wake: Wake, reader: Reader) -> None:
        self._wakes.append(wake)
        self.appetite.of(reader)

    def hand_out(self, batch: int | None) -> None:
        self._backlog.batch = batch

    @property
    def ended(self) -> bool:
        return self._over and not self._backlog.size

    @property
    def remaining(self) -> int | None:
        return self._backlog.size if self._over else None

    @property
    def ready(self) -> bool:
        return self._backlog.ready > 0

    @property
    def at_hand(self) -> int:
        """Items that can be taken one after another."""
        return self._backlog.ready

    def take(self, limit: int, *, eager: bool) -> Sequence[Any]:
        with self._lock:
            items = self._backlog.take(limit, eager=eager, over=self._over)
        if len(items):
            self._credit(len(items))
        return items

    def known(self) -> Part | None:
        with self._lock:
            part = self._backlog.known()
        if part is not None:
            self._credit(len(part.values))
        return part

    def drop(self) -> None:
        """Leave out what is next."""
        with self._lock:
            number = self._backlog.drop()
        self._credit(number)

    def want(self, total: int) -> None:
        """What may be taken ahead is the credit's business."""

    def _wake(self) -> None:
        for wake in self._wakes:
            wake()

    def _credit(self, items: int) -> None:
        desk, job = self._desk, self._job
        assert desk is not None
        assert job is not None
        if desk.here:
            job.state.consume(items)
        else:
            desk.request(lambda: job.state.consume(items))


class Head:
    """The user's input, as the first stage takes it; it reads from what it is given before anybody asks."""

    waiting = 0
    """Nothing waits: what is read is taken."""

    _source: Source

    def __init__(self) -> None:
        self._woken: list[Wake] = []
        self._batch: int | None = None
        self._known: Callable[[], Part | None] = nothing_known

    def read_from(self, source: Source) -> None:
        """Take the input."""
        self._source = source
        self._known = getattr(source, "known", nothing_known)

    def feed(self, wake: Wake, reader: Reader) -> None:  # noqa: ARG002 (nothing waits here)
        self._woken.append(wake)

    def wake(self) -> None:
        """Have the stages look that read from it."""
        for wake in self._woken:
            wake()

    def hand_out(self, batch: int | None) -> None:
        self._batch = batch

    @property
    def reading(self) -> float:
        """Seconds that reading the input has taken."""
        return getattr(self._source, "reading", 0.0)

    @property
    def error(self) -> BaseException | None:
        return getattr(self._source, "error", None)

    @property
    def ended(self) -> bool:
        return self._source.ended

    @property
    def remaining(self) -> int | None:
        return self._source.remaining

    @property
    def ready(self) -> bool:
        return self._source.ready

    def take(self, limit: int, *, eager: bool) -> Sequence[Any]:
        if self._batch is None:
            return self._source.take(limit, eager=eager)
        return () if limit < self._batch else self._source.take(self._batch, eager=False)

    def known(self) -> Part | None:
        return self._known()

    def want(self, total: int) -> None:
        self._source.want(total)

    def close(self) -> None:
        """Read no more."""
        close = getattr(self._source, "close", None)
        if close is not None:
            close()
