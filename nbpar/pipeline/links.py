"""Links between stages: the sink of one stage is the source of the next.

A stage delivers in its dispatcher's thread and the next takes in its own, which may be the
same.  Taking returns credit to the stage before, so no queue grows beyond
the look-ahead of the stages that read from it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from nbpar.core.events import Event
from nbpar.core.outcome import Part
from nbpar.core.source import EndedSource, ReadySource, Source
from nbpar.dispatch.job import Job, RunDispatcher
from nbpar.pipeline.backlog import Backlog
from nbpar.pipeline.lookahead import LookAhead, Reader


class Listener(Protocol):
    """Receives the events of one stage."""

    def event(self, event: Event) -> None:
        """Something happened."""

    def named(self, part: Part) -> Part:
        """Return the outcomes, with the stage noted in failures."""

    def aborted(self, error: BaseException) -> None:
        """The stage ended early."""


Wake = Callable[[], None]


class StageInput(Source, Protocol):
    """The source of a stage's items."""

    @property
    def waiting(self) -> int:
        """Number of waiting items."""

    def feed(self, wake: Wake, reader: Reader) -> None:
        """Call `wake` when input is available; `reader` returns the number of items it would take soon."""

    def hand_out(self, batch: int | None) -> None:
        """Hand out complete batches of this size only, except the last."""


class Link(ReadySource):
    """Sink of one stage and source of the next."""

    def __init__(self, listener: Listener, appetite: LookAhead) -> None:
        self._listener = listener
        self.appetite = appetite
        self._lock = threading.Lock()  # the two stages may be in two threads
        self._backlog = Backlog()
        self._over = False
        self.error: BaseException | None = None
        self._wakes: list[Wake] = []
        self._desk: RunDispatcher | None = None
        self._job: Job | None = None

    def comes_from(self, desk: RunDispatcher, job: Job) -> None:
        """Set the stage that fills it."""
        self._desk, self._job = desk, job

    @property
    def waiting(self) -> int:
        """Number of waiting items."""
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
        stopped = isinstance(error, KeyboardInterrupt)  # during reading the input
        try:
            if error is not None and (stopped or error is not self._job.state.source.error):
                self._listener.aborted(error)
        finally:
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
        """Number of consecutive items that can be taken."""
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
        """Skip the next element."""
        with self._lock:
            number = self._backlog.drop()
        self._credit(number)

    def want(self, total: int) -> None:
        """Do nothing: the look-ahead is governed by credit."""

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
    """The user's input for the first stage; its source is set later, before the first request."""

    waiting = 0
    """No queue: items are taken as soon as they are read."""

    _source: Source

    def __init__(self) -> None:
        self._woken: list[Wake] = []
        self._batch: int | None = None

    def read_from(self, source: Source) -> None:
        """Take the input."""
        self._source = source

    def feed(self, wake: Wake, reader: Reader) -> None:  # noqa: ARG002 (nothing waits here)
        self._woken.append(wake)

    def wake(self) -> None:
        """Wake the stages that read from it."""
        for wake in self._woken:
            wake()

    def hand_out(self, batch: int | None) -> None:
        self._batch = batch

    @property
    def reading(self) -> float:
        """Seconds that reading the input has taken."""
        return self._source.reading

    @property
    def error(self) -> BaseException | None:
        return self._source.error

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
        return self._source.known()

    def want(self, total: int) -> None:
        self._source.want(total)

    def close(self) -> None:
        """Stop reading, and drop the input."""
        source = self._source
        self._source = EndedSource(self.reading, self.error)
        source.close()
