"""Single items that are let go while their run goes on, on workers controlled by the test."""

from __future__ import annotations

import pytest

from nbpar.core.events import ItemFailed
from nbpar.core.rates.retry import Retry
from nbpar.dispatch.workforce import INTERRUPT_AGAIN, KILL_AFTER
from nbpar.errors import InternalError, SkippedError
from nbpar.wire.messages import Cancel, Cut


def double(n):
    return 2 * n


def fail(n):
    if n == 1:
        raise ValueError("broken by the interrupt")
    return 2 * n


def skip(bench, record, index):
    bench.dispatcher.skip(record.job, index)
    bench.step(1)


def test_an_item_that_runs_is_interrupted_and_the_others_go_on(bench):
    record = bench.begin(double, range(4))
    bench.step()

    bench.clock.advance(3.0)
    skip(bench, record, 1)
    assert bench.backend.interrupted == ["worker 1"]

    bench.backend.answer("worker 1", 0)
    bench.run(record)
    failure = record.failures[0]
    assert record.error is None
    assert record.results[:1] + record.results[2:] == [0, 4, 6]
    assert (failure.index, failure.item, failure.worker) == (1, 1, "worker 1")
    assert failure.skipped
    assert str(failure.exception) == "it was skipped after 3.0 s"
    assert failure.seconds == 3.0
    assert [event.failure for event in record.seen(ItemFailed)] == [failure]


@pytest.mark.parametrize("policy", [{"fail_fast": True}, {"fail_fast": False, "max_errors": 0}])
def test_a_skipped_item_does_not_end_its_run(bench, policy):
    record = bench.begin(double, range(4), **policy)
    bench.step()

    skip(bench, record, 0)
    skip(bench, record, 3)
    bench.backend.answer("worker 0", 0)
    bench.run(record)

    assert record.error is None
    assert [failure.index for failure in record.failures] == [0, 3]


def test_what_an_item_makes_of_its_interrupt_is_only_the_cause(bench):
    record = bench.begin(fail, range(4), fail_fast=True, retry=Retry(3))
    bench.step()

    skip(bench, record, 1)
    bench.run(record)

    failure = record.failures[0]
    assert record.error is None
    assert type(failure.exception) is SkippedError
    assert str(failure.exception.__cause__) == "broken by the interrupt"
    assert failure.attempts == 1


def test_an_item_that_is_over_first_keeps_its_value(bench):
    record = bench.begin(double, range(2))
    bench.step()

    skip(bench, record, 1)
    skip(bench, record, 1)
    bench.run(record)
    skip(bench, record, 0)

    assert record.results == [0, 2]
    assert bench.backend.interrupted == ["worker 1"]


def test_an_item_that_has_not_begun_is_taken_out_of_its_chunk(bench):
    record = bench.begin(double, range(6), chunksize=3)
    bench.step()

    skip(bench, record, 2)

    assert bench.backend.interrupted == []
    assert [message for to, message in bench.backend.sent if isinstance(message, Cut)]
    bench.backend.answer("worker 0", 1)
    bench.run(record)
    assert str(record.failures[0].exception) == "it was skipped before it began"
    assert record.results[:2] == [0, 2]


def test_an_item_that_waits_for_another_attempt_is_let_go_at_once(bench):
    record = bench.begin(fail, range(2), retry=Retry(3, first=100.0))
    bench.step()
    bench.backend.answer_all()
    bench.step()
    assert not record.over

    skip(bench, record, 1)

    assert record.over
    assert record.failures[0].skipped


def test_a_worker_that_does_not_react_is_killed_and_the_rest_of_its_work_done_elsewhere(bench):
    record = bench.begin(double, range(3))
    bench.step()

    skip(bench, record, 0)
    for seconds in (INTERRUPT_AGAIN, KILL_AFTER):
        bench.clock.advance(seconds)
        bench.step()

    assert bench.backend.killed == ["worker 0"]
    assert bench.backend.interrupted == ["worker 0"] * 2
    bench.backend.answer_all()
    bench.run(record)
    assert record.error is None
    assert [failure.index for failure in record.failures] == [0]
    assert record.failures[0].skipped


def test_a_worker_that_can_not_be_stopped_at_all_is_left_behind_with_its_item(bench, monkeypatch):
    bench.backend.interruptible = False
    monkeypatch.setattr(bench.backend, "kill", lambda worker, reason: False)
    record = bench.begin(double, range(3))
    bench.step()

    skip(bench, record, 0)
    bench.backend.answer("worker 1")
    bench.step()
    bench.clock.advance(KILL_AFTER)
    bench.step()
    bench.backend.answer("worker 1")
    bench.step()

    assert record.over
    assert str(record.failures[0].exception).startswith("it was skipped after 800 ms; worker 0 is still busy")
    later = bench.begin(double, range(2))
    bench.step()
    bench.backend.answer_all()
    bench.run(later)
    assert later.results == [0, 2]


def test_the_call_of_a_single_item_that_waits_on_its_worker_is_called_off(make_bench):
    bench = make_bench(workers=1)
    record = bench.begin(double, range(40), chunksize=1)
    bench.step()
    bench.backend.answer("worker 0", seconds=1e-5)
    bench.step()
    runs, *_, waits = bench.backend.items("worker 0")
    assert runs == 1 < waits

    skip(bench, record, waits)

    assert any(isinstance(message, Cancel) for _, message in bench.backend.sent)
    assert bench.backend.interrupted == []
    bench.run(record)
    assert [failure.index for failure in record.failures] == [waits]


def test_a_run_that_is_over_has_nothing_to_skip(bench):
    record = bench.begin(double, range(2))
    bench.run(record)

    skip(bench, record, 0)

    assert record.results == [0, 2]


def test_a_skipped_item_that_cannot_be_handled_ends_its_run_alone(bench, monkeypatch):
    record, other = bench.begin(double, range(4)), bench.begin(double, range(2))
    monkeypatch.setattr(record, "deliver", lambda parts: 1 / 0)

    skip(bench, record, 3)
    bench.run(record, other)

    assert isinstance(record.error, InternalError)
    assert other.results == [0, 2]
