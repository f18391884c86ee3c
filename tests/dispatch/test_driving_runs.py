"""Runs on workers controlled by the test: the messages sent to each, and the results."""

from __future__ import annotations

import pytest

from nbpar.core import events
from nbpar.core.rates.retry import Retry
from nbpar.errors import StoppedError
from nbpar.wire.messages import Call, Cancel


def double(x):
    return 2 * x


def other(x):
    return -x


def flaky(failures):
    left = dict(failures)

    def fn(x):
        left[x] = left.get(x, 0) - 1
        if left[x] >= 0:
            raise ValueError(f"{x} fails")
        return x

    return fn


def test_a_run_gives_every_item_its_value(bench):
    run = bench.begin(double, range(7))

    bench.run(run)

    assert run.results == [0, 2, 4, 6, 8, 10, 12]
    assert run.error is None


def test_an_empty_run_is_over_at_once(bench):
    run = bench.begin(double, [])

    bench.step(1)

    assert run.over
    assert run.results == []


def test_a_function_is_sent_once_to_each_worker(bench):
    runs = [bench.begin(double, range(10)), bench.begin(double, range(10))]

    bench.run(*runs)

    assert bench.loads("worker 0") == bench.loads("worker 1") == 1


def test_a_function_that_a_worker_has_forgotten_is_sent_again(bench):
    run = bench.begin(double, range(3))
    bench.step()
    bench.backend.forget("worker 0")

    bench.run(run)

    assert run.results == [0, 2, 4]
    assert bench.loads("worker 0") == 2
    assert bench.loads("worker 1") == 1


def test_a_call_that_a_worker_missed_while_its_run_was_stopped_does_not_stand_in_the_way(make_bench):
    bench = make_bench(1)
    stopped = bench.begin(double, range(3))
    bench.step()
    bench.backend.interruptible = False
    bench.dispatcher.stop(stopped.job, StoppedError("stopped"))
    bench.step()
    bench.backend.forget("worker 0")

    run = bench.begin(other, [1])
    bench.run(run)

    assert run.results == [-1]


def test_items_are_counted_as_they_are_answered_not_when_their_chunk_is(make_bench):
    bench = make_bench(1)
    run = bench.begin(double, range(4), chunksize=4)
    bench.step()

    bench.backend.answer("worker 0", 3, final=False)
    bench.step()

    assert [event.count for event in run.seen(events.ItemsDone)] == [3]
    assert run.results == [0, 2, 4]
    assert not run.over


def test_a_failure_ends_the_run_and_the_others_are_asked_back(make_bench):
    bench = make_bench(2)
    run = bench.begin(flaky({0: 1}), range(10), chunksize=2)
    bench.step()

    bench.backend.answer("worker 0")
    bench.step()
    bench.backend.answer_all()
    bench.step()

    assert isinstance(run.error, ValueError)
    assert any(isinstance(message, Cancel) for _, message in bench.backend.sent)
    assert bench.backend.interrupted == ["worker 1"]


def test_collected_failures_do_not_end_the_run_until_there_are_too_many(bench):
    few = bench.begin(flaky({1: 9, 2: 9}), range(6), fail_fast=False, max_errors=2)
    many = bench.begin(flaky({1: 9, 2: 9, 3: 9}), range(6), fail_fast=False, max_errors=2)

    bench.run(few, many)

    assert few.error is None
    assert [failure.index for failure in few.failures] == [1, 2]
    assert isinstance(many.error, ValueError)


def test_a_failed_item_is_tried_again_after_its_delay(make_bench):
    bench = make_bench(1)
    run = bench.begin(flaky({0: 1}), [0], retry=Retry(1, first=5.0))
    bench.step()
    bench.backend.answer("worker 0")
    bench.step()
    assert bench.backend.calls("worker 0") == []
    assert 0 < bench.backend.timeouts[-1] <= 0.25

    bench.clock.advance(5.0)
    bench.run(run)

    assert run.results == [0]
    assert run.seen(events.ItemsDone)[0].retried == 1


