"""Workers with a time limit begin no item that would not end in time."""

from __future__ import annotations

import pytest
from manual_backend import ManualBackend
from records import Record

from nbpar.cluster.base import Lifetime
from nbpar.core.chunking import Chunker
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.source import SequenceSource
from nbpar.dispatch.dispatcher import Dispatcher
from nbpar.dispatch.job import Job
from nbpar.dispatch.memory import MemoryRules
from nbpar.testing import FakeClock
from nbpar.wire.messages import Load


class Jobs:
    """Workers that end at certain times, seconds after the beginning."""

    def __init__(self, span: float, **ends: float) -> None:
        self.clock = FakeClock()
        self.renewed: list[str] = []
        begin = self.clock()
        self.lives = lives = {worker: Lifetime(begin + at, span) for worker, at in ends.items()}
        self.backend = ManualBackend(len(ends), comes=False)
        rules = MemoryRules(renew=self.renewed.append, lifetime=lives.get)
        self.dispatcher = Dispatcher(self.backend, clock=self.clock, rules=rules)
        for worker in ends:
            self.backend.come(worker)

    def begin(self, items, chunksize=1):
        record, fn = Record(), abs
        state = RunState(self.dispatcher.new_id(), SequenceSource(items), Chunker(chunksize), ordered=False)
        self.dispatcher.start(Job(state, record, Load(b"abs", "abs", fn), fn))
        self.step()
        return record

    def step(self):
        for _ in range(3):
            self.dispatcher.step()

    def compute(self, seconds, times=1):
        """Let every worker answer its oldest call, each item after so many seconds."""
        for _ in range(times):
            running = [worker for worker in self.backend.workers if self.backend.calls(worker)]
            items = max(len(self.backend.calls(worker)[0].items) for worker in running)
            self.clock.advance(seconds * items)
            for worker in running:
                number = len(self.backend.calls(worker)[0].items)
                self.backend.answer(worker, seconds=seconds * number)
            self.step()


def test_the_first_item_may_begin_because_its_duration_is_unknown():
    jobs = Jobs(100.0, a=1.0)

    jobs.begin(range(3))

    assert jobs.backend.items("a") == [0]
    assert jobs.renewed == []


def test_an_item_that_would_not_end_in_time_waits_for_another_worker():
    jobs = Jobs(100.0, a=35.0, b=100.0)
    run = jobs.begin(range(6))

    jobs.compute(10.0)  # 25 s are left of a
    jobs.compute(10.0)  # 15 s: another one of 12.5 s would run into the margin of 5 s

    assert jobs.backend.items("a") == []
    assert jobs.renewed == ["a"]
    while not run.ends:
        jobs.compute(10.0)
    assert sorted(run.results) == [0, 1, 2, 3, 4, 5]


def test_a_chunk_is_cut_to_what_ends_in_time():
    jobs = Jobs(100.0, a=100.0)
    jobs.begin(range(60), chunksize=20)

    jobs.compute(2.0, times=2)  # 20 s are left, of which 15 may be used, by items of 2.5 s

    assert jobs.backend.items("a") == list(range(40, 46))
    assert jobs.renewed == []
    jobs.compute(2.0)
    assert jobs.renewed == ["a"]


def test_items_longer_than_any_workers_time_are_not_held_back():
    jobs = Jobs(10.0, a=10.0)
    jobs.begin(range(3))

    jobs.compute(50.0)

    assert jobs.backend.items("a") == [1]
    assert jobs.renewed == []


def test_workers_that_have_no_time_when_they_come_do_not_replace_each_other_forever():
    jobs = Jobs(100.0, a=100.0)
    run = jobs.begin(range(4))
    jobs.compute(60.0)  # 40 s are left

    given = []
    while not given:
        name = f"late {len(jobs.renewed)}"
        jobs.lives[name] = Lifetime(jobs.clock() + 50.0, 100.0)
        jobs.backend.come(name)
        jobs.step()
        given = jobs.backend.items(name)

    assert given == [1]
    assert jobs.renewed == ["a", "late 1", "late 2"]
    assert not run.ends


@pytest.mark.parametrize("life", [None, Lifetime(float("inf"), float("inf"))])
def test_workers_without_a_limit_take_everything(life):
    jobs = Jobs(1.0)
    jobs.dispatcher = Dispatcher(
        jobs.backend, clock=jobs.clock, rules=MemoryRules(renew=jobs.renewed.append, lifetime=lambda _: life)
    )
    jobs.backend.come("a")
    run = jobs.begin(range(3))

    jobs.compute(1000.0, times=3)

    assert sorted(run.results) == [0, 1, 2]
    assert jobs.renewed == []
