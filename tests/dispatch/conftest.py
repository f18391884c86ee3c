"""A dispatcher whose workers, clock and steps are controlled by the test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from manual_backend import ManualBackend
from records import Record

from nbpar.core.call_style import CallStyle
from nbpar.core.chunking import Chunker
from nbpar.core.rates.retry import Retry
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.source import SequenceSource
from nbpar.dispatch.dispatcher import Dispatcher
from nbpar.dispatch.job import Job
from nbpar.dispatch.workforce import Initializer
from nbpar.testing import FakeClock
from nbpar.wire.messages import Load

STEPS = 100


class Bench:
    """Everything around one dispatcher."""

    def __init__(
        self, workers: int = 2, *, initializer=None, bring_files=None, blocking: bool = True, **backend: Any
    ) -> None:
        self.clock = FakeClock()
        self.backend = ManualBackend(workers, blocking=blocking, **backend)
        self.expected = False
        self.awaited = ""
        self.dispatcher = Dispatcher(
            self.backend,
            initializer=None if initializer is None else Initializer(load(initializer), ()),
            expecting=lambda: self.expected,
            awaited=lambda: self.awaited,
            clock=self.clock,
            bring_files=bring_files,
        )

    def begin(
        self, fn: Callable[..., Any], items: Any, *, chunksize: int | None = 1, retry: Retry | None = None,
        everywhere: Any = None, **job: Any,
    ) -> Record:  # fmt: skip
        source = items if hasattr(items, "take") else SequenceSource(items)
        state = RunState(
            self.dispatcher.new_id(), source, Chunker(chunksize), ordered=False, retry=retry or Retry(),
            dice=lambda: 0.0,
        )  # fmt: skip
        record = Record()
        spread = CallStyle.ONE if everywhere is None else CallStyle.CALL
        record.job = Job(state, record, load(fn), fn, spread=spread, everywhere=everywhere, **job)
        self.dispatcher.start(record.job)
        return record

    def step(self, times: int = 2) -> None:
        for _ in range(times):
            self.dispatcher.step()

    def run(self, *records: Record) -> None:
        """Let the workers work until these runs are over."""
        for _ in range(STEPS):
            self.step()
            if all(record.over for record in records):
                return
            self.backend.answer_all()
        raise AssertionError("the runs did not end")

    def loads(self, worker: str) -> int:
        return sum(isinstance(message, Load) for to, message in self.backend.sent if to == worker)


def load(fn: Callable[..., Any]) -> Load:
    return Load(b"%d" % id(fn), getattr(fn, "__name__", "fn"), fn)


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def make_bench():
    return Bench
