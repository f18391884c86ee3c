"""A chunk whose worker ran out of memory is tried again with nothing else on its host."""

from __future__ import annotations

import pytest

from nbpar.core.chunking import Chunk, Chunker
from nbpar.core.concurrency import ConcurrentChunker
from nbpar.core.rates.rate import Gate, Rate
from nbpar.core.scheduling.needs import Claim, Host, Needs
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.scheduling.scheduler import Scheduler
from nbpar.core.source import SequenceSource


class Pool:
    """A scheduler with some workers on each of some hosts."""

    def __init__(self, *workers):
        self.scheduler = Scheduler()
        self.hosts = [Host(0, 4) for _ in workers]
        for host, (place, number) in zip(self.hosts, enumerate(workers), strict=True):
            for name in range(number):
                self.scheduler.join(f"{place}.{name}", host)
        self.runs = 0

    def begin(self, items=6, chunksize=1, **how):
        self.runs += 1
        chunker = how.pop("chunker", None) or Chunker(chunksize)
        run = RunState(self.runs, SequenceSource(range(items)), chunker, ordered=False, **how)
        self.scheduler.add(run)
        return run

    def assign(self, now=0.0):
        return {call.worker: call for call in self.scheduler.assign(now)}

    def answer(self, call, now=0.0):
        number = len(call.chunk.items) - call.done
        self.scheduler.answer(call, number, 1.0, now, final=True)
        self.scheduler.settle(call, call.chunk.first, [None] * number, {}, now)

    def starve(self, worker):
        return self.scheduler.lose(worker, starved=True)


def test_nothing_begins_until_the_others_are_over():
    pool = Pool(3)
    pool.begin()
    calls = pool.assign()
    pool.starve("0.0")

    pool.answer(calls["0.1"])
    assert pool.assign() == {}

    pool.answer(calls["0.2"])
    [alone] = pool.assign().values()
    assert (alone.chunk.first, alone.chunk.starved) == (0, True)
    assert pool.assign() == {}


def test_everything_goes_on_when_it_is_over():
    pool = Pool(2)
    pool.begin()
    other = pool.begin()
    calls = pool.assign()
    pool.starve("0.0")
    pool.answer(calls["0.1"])
    [alone] = pool.assign().values()

    pool.scheduler.join("0.2", pool.hosts[0])
    assert pool.assign() == {}
    pool.answer(alone)

    assert set(pool.assign()) == {"0.1", "0.2"}
    assert not pool.scheduler._solitude.needed
    assert other.running + other.taken > 0


def test_what_dies_of_it_alone_gets_no_other_chance():
    pool = Pool(2)
    pool.begin(1)
    pool.assign()

    assert pool.starve("0.0") == []
    [alone] = pool.assign().values()
    [hopeless] = pool.starve(alone.worker)

    assert (hopeless.chunk.first, hopeless.chunk.starved, hopeless.chunk.deaths) == (0, True, 1)


def test_what_died_of_something_else_before_is_tried_alone_all_the_same():
    pool = Pool(3)
    pool.begin(1)
    pool.assign()
    pool.scheduler.lose("0.0")
    pool.assign()

    assert pool.starve("0.1") == []
    [alone] = pool.assign().values()
    assert alone.chunk.deaths == 2
    [hopeless] = pool.scheduler.lose("0.2")
    assert hopeless.chunk.first == 0


def test_pieces_of_a_chunk_are_alone_one_by_one():
    pool = Pool(2)
    pool.begin(3, chunksize=3)
    pool.assign()
    pool.starve("0.0")
    seen = []

    while calls := pool.assign():
        [call] = calls.values()
        seen.append(call.chunk.first)
        pool.answer(call)

    assert seen == [0, 1, 2]


def test_it_is_tried_on_the_first_host_that_is_empty_and_others_go_on():
    pool = Pool(2, 1)
    pool.begin(8)
    calls = pool.assign()
    pool.starve("0.0")
    pool.answer(calls["1.0"])

    [alone] = pool.assign().values()
    assert (alone.worker, alone.chunk.starved) == ("1.0", True)
    pool.answer(calls["0.1"])

    [other] = pool.assign().values()
    assert (other.worker, other.chunk.starved) == ("0.1", False)


@pytest.mark.parametrize("how", ["paused", "cancelled", "dropped"])
def test_what_will_not_begin_holds_up_nobody(how):
    pool = Pool(2)
    run, other = pool.begin(1), pool.begin()
    pool.assign()
    pool.starve("0.0" if run.running and pool.scheduler.windows.head("0.0").run is run else "0.1")
    assert run.starved

    if how == "paused":
        run.paused = True
    elif how == "cancelled":
        pool.scheduler.remove(run)
    else:
        run.drop(0, under_way=False)

    pool.scheduler.join("0.2", pool.hosts[0])
    assert [call.run for call in pool.assign().values()] == [other]


def test_a_silent_worker_is_not_waited_for():
    pool = Pool(2)
    pool.begin(2)
    pool.assign()
    pool.starve("0.0")
    pool.scheduler.silence.begin("0.1")
    pool.scheduler.join("0.2", pool.hosts[0])

    assert set(pool.assign()) == {"0.2"}


def test_a_rate_holds_for_it_too_and_nobody_waits_for_that():
    pool = Pool(2)
    run = pool.begin(1, gate=Gate(Rate((1, 10)), lambda: None))
    pool.assign()
    pool.starve("0.0")
    other = pool.begin(1)

    assert pool.assign() == {}
    assert [call.run for call in pool.assign().values()] == [other]
    assert run.starved


def test_a_part_of_it_begins_where_a_rate_lets_no_more():
    pool = Pool(2)
    run = pool.begin(0, gate=Gate(Rate((2, 10)), lambda: None), chunker=Chunker(3))
    run.starved.append(Chunk(0, [0, 1, 2], deaths=1, starved=True))
    pool.scheduler._solitude.add(run)

    [call] = pool.assign().values()

    assert (len(call.chunk.items), len(run.starved[0].items)) == (2, 1)


@pytest.mark.parametrize("concurrency", [0, 10])
def test_it_takes_what_it_needs_and_waits_for_it(concurrency):
    pool = Pool(2)
    host, needs = pool.hosts[0], Needs(0, 3)
    elsewhere = Claim(needs, lambda: None)
    elsewhere.begin("of another pool", host)
    chunker = ConcurrentChunker(concurrency) if concurrency else Chunker(2)
    run = pool.begin(0, chunker=chunker, claim=Claim(needs, lambda: None, each=concurrency > 0))
    run.starved.append(Chunk(0, [0, 1], deaths=1, starved=True))
    pool.scheduler._solitude.add(run)

    assert pool.assign() == {}
    elsewhere.end("of another pool")
    [call] = pool.assign().values()

    assert len(call.chunk.items) == (1 if concurrency else 2)


def test_it_gives_back_what_it_needs_when_its_rate_lets_nothing_begin():
    pool = Pool(1)
    gate, claim = Gate(Rate((1, 10)), lambda: None), Claim(Needs(0, 1), lambda: None)
    run = pool.begin(0, gate=gate, claim=claim)
    gate.take(1, 0.0)
    run.starved.append(Chunk(0, [0], deaths=1, starved=True))
    pool.scheduler._solitude.add(run)

    assert pool.assign() == {}
    assert not pool.hosts[0]._used.total()


def test_a_run_of_some_workers_has_it_on_one_of_them():
    pool = Pool(3)
    run = pool.begin(2, most_workers=1)
    [first] = pool.assign().values()
    pool.starve(first.worker)

    [alone] = pool.assign().values()

    assert run.members == {alone.worker: 0}
