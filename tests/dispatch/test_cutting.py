"""The dispatcher recalls the unstarted items of a call for idle workers."""

from __future__ import annotations

import pytest

from nbpar.core import events
from nbpar.core.scheduling.windows import LASTS
from nbpar.wire.messages import Cut, Shortened


def double(x):
    return 2 * x


def lasting(bench):
    """Begin a run of one chunk on the first worker; let its first item last until it was cut."""
    run = bench.begin(double, range(6), chunksize=6)
    bench.step()
    bench.clock.advance(LASTS)
    bench.step()
    return run


def cuts(bench):
    return [worker for worker, message in bench.backend.sent if isinstance(message, Cut)]


def test_items_behind_one_that_lasts_are_done_by_an_idle_worker(bench):
    run = lasting(bench)

    assert cuts(bench) == ["worker 0"]
    assert bench.backend.items("worker 0") == [0]
    assert bench.backend.items("worker 1") == [1, 2, 3, 4, 5]
    bench.backend.answer("worker 1")
    bench.step()
    assert sorted(value for part in run.parts for value in part.values) == [2, 4, 6, 8, 10]

    bench.run(run)
    assert sorted(run.results) == [0, 2, 4, 6, 8, 10]
    assert [(event.worker, event.count) for event in run.seen(events.ChunkCut)] == [("worker 0", 1)]


@pytest.mark.parametrize("kept", [0, 7])
def test_a_worker_that_keeps_less_than_it_has_answered_or_more_than_it_has_is_killed(bench, kept):
    run = bench.begin(double, range(6), chunksize=6)
    bench.step()
    call = bench.backend.calls("worker 0")[0]
    bench.backend.answer("worker 0", 1, final=False)

    bench.backend.say("worker 0", Shortened(call.id, kept))
    bench.step()

    assert bench.backend.killed == ["worker 0"]
    bench.run(run)
    assert sorted(run.results) == [0, 2, 4, 6, 8, 10]


@pytest.mark.parametrize("told", [False, True])
def test_a_worker_may_die_before_or_after_it_was_cut(bench, told):
    run = bench.begin(double, range(6), chunksize=6)
    bench.step()
    call = bench.backend.calls("worker 0")[0]
    if told:
        bench.backend.say("worker 0", Shortened(call.id, 2))
        bench.step()
    bench.backend.lose("worker 0")
    if not told:
        bench.backend.say("worker 0", Shortened(call.id, 2))
    bench.run(run)

    assert sorted(run.results) == [0, 2, 4, 6, 8, 10]
    assert run.failures == []


def test_a_stopped_run_does_not_begin_what_comes_back(bench):
    run = bench.begin(double, range(6), chunksize=6)
    bench.step()
    call = bench.backend.calls("worker 0")[0]
    bench.dispatcher.stop(run.job, None)
    bench.step()

    bench.backend.say("worker 0", Shortened(call.id, 1))
    bench.step()

    assert bench.backend.items("worker 1") == []
