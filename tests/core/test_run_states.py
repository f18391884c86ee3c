"""The state of one run: its paused, dropped, known and pinned items, and its watcher."""

from __future__ import annotations

import pytest

from nbpar.core.chunking import Chunk, Chunker
from nbpar.core.outcome import Failure, KnownPart
from nbpar.core.rates.retry import Retry
from nbpar.core.scheduling.runstate import RunState, nothing_known
from nbpar.core.source import DirectSource, HandedOverSource, SequenceSource


class Watching:
    """Notes how often a run reports to its watcher."""

    def __init__(self):
        self.touched = self.entered = 0

    def touch(self, _):
        self.touched += 1

    def enter(self, _):
        self.entered += 1


def run_of(items=8, *, chunksize=1, **more):
    return RunState(1, SequenceSource(range(items)), Chunker(chunksize), **more)


def taken(run, workers=1, now=0.0):
    """Take all chunks that the run has now for an idle worker."""
    chunks = []
    while (chunk := run.next_chunk("0", workers, now, idle=True)) is not None:
        chunks.append(chunk)
    return [list(chunk.items) for chunk in chunks]


# ---- what it reports


def test_its_watcher_is_told_when_there_may_be_work_again():
    run, watching = run_of(streaming=True, buffersize=2), Watching()
    run.watcher = watching
    chunk = run.next_chunk("0", 1, 0.0, idle=True)

    run.paused = True
    run.paused = False
    run.consume(1)
    run.give_back(chunk)
    run.split_after_death(Chunk(1, [1]))
    run.ask(1)

    assert (watching.touched, watching.entered) == (5, 1)


def test_without_a_watcher_it_does_the_same():
    run = run_of(3)

    run.paused = True
    assert taken(run) == []
    run.paused = False
    run.ask(1)

    assert taken(run) == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("source", "known", "attended"),
    [
        (SequenceSource([1]), nothing_known, False),
        (HandedOverSource([1]), nothing_known, False),
        (SequenceSource([1]), lambda: None, True),
        (DirectSource([1]), nothing_known, True),
    ],
)
def test_an_input_that_grows_needs_attention_and_a_complete_one_does_not(source, known, attended):
    assert RunState(1, source, known=known).attended is attended


@pytest.mark.parametrize(("trouble", "waits"), [(None, True), ("paused", False), ("cancelled", False)])
def test_it_has_work_for_a_worker_unless_it_is_paused_or_canceled(trouble, waits):
    run = run_of()
    if trouble == "paused":
        run.paused = True
    elif trouble:
        run.cancel()

    assert run.waits("0", 0.0) is waits
    assert run.idle(0.0) is not waits


def test_pinned_items_wait_for_their_worker_only():
    run = RunState(1, SequenceSource(()))
    run.pin(("a", "b"), "item")

    assert run.waits("a", 0.0)
    assert not run.waits("c", 0.0)
    assert run.next_chunk("b", 2, 0.0, idle=True).first == 1
    assert run.pinned_to("b") is None
    assert not run.waits("b", 0.0)


# ---- outcomes that are known without computing


def test_items_with_known_outcomes_are_skipped_and_delivered_in_their_place():
    parts = iter([KnownPart(0, ["a", "b"]), KnownPart(2, ["c"]), None, None])
    run = run_of(known=lambda: next(parts))

    assert [part.values for part in run.pass_known()] == [["a", "b"], ["c"]]
    assert run.taken == 3
    assert run.pass_known() == []
    assert run_of().pass_known() == []


def test_a_canceled_run_skips_nothing():
    run = run_of(known=lambda: KnownPart(0, ["a"]))

    run.cancel()

    assert run.pass_known() == []
    assert run.done


# ---- items that are dropped


def test_an_item_that_is_dropped_before_it_is_sent_is_forgotten_at_once():
    forgotten = []
    run = run_of(0, singly=True, forget=forgotten.append)
    for index in (2, 1, 0):
        run.give_back(Chunk(index, [index]))

    run.drop(1, under_way=False)
    run.drop(7, under_way=False)

    assert forgotten == [1]
    assert taken(run) == [[0], [2]]


@pytest.mark.parametrize("end", ["given back", "died"])
def test_an_item_that_is_dropped_under_way_does_not_run_again(end):
    forgotten = []
    run = run_of(1, singly=True, forget=forgotten.append)
    chunk = run.next_chunk("0", 1, 0.0, idle=True)
    run.drop(0, under_way=True)
    assert forgotten == []

    if end == "given back":
        run.give_back(chunk)
    else:
        assert run.split_after_death(chunk)

    assert forgotten == [0]
    assert taken(run) == []


def test_an_item_that_is_dropped_under_way_may_still_have_an_outcome():
    forgotten = []
    run = run_of(1, singly=True, forget=forgotten.append)
    chunk = run.next_chunk("0", 1, 0.0, idle=True)
    run.drop(0, under_way=True)

    parts, failures = run.settle(chunk, ["a"], {}, 0.0)

    assert ([part.values for part in parts], failures) == ([["a"]], [])
    run.give_back(Chunk(0, [0]))
    assert (forgotten, taken(run)) == ([], [[0]])


