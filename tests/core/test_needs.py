"""What items need of their host: what may be said, and how many are under way at once."""

from __future__ import annotations

import gc

import pytest

from nbpar.core.chunking import Chunker
from nbpar.core.concurrency import ConcurrentChunker
from nbpar.core.rates.rate import Gate, Rate
from nbpar.core.scheduling.needs import ANYWHERE, Claim, Host, Needs
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.scheduling.scheduler import Scheduler
from nbpar.core.source import SequenceSource


def nothing():
    pass


def claim_of(cores=1.0, stir=nothing, **how):
    return Claim(Needs(0, cores), stir, **how)


class Pool:
    """A scheduler with workers on a host, which other pools may share."""

    def __init__(self, host, workers=3, name="w"):
        self.scheduler = Scheduler()
        for number in range(workers):
            self.scheduler.join(f"{name}{number}", host)
        self.calls = []

    def begin(self, number, cores, items=8, chunker=None, gate=None):
        chunker = chunker or Chunker(1)
        state = RunState(number, SequenceSource(range(items)), chunker, ordered=False, gate=gate)
        if cores:
            stir = lambda: self.scheduler.touch(state)  # noqa: E731 (it needs the state)
            state.claim = claim_of(cores, stir, each=chunker.concurrency > 0)
        self.scheduler.add(state)
        return state

    def assign(self):
        given = list(self.scheduler.assign(0.0))
        self.calls += given
        return [(call.run.id, call.worker) for call in given]

    def answer(self, run, seconds=1.0):
        """Let the oldest call of a run be answered."""
        call = next(call for call in self.calls if call.run is run)
        self.calls.remove(call)
        number = len(call.chunk.items)
        self.scheduler.answer(call, number, seconds, 0.0, final=True)
        self.scheduler.settle(call, call.chunk.first, [None] * number, {}, 0.0)


@pytest.mark.parametrize(
    ("given", "needs"),
    [
        (None, None),
        ({"memory": "2GB"}, Needs(2 * 10**9)),
        ({"memory": "2 GiB"}, Needs(2 << 30)),
        ({"memory": "1.5g", "cores": 2}, Needs(3 << 29, 2.0)),
        ({"memory": 5000}, Needs(5000)),
        ({"cores": 0.5}, Needs(0, 0.5)),
        (Needs(1), Needs(1)),
    ],
)
def test_needs_are_said_in_texts_and_numbers(given, needs):
    assert Needs.of(given) == needs


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ("2GB", TypeError, "needs must be None or"),
        ({}, ValueError, "needs must be"),
        ({"gpus": 1}, ValueError, "needs must be"),
        ({"memory": "2"}, ValueError, "memory of needs"),
        ({"memory": None}, TypeError, "memory of needs"),
        ({"memory": 0}, ValueError, "at least 1 byte"),
        ({"memory": float("nan")}, ValueError, "at least 1 byte"),
        ({"cores": "two"}, TypeError, "cores of needs"),
        ({"cores": 0}, ValueError, "above 0"),
        ({"cores": float("inf")}, ValueError, "above 0"),
    ],
)
def test_what_makes_no_sense_is_refused(given, error, words):
    with pytest.raises(error, match=words):
        Needs.of(given)


def test_they_are_told_as_text():
    assert str(Needs(2 * 10**9, 1)) == "2.0 GB and 1 core"
    assert str(Needs(0, 2)) == "2 cores"


def test_what_never_fits_is_told_with_what_there_is():
    host = Host(24 * 10**9, 4)

    assert not host.fits(Needs(64 * 10**9))
    assert host.lacks(Needs(64 * 10**9)) == "an item needs 64 GB, this host has 24 GB"
    assert host.lacks(Needs(64 * 10**9, 8)) == "an item needs 64 GB and 8 cores, this host has 24 GB and 4"
    assert host.lacks(Needs(0, 8)) == "an item needs 8 cores, this host has 4"
    assert host.fits(Needs(24 * 10**9, 4))


def test_who_leaves_twice_waits_no_more():
    host, first, second = Host(0, 1), claim_of(), claim_of()
    first.begin("a", host)
    assert not second.begin("b", host)

    second.leave(host)
    second.leave(host)
    first.end("a")

    assert first.begin("a", host)


def test_memory_counts_as_cores_do():
    host, claim = Host(5, 1), Claim(Needs(2), nothing)

    assert [claim.begin(worker, host) for worker in "abc"] == [True, True, False]


def test_fractions_of_cores_add_up_to_whole_ones():
    host, claim = Host(0, 1), claim_of(0.1)

    assert sum(claim.begin(str(worker), host) for worker in range(11)) == 10


def test_only_as_many_workers_begin_as_fit():
    pool = Pool(Host(0, 2))
    run = pool.begin(1, 1.0)

    assert len(pool.assign()) == 2
    pool.answer(run)
    assert len(pool.assign()) == 1


def test_what_a_worker_has_of_one_run_counts_once():
    pool = Pool(Host(0, 1), workers=2)
    pool.begin(1, 1.0, items=100, chunker=Chunker(10))

    assert [worker for _, worker in pool.assign()] == ["w0"]
    assert len(pool.calls[0].chunk.items) == 10