def test_nobody_wakes_before_a_retry_is_due_and_nobody_spins_when_it_is_overdue(make_bench):
    bench = make_bench(1)
    bench.begin(flaky({0: 1}), [0, 1], retry=Retry(1, first=0.1))
    bench.step()
    bench.backend.answer("worker 0", seconds=1.0)
    bench.step()
    assert bench.backend.timeouts[-1] == pytest.approx(0.1)

    bench.clock.advance(0.2)
    bench.step()

    assert bench.backend.items("worker 0") == [1]
    assert 0 < bench.backend.timeouts[-1] <= 0.25


def test_the_error_of_an_input_arrives_after_what_was_read_before_it(bench):
    from nbpar.core.source import DirectSource

    def items():
        yield 1
        yield 2
        raise OSError("the disk is gone")

    run = bench.begin(double, DirectSource(items()))

    bench.run(run)

    assert run.results == [2, 4]
    assert isinstance(run.error, OSError)


def test_output_is_told_by_item_and_only_to_its_own_run(make_bench):
    bench = make_bench(2)
    first, second = bench.begin(double, range(1)), bench.begin(other, range(1))
    bench.step()

    bench.backend.print("worker 0", "hello\n")
    bench.step()

    printed = [event.piece.text for run in (first, second) for event in run.seen(events.ItemPrinted)]
    assert printed == ["hello\n"]
    assert len(first.seen(events.ItemPrinted)) == 1


def test_a_stopped_run_keeps_what_is_done_and_interrupts_what_runs(make_bench):
    bench = make_bench(1)
    run = bench.begin(double, range(4), chunksize=2)
    bench.step()
    bench.backend.answer("worker 0")
    bench.step()

    bench.dispatcher.stop(run.job, StoppedError("stopped"))
    bench.step()
    bench.backend.answer("worker 0", 1)
    bench.step()

    assert isinstance(run.error, StoppedError)
    assert run.results[:2] == [0, 2]
    assert bench.backend.interrupted == ["worker 0"]


def test_a_stopped_run_does_not_wait_long_for_a_worker_that_does_not_answer(make_bench):
    bench = make_bench(1)
    run = bench.begin(double, range(4))
    bench.step()

    bench.dispatcher.stop(run.job, StoppedError("stopped"))
    bench.step()
    bench.clock.advance(0.2)
    bench.step()

    assert isinstance(run.error, StoppedError)


def test_an_interrupt_that_hits_another_run_costs_it_nothing(make_bench):
    bench = make_bench(1)
    stopped = bench.begin(double, range(1))
    bench.step()
    bench.dispatcher.stop(stopped.job, StoppedError("stopped"))
    bench.step()
    bench.backend.answer("worker 0", 0)
    other_run = bench.begin(other, range(4), chunksize=4)
    bench.step()

    bench.backend.answer("worker 0", 1)  # interrupted before the second item was through
    bench.run(other_run)

    assert other_run.results == [0, -1, -2, -3]


def test_a_paused_run_begins_nothing_and_goes_on_when_resumed(make_bench):
    bench = make_bench(1)
    run = bench.begin(double, range(3))
    bench.step()
    run.job.state.paused = True
    bench.backend.answer("worker 0")
    bench.step()
    assert bench.backend.calls("worker 0") == []

    run.job.state.paused = False
    bench.run(run)

    assert run.results == [0, 2, 4]


def test_each_waits_for_all_workers_and_gives_every_one_its_call(make_bench):
    bench = make_bench(3, comes=False)
    run = bench.begin(lambda: "here", None or [], everywhere=((), {}))
    bench.backend.come("worker 0")
    bench.step()
    bench.backend.come("worker 1")
    bench.step()
    assert bench.backend.calls("worker 0") == []

    bench.backend.come("worker 2")
    bench.run(run)

    assert run.results == ["here"] * 3
    assert {to for to, message in bench.backend.sent if isinstance(message, Call)} == {
        "worker 0", "worker 1", "worker 2"
    }  # fmt: skip


def test_each_does_not_wait_for_ever_for_workers_that_do_not_come(make_bench):
    bench = make_bench(3, comes=False)
    run = bench.begin(lambda: "here", [], everywhere=((), {}))
    bench.backend.come("worker 0")
    bench.step()

    bench.clock.advance(3.0)
    bench.run(run)

    assert run.results == ["here"]
