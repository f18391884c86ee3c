"""A dispatcher whose workers, clock and free memory are controlled by the test."""

from __future__ import annotations

from typing import Any

import pytest
from manual_backend import ManualBackend
from records import Record

from nbpar.core.chunking import Chunker
from nbpar.core.events import MemoryLow
from nbpar.core.progress import Progress
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.snapshot import Snapshot
from nbpar.core.source import SequenceSource
from nbpar.dispatch.dispatcher import Dispatcher
from nbpar.dispatch.job import Job
from nbpar.dispatch.memory import MemoryRules
from nbpar.host.memory import EVERY, MemoryGuard
from nbpar.testing import FakeClock
from nbpar.wire.messages import Load

LEAST = 100


class WatchedRecord(Record):
    """A sink that also says what it saw of the memory."""

    @property
    def low(self) -> list[bool]:
        return [event.low for event in self.seen(MemoryLow)]

    def snapshot(self) -> Snapshot:
        progress = Progress()
        for event in self.events:
            progress(event)
        return progress.snapshot(0.0)


class Machine:
    """Two workers on this host, and how much memory is free."""

    def __init__(self, workers: int = 2, **rules: Any) -> None:
        self.clock = FakeClock()
        self.free = 10 * LEAST
        self.renewed: list[str] = []
        self.backend = ManualBackend(workers, comes=False)
        guard = MemoryGuard(LEAST, free=lambda: self.free)
        self.dispatcher = Dispatcher(
            self.backend, clock=self.clock, rules=MemoryRules(guard, renew=self.renewed.append, **rules)
        )

    def begin(self, items, chunksize: int = 1) -> WatchedRecord:
        record, fn = WatchedRecord(), abs
        state = RunState(self.dispatcher.new_id(), SequenceSource(items), Chunker(chunksize), ordered=False)
        self.dispatcher.start(Job(state, record, Load(b"abs", "abs", fn), fn))
        return record

    def come(self, *workers: str, **facts: Any) -> None:
        from nbpar.host.machine import this_process

        for worker in workers:
            self.backend.come(worker, **{**this_process(), **facts})
        self.step()

    def step(self, times: int = 2) -> None:
        for _ in range(times):
            self.dispatcher.step()

    def look(self) -> None:
        """Advance the clock to the next check of the memory."""
        self.clock.advance(EVERY * 1.1)
        self.step()


@pytest.fixture
def make_machine():
    return Machine


@pytest.fixture
def machine():
    return Machine()