# ---- deaths, retries, order


@pytest.mark.parametrize(
    ("chunk", "pinned", "expected"),
    [
        (Chunk(0, [0]), False, True),
        (Chunk(0, [0], deaths=1), False, False),
        (Chunk(0, [0, 1], deaths=1), False, True),
        (Chunk(0, [0]), True, False),
    ],
)
def test_an_item_gets_another_chance_unless_it_has_killed_before_or_belongs_to_the_dead(
    chunk, pinned, expected
):
    run = run_of(0)
    if pinned:
        run.pinned = ("0",)

    assert run.split_after_death(chunk) is expected


def test_nothing_of_a_canceled_run_runs_again():
    run = run_of(4)
    run.cancel()

    run.give_back(Chunk(0, [0]))
    assert run.split_after_death(Chunk(1, [1]))

    assert run.done


def test_a_failure_is_tried_again_when_its_time_has_come_and_holds_the_others_back_in_order():
    run = run_of(3, chunksize=3, retry=Retry(1, first=1.0, jitter=0.0))
    chunk = run.next_chunk("0", 1, 0.0, idle=True)
    failure = Failure(1, 1, ValueError("no"))

    parts, final = run.settle(chunk, ["a", None, "c"], {1: failure}, 10.0)

    assert ([part.values for part in parts], final) == ([["a"]], [])
    assert (run.next_retry, run.idle(10.5), run.waits("0", 10.5)) == (11.0, True, False)
    again = run.next_chunk("0", 1, 11.0, idle=False)
    assert (again.first, list(again.items), again.attempt, run.next_retry) == (1, [1], 2, None)
    parts, final = run.settle(again, [None], {1: failure}, 12.0)
    assert [part.values for part in parts] == [[None], ["c"]]
    assert final == [failure]


@pytest.mark.parametrize("kind", ["retry", "again"])
def test_what_has_killed_a_worker_waits_until_one_is_idle(kind):
    run = run_of(0, retry=Retry(1, first=0.0))
    deadly = Chunk(0, [0], deaths=1)
    if kind == "retry":
        run.settle(deadly, [None], {0: Failure(0, 0, ValueError("no"))}, 0.0)
    else:
        run.give_back(deadly)

    assert run.next_chunk("0", 1, 1.0, idle=False) is None
    assert run.next_chunk("0", 1, 1.0, idle=True).first == 0


def test_outcomes_that_were_held_back_are_released_when_the_run_ends():
    run = run_of(4)
    chunks = [run.next_chunk("0", 1, 0.0, idle=True) for _ in range(4)]
    for chunk in (chunks[3], chunks[1]):
        assert run.settle(chunk, [chunk.first], {}, 0.0) == ([], [])

    run.cancel()

    assert [part.values for part in run.flush()] == [[1], [3]]
    assert run.flush() == []
    assert run.done


# ---- limits


def test_a_worker_keeps_its_number_and_has_its_place_if_that_is_free():
    run = run_of(most_workers=2)

    for worker in ("b", "b", "c"):
        run.enroll(worker, ["a", "b", "c"])
    assert run.members == {"b": 1, "c": 0}
    assert (run.admits("b"), run.admits("a")) == (True, False)

    unlimited = run_of()
    unlimited.enroll("b", ["a", "b"])
    assert (unlimited.members, unlimited.admits("x")) == ({}, True)


def test_a_limit_of_its_own_says_how_far_a_stream_is_ahead():
    asked = []

    def within(enough):
        asked.append(enough)
        return 3

    run = run_of(100, streaming=True, within=within)
    run.ask(2)

    assert [len(items) for items in taken(run, workers=2)] == [1, 1, 1]
    assert asked == [run.appetite()]
    run.consume(2)
    assert len(taken(run, workers=2)) == 2


@pytest.mark.parametrize(
    ("source", "size"),
    [(SequenceSource(range(2)), 1), (DirectSource(range(99)), 3)],
    ids=["known", "endless"],
)
def test_a_small_buffer_or_a_near_end_is_shared_by_all_workers(source, size):
    run = RunState(1, source, streaming=True, buffersize=9)
    for _ in range(9):
        run.chunker.learn(run.chunker.current, run.chunker.current * 1e-2)
    run.ask(1)

    assert len(run.next_chunk("0", 1, 0.0, idle=True).items) == size


def test_a_stream_whose_buffer_is_full_takes_nothing():
    run = run_of(9, streaming=True, buffersize=2)

    assert taken(run) == [[0], [1]]
    assert run.idle(0.0)
    run.consume(1)
    assert taken(run) == [[2]]


def test_any_number_of_items_may_be_skipped_before_they_are_read():
    run = run_of(3001)
    for index in range(3000):
        run.skip(index, under_way=False)

    assert taken(run) == [[3000]]
    assert len(run.let_go) == 3000
