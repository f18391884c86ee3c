"""Items of a run that are not to be started any more, among others of their chunk."""

from __future__ import annotations

import pytest

from nbpar.core.chunking import Chunk, Chunker
from nbpar.core.runstate import RunState
from nbpar.core.source import EndedSource, SequenceSource


@pytest.fixture
def forgotten():
    """Indices of the items that have no outcome."""
    return []


@pytest.fixture
def run(forgotten):
    """A run all of whose items were taken."""
    return RunState(1, EndedSource(), ordered=False, singly=True, forget=forgotten.append)


def waiting(run):
    """Return the items of each chunk that the run has to give."""
    chunks = []
    while (chunk := run.next_chunk("worker", 1, 0.0, idle=True)) is not None:
        chunks.append((chunk.first, list(chunk.items), chunk.deaths))
    return chunks


def test_an_item_that_waits_is_taken_out_of_its_chunk(run, forgotten):
    run.give_back(Chunk(8, list("ij")))
    run.give_back(Chunk(0, list("abcd")))

    run.drop(1, under_way=False)
    run.drop(3, under_way=False)

    assert forgotten == [1, 3]
    assert waiting(run) == [(0, ["a"], 0), (2, ["c"], 0), (8, ["i", "j"], 0)]


def test_an_item_that_is_unknown_is_not_dropped(run, forgotten):
    run.give_back(Chunk(0, list("ab")))

    run.drop(5, under_way=False)

    assert forgotten == []
    assert waiting(run) == [(0, ["a", "b"], 0)]


def test_items_that_come_back_come_without_the_dropped_ones(run, forgotten):
    run.drop(0, under_way=True)
    run.drop(2, under_way=True)

    run.give_back(Chunk(0, list("abcd")))

    assert forgotten == [0, 2]
    assert waiting(run) == [(1, ["b"], 0), (3, ["d"], 0)]


def test_an_item_that_has_its_outcome_after_all_is_not_forgotten(run, forgotten):
    run.drop(1, under_way=True)

    run.settle(Chunk(0, list("abc")), [1, 2, 3], {}, 0.0)
    run.give_back(Chunk(0, list("abc")))

    assert forgotten == []
    assert waiting(run) == [(0, ["a", "b", "c"], 0)]


def test_the_others_of_a_worker_that_died_are_tried_one_by_one(run, forgotten):
    run.drop(1, under_way=True)

    assert run.split_after_death(Chunk(0, list("abc")))

    assert forgotten == [1]
    assert waiting(run) == [(0, ["a"], 1), (2, ["c"], 1)]


def test_a_dropped_item_whose_worker_died_is_not_tried_again(run, forgotten):
    run.drop(0, under_way=True)

    assert run.split_after_death(Chunk(0, ["a"], deaths=1))

    assert forgotten == [0]
    assert run.done


def test_what_comes_back_to_a_run_that_was_stopped_is_dropped(run):
    run.cancel()

    run.give_back(Chunk(0, list("ab")))

    assert run.split_after_death(Chunk(0, list("ab")))
    assert run.done


def test_a_chunk_has_as_much_work_as_its_run_asks_for():
    chunker = Chunker(largest=64, target=1e-3, shortest=2e-4)
    for _ in range(10):
        chunker.learn(chunker.current, 1e-4 * chunker.current)

    assert chunker.current == 10
    assert chunker.size(1000, 2) == 10
    assert chunker.size(12, 2) == 2

    for _ in range(10):
        chunker.learn(chunker.current, 1e-6 * chunker.current)

    assert chunker.current == 64


def test_a_run_takes_no_more_than_is_left():
    run = RunState(1, SequenceSource(range(3)), Chunker(largest=64, target=1e-3, shortest=2e-4))
    run.chunker.learn(1, 1e-6)

    chunk = run.next_chunk("worker", 1, 0.0, idle=True)

    assert list(chunk.items) == [0, 1, 2]