def test_an_item_does_not_wait_behind_those_of_another_run():
    pool = Pool(Host(0, 2), workers=1)
    other, chunker = pool.begin(1, 0), Chunker(1)
    pool.assign()
    chunker.window = other.chunker.window = 5
    pool.begin(2, 1.0, chunker=chunker)
    other.priority = 100.0  # the turn is the new one's

    assert pool.assign() == []
    pool.answer(other)

    assert pool.assign()[0] == (2, "w0")


def test_others_go_on_where_nothing_fits():
    pool = Pool(Host(0, 1), workers=2)
    pool.begin(1, 1.0)
    pool.begin(2, 0)

    assert sorted(pool.assign()) == [(1, "w0"), (2, "w1")]


def test_nothing_goes_to_a_host_that_is_too_small():
    pool = Pool(Host(0, 1), workers=2)
    pool.scheduler.join("large", Host(0, 8))
    pool.begin(1, 4.0)

    assert pool.assign() == [(1, "large")]


def test_items_of_async_functions_count_each():
    pool = Pool(Host(0, 3), workers=1)
    run = pool.begin(1, 1.0, chunker=ConcurrentChunker(10))

    assert len(pool.assign()) == 3
    pool.answer(run)
    assert len(pool.assign()) == 1


def test_they_count_each_where_several_come_back_together():
    pool = Pool(Host(0, 2), workers=1)
    run = pool.begin(1, 1.0, items=0, chunker=ConcurrentChunker(10))
    run.source, source = SequenceSource(range(4)), run.source
    run.give_back(next(iter([run.next_chunk("w0", 1, 0.0, idle=True)])))
    assert source.ended

    pool.assign()

    assert sum(len(call.chunk.items) for call in pool.calls) == 2


def test_a_rate_and_needs_hold_together():
    pool = Pool(Host(0, 3), workers=4)
    run = pool.begin(1, 1.0, gate=Gate(Rate((2, 10)), nothing))

    assert len(pool.assign()) == 2
    pool.answer(run)
    assert pool.assign() == []
    assert pool.scheduler.windows["w0"].host._used.total() == 1


def test_two_pools_share_their_host():
    host = Host(0, 2)
    one, other = Pool(host, workers=2, name="a"), Pool(host, name="b")
    first, second = one.begin(1, 1.0), other.begin(1, 1.0)

    assert (len(one.assign()), len(other.assign())) == (2, 0)
    one.answer(first)
    assert (len(one.assign()), len(other.assign())) == (0, 1)  # the other was there before
    one.answer(first)
    assert (len(one.assign()), len(other.assign())) == (1, 0)
    assert second.running == 1


def test_who_needs_much_is_not_passed_by_those_who_need_little():
    host = Host(0, 2)
    one, other = Pool(host, workers=2, name="a"), Pool(host, name="b")
    little = one.begin(1, 1.0, items=100)
    one.assign()
    other.begin(1, 2.0)
    assert other.assign() == []

    one.answer(little)
    assert one.assign() == []
    one.answer(little)
    assert one.assign() == []

    assert len(other.assign()) == 1


@pytest.mark.parametrize("end", ["paused", "cancelled", "busy", "lost", "held", "retired", "removed"])
def test_who_could_not_begin_anyway_holds_up_nobody(end):
    host = Host(0, 2)
    one, other = Pool(host, workers=2, name="a"), Pool(host, workers=1, name="b")
    little = one.begin(1, 1.0, items=100)
    one.assign()
    much = other.begin(1, 2.0)
    other.assign()
    one.answer(little)
    assert one.assign() == []

    if end == "paused":
        much.paused = True
    elif end == "cancelled":
        much.cancel()
    elif end == "removed":
        other.scheduler.remove(much)
    elif end == "busy":
        other.begin(2, 0)
        assert other.assign() == [(2, "b0")]
    else:
        {"lost": other.scheduler.lose, "held": other.scheduler.hold, "retired": other.scheduler.retire}[end](
            "b0"
        )

    assert len(one.assign()) == 1


def test_what_a_dead_worker_held_is_free_again():
    host = Host(0, 1)
    pool = Pool(host)
    pool.begin(1, 1.0)
    pool.assign()

    pool.scheduler.lose("w0")

    assert [worker for _, worker in pool.assign()] == ["w1"]


def test_what_is_given_up_is_free_again_and_only_once():
    host = Host(0, 2)
    pool = Pool(host)
    run = pool.begin(1, 1.0)
    pool.assign()

    pool.scheduler.lose_permits()
    pool.answer(run)

    assert host._used.total() == 0


def test_what_is_dropped_gives_back_what_it_held():
    host = Host(0, 1)
    pool = Pool(host)
    pool.begin(1, 1.0)
    pool.assign()
    other = claim_of()
    assert not host.has_room(other)

    del pool
    gc.collect()

    assert host.has_room(other)


def test_nothing_is_recalled_for_a_worker_that_may_not_begin_it():
    pool = Pool(Host(0, 1), workers=2)
    pool.begin(1, 1.0, items=100, chunker=Chunker(10))
    pool.assign()

    assert pool.scheduler.windows.recall(10.0) == []


def test_a_host_without_limits_takes_everything():
    assert ANYWHERE.fits(Needs(10**18, 10**6))
    assert ANYWHERE.has_room(None)
