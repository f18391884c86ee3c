"""Workers that do not answer for a while: what the driver tells them, and what becomes of their answers."""

from __future__ import annotations

import pytest

from nbpar.core import events
from nbpar.dispatch.jobs import LOOK_FOR_OVERDUE
from nbpar.dispatch.workforce import INTERRUPT_AGAIN, KILL_AFTER
from nbpar.wire.messages import Cancel, Running


def double(x):
    return 2 * x


@pytest.fixture
def silenced(make_bench):
    """A run of two items whose first worker is silent and whose second has begun both."""
    bench = make_bench()
    run = bench.begin(double, range(2))
    bench.step()
    bench.backend.silence("worker 0")
    bench.step()
    bench.backend.answer("worker 1")
    bench.step()
    assert bench.backend.items("worker 1") == [0]
    return bench, run


def cancelled(bench, worker):
    return [call for to, message in bench.backend.sent if to == worker and isinstance(message, Cancel)
            for call in message.ids]  # fmt: skip


def test_the_run_ends_without_the_silent_worker(silenced):
    bench, run = silenced

    bench.backend.answer("worker 1")
    bench.step()

    assert run.over
    assert run.results == [0, 2]
    assert cancelled(bench, "worker 0") == [0]
    assert bench.backend.interrupted == []
    assert [event.worker for event in run.seen(events.WorkerSilent)] == ["worker 0"]


def test_what_is_not_wanted_any_more_is_interrupted_when_the_worker_answers_again(silenced):
    bench, run = silenced
    other = bench.begin(double, [5, 6, 7])
    bench.backend.answer("worker 1")
    bench.step()

    bench.backend.hear("worker 0")
    bench.step()
    assert bench.backend.interrupted == ["worker 0"]
    assert [event.worker for event in other.seen(events.WorkerAnswering)] == ["worker 0"]
    bench.clock.advance(2 * KILL_AFTER)
    bench.step()
    bench.backend.answer("worker 0", 0)
    bench.run(other)

    assert bench.backend.killed == []
    assert bench.backend.interrupted[1:] == ["worker 0"]
    assert (run.results, other.results) == ([0, 2], [10, 12, 14])
    assert {event.worker for event in other.seen(events.ChunkSent)} == {"worker 0", "worker 1"}
    assert INTERRUPT_AGAIN < KILL_AFTER


def test_a_worker_that_does_the_same_for_nothing_is_interrupted(silenced):
    bench, run = silenced

    bench.backend.hear("worker 0")
    bench.backend.answer("worker 0")
    bench.step()

    assert run.results == [0, 2]
    assert bench.backend.interrupted == ["worker 1"]
    assert len(cancelled(bench, "worker 1")) == 1


def test_a_late_answer_changes_nothing(silenced):
    bench, run = silenced
    bench.backend.answer("worker 1")
    bench.step()
    kept = run.seen(events.ItemsDone)

    bench.backend.print("worker 0", "late", index=0)
    bench.backend.hear("worker 0")
    bench.backend.answer("worker 0")
    bench.step()

    assert run.results == [0, 2]
    assert run.seen(events.ItemsDone) == kept
    assert run.seen(events.ItemPrinted) == []


def test_late_answers_do_not_count_while_the_run_lasts(make_bench):
    bench = make_bench()
    run = bench.begin(double, range(6), chunksize=3)
    bench.step()
    bench.backend.silence("worker 0")
    bench.backend.answer("worker 1")
    bench.step()
    bench.backend.answer("worker 1", 1, final=False)  # item 0
    bench.step()

    bench.backend.hear("worker 0")
    bench.backend.print("worker 0", "late", index=0)
    bench.backend.answer("worker 0", 2, final=False)  # items 0 and 1
    bench.step()
    done = sum(event.count for event in run.seen(events.ItemsDone))
    bench.run(run)

    assert done == 5
    assert run.results == [0, 2, 4, 6, 8, 10]
    assert sum(event.count for event in run.seen(events.ItemsDone)) == 6
    assert run.seen(events.ItemPrinted) == []


def test_a_silent_worker_is_not_killed_for_an_overdue_item(make_bench):
    bench = make_bench(1)
    run = bench.begin(double, [3], timeout=1.0)
    bench.step()
    bench.backend.say("worker 0", Running(bench.backend.calls("worker 0")[0].id, now=True))
    bench.backend.silence("worker 0")
    bench.step()
    for _ in range(3):
        bench.clock.advance(10.0 + LOOK_FOR_OVERDUE)
        bench.step()

    assert bench.backend.killed == []
    bench.backend.hear("worker 0")
    bench.run(run)
    assert run.results == [6]


def test_a_call_for_every_worker_leaves_out_the_silent_ones(bench):
    first = bench.begin(double, range(2))
    bench.step()
    bench.backend.silence("worker 0")
    bench.backend.answer_all()
    bench.run(first)

    run = bench.begin(double, [], everywhere=((4,), {}))
    bench.step()
    bench.clock.advance(5.0)
    bench.run(run)

    assert run.results == [8]
    assert [event.worker for event in run.seen(events.WorkerSilent)] == ["worker 0"]


def test_a_silent_worker_that_is_released_is_interrupted_once_and_may_come_again(silenced, monkeypatch):
    bench, _ = silenced
    bench.backend.answer("worker 1")
    bench.step()

    release = bench.backend.release
    monkeypatch.setattr(bench.backend, "release", lambda name: release(name) if name != "worker 0" else None)
    bench.clock.advance(2.0)
    bench.step()

    assert bench.backend.interrupted == ["worker 0"]
    again = bench.begin(double, range(3))
    bench.run(again)
    bench.backend.hear("worker 0")
    bench.backend.leave("worker 0")
    last = bench.begin(double, range(2))
    bench.step()
    bench.clock.advance(0.5)
    bench.step()
    assert bench.backend.items("worker 0") == [1]
    bench.run(last)
    assert (again.results, last.results) == ([0, 2, 4], [0, 2])


def test_a_silent_worker_that_is_lost_costs_nothing_more(silenced):
    bench, run = silenced

    bench.backend.lose("worker 0")
    bench.step()
    bench.run(run)

    assert run.results == [0, 2]


def test_a_stranger_that_is_silent_is_ignored(bench):
    run = bench.begin(double, range(2))
    bench.step()

    bench.backend.silence("worker 9")
    bench.backend.hear("worker 9")
    bench.backend.hear("worker 0")
    bench.run(run)

    assert run.results == [0, 2]
    assert run.seen(events.WorkerAnswering) == []
