"""Items of a run that are not to be started any more, among others of their chunk."""

from __future__ import annotations

import pytest

from nbpar.core.chunking import Chunk, Chunker
from nbpar.core.outcome import Failure
from nbpar.core.rates.retry import Retry
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.source import EndedSource, SequenceSource
from nbpar.errors import SkippedError


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


# ---- items that are skipped: they get an outcome in the end


def run_of(items, **more):
    return RunState(1, SequenceSource(items), Chunker(2), **more)


def let_go(run):
    """Return the indices and items that are to be settled."""
    return [(chunk.first, *chunk.items) for chunk in run.let_go]


def test_an_item_that_is_skipped_before_it_is_read_is_let_go_when_it_is():
    run = run_of("abcdef")

    for index in (1, 2, 3, 99):
        run.skip(index, under_way=False)

    assert let_go(run) == []
    assert waiting(run) == [(0, ["a"], 0), (4, ["e", "f"], 0)]
    assert let_go(run) == [(1, "b"), (2, "c"), (3, "d")]


def test_nothing_is_left_to_do_when_the_last_items_are_skipped():
    run = run_of("ab")
    run.skip(0, under_way=False)
    run.skip(1, under_way=False)

    assert waiting(run) == []
    assert not run.done

    run.settle(run.let_go.popleft(), [None], {}, 0.0)
    run.settle(run.let_go.popleft(), [None], {}, 0.0)
    assert run.done


def test_the_next_items_of_the_input_are_let_go_at_once_with_those_after_them_that_were_skipped():
    run = run_of("abcd")

    run.skip(1, under_way=False)
    assert let_go(run) == []
    run.skip(0, under_way=False)

    assert let_go(run) == [(0, "a"), (1, "b")]
    assert waiting(run) == [(2, ["c", "d"], 0)]


def test_an_item_that_the_input_does_not_have_is_not_let_go():
    run = run_of("")
    run.skip(0, under_way=False)

    assert let_go(run) == []
    assert run.done


def test_an_item_that_waits_for_its_retry_is_let_go_at_once():
    run = run_of("abcd", retry=Retry(2, first=5.0))
    chunk = run.next_chunk("worker", 1, 0.0, idle=True)
    failures = {index: Failure(index, item, ValueError()) for index, item in enumerate("ab")}
    run.settle(chunk, [None, None], failures, 0.0)

    run.skip(1, under_way=False)

    assert let_go(run) == [(1, "b")]
    assert run.next_retry > 0
    assert waiting(run) == [(2, ["c", "d"], 0)]


def test_an_item_in_flight_is_let_go_when_it_comes_back():
    run = run_of("abcd")
    chunk = run.next_chunk("worker", 1, 0.0, idle=True)

    run.skip(1, under_way=True)

    assert run.is_dropped(1)
    assert let_go(run) == []
    run.give_back(chunk.rest(1))
    assert let_go(run) == [(1, "b")]
    assert not run.is_dropped(1)


def test_a_skipped_item_is_never_retried():
    run = run_of("ab", retry=Retry(5))
    chunk = run.next_chunk("worker", 1, 0.0, idle=True)
    failures = {0: Failure(0, "a", SkippedError()), 1: Failure(1, "b", ValueError())}

    _, final = run.settle(chunk, [None, None], failures, 0.0)

    assert [failure.index for failure in final] == [0]
    assert final[0].skipped


def test_a_cancelled_run_lets_go_of_nothing_more():
    run = run_of("ab")
    run.skip(0, under_way=False)
    run.next_chunk("worker", 1, 0.0, idle=True)

    run.cancel()

    assert let_go(run) == []
    assert run.done
