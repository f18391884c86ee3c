"""When the items of a call began, by what is heard of it."""

from __future__ import annotations

import pytest

from nbpar.core.chunking import Chunk, Chunker
from nbpar.core.concurrency import ConcurrentChunker
from nbpar.core.rates import starts
from nbpar.core.rates.rate import Gate, Rate
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.scheduling.windows import Assignment
from nbpar.core.source import SequenceSource


@pytest.fixture
def gate():
    return Gate(Rate((4, 10)), lambda: None)


def call_of(gate, items=4, *, chunker=None):
    """A call that has permits for its items."""
    run = RunState(1, SequenceSource(range(items)), chunker or Chunker(), gate=gate)
    call = Assignment(1, "w", run, Chunk(0, range(items)), 0.0, alone=True, expected=0.0)
    call.permits = gate.take(items, 0.0)
    return call


def free_at(gate, now):
    return gate.available(now)


def test_items_that_were_timed_began_when_their_time_was_left(gate):
    starts.answered(call_of(gate), 4, (1.0, 2.0, 3.0, 4.0), 100.0, final=True, struck=False)

    assert [free_at(gate, 110 - left + 0.1) for left in (10, 9, 7, 4)] == [1, 2, 3, 4]


def test_items_that_were_not_timed_began_before_they_were_answered(gate):
    starts.answered(call_of(gate), 4, (), 100.0, final=True, struck=False)

    assert (free_at(gate, 109.9), free_at(gate, 110.0)) == (0, 4)


def test_an_item_that_was_interrupted_has_begun_and_those_after_it_have_not(gate):
    starts.answered(call_of(gate), 1, (0.0,), 100.0, final=True, struck=True)

    assert (free_at(gate, 100.0), free_at(gate, 110.0)) == (2, 4)


def test_an_item_is_counted_once_though_it_was_told_to_have_begun_before(gate):
    call = call_of(gate)
    starts.began(call, 2, 5.0, 50.0)
    assert (free_at(gate, 54.9), free_at(gate, 55.1)) == (0, 2)

    starts.began(call, 2, 5.0, 56.0)
    starts.answered(call, 4, (1.0, 60.0, 1.0, 1.0), 100.0, final=True, struck=False)

    assert (free_at(gate, 107.0), free_at(gate, 110.0)) == (2, 4)


def test_of_items_that_were_under_way_at_once_each_began_by_itself(gate):
    call = call_of(gate, chunker=ConcurrentChunker(4))

    starts.answered(call, 3, (9.0, 1.0, 8.0), 100.0, final=True, struck=False)

    assert [free_at(gate, at) for at in (101.1, 102.1, 109.1)] == [1, 2, 3]


def test_what_may_have_begun_beside_them_is_lost(gate):
    call = call_of(gate, chunker=ConcurrentChunker(4))
    starts.answered(call, 0, (), 100.0, final=True, struck=False)
    assert free_at(gate, 100.0) == 0

    starts.lost(call)
    starts.lost(call)

    assert (free_at(gate, 101.0), free_at(gate, 111.0)) == (0, 4)


def test_a_call_that_was_cut_gives_back_what_it_has_not_begun(gate):
    call = call_of(gate)

    starts.cut(call, 3)
    starts.cut(call, 3)

    assert free_at(gate, 1.0) == 1


def test_a_call_without_a_rate_has_no_permits(gate):
    call = call_of(gate)
    call.run.gate = None

    starts.began(call, 2, 0.0, 1.0)
    starts.cut(call, 0)
    starts.lost(call)

    assert (call.permits, call.begun) == (4, 0)
