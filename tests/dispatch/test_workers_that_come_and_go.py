"""Workers that die, leave, join late, or never join."""

from __future__ import annotations

import pytest

from nbpar.core import events
from nbpar.dispatch.driver import ANNOUNCE
from nbpar.dispatch.jobs import LOOK_FOR_OVERDUE
from nbpar.errors import ClusterError, ItemTimeoutError, NoWorkersError, WorkerDied
from nbpar.host.machine import machine
from nbpar.wire.messages import INITIALIZER, Call, Running


def double(x):
    return 2 * x


def test_what_a_dead_worker_had_is_done_by_another(bench):
    run = bench.begin(double, range(6))
    bench.step()

    bench.backend.lose("worker 0")
    bench.run(run)

    assert run.results == [0, 2, 4, 6, 8, 10]
    assert [event.worker for event in run.seen(events.WorkerLost)] == ["worker 0"]


def test_an_item_that_kills_two_workers_is_given_up_and_named(make_bench):
    bench = make_bench(1)
    run = bench.begin(double, ["deadly"], fail_fast=False)
    bench.step()
    bench.backend.lose("worker 0", "killed by SIGSEGV")
    bench.step()

    bench.backend.lose("worker 0", "killed by SIGSEGV")
    bench.run(run)

    [failure] = run.failures
    assert isinstance(failure.exception, WorkerDied)
    assert failure.exception.item == "deadly"
    assert "SIGSEGV" in str(failure.exception)


def test_the_last_item_of_a_chunk_is_blamed_when_the_others_were_answered(make_bench):
    bench = make_bench(1)
    run = bench.begin(double, range(3), chunksize=3, fail_fast=False)
    bench.step()
    bench.backend.answer("worker 0", 2, final=False)
    bench.backend.lose("worker 0")
    bench.step()

    bench.backend.lose("worker 0")
    bench.run(run)

    assert [failure.index for failure in run.failures] == [2]
    assert run.results[:2] == [0, 2]


def test_a_worker_whose_answer_was_not_read_for_long_is_not_overdue(make_bench):
    bench = make_bench(1)
    run = bench.begin(double, range(4), chunksize=2, timeout=1.0)
    bench.step()
    for _ in range(2):  # as when this machine was asleep, or this process stopped
        bench.backend.say("worker 0", Running(bench.backend.calls("worker 0")[0].id, now=True))
        bench.step()
        bench.clock.advance(60.0)
        bench.backend.answer("worker 0", 1, final=False)
        bench.step()
        bench.clock.advance(2 * LOOK_FOR_OVERDUE)
        bench.backend.answer("worker 0")
        bench.step()

    assert bench.backend.killed == []
    assert run.results == [0, 2, 4, 6]


def test_a_worker_that_is_killed_for_an_overdue_item_ends_no_run_without_a_time_limit(make_bench):
    bench = make_bench(1)
    slow = bench.begin(double, ["stuck"], timeout=1.0, fail_fast=False)
    bench.step()
    bench.clock.advance(5.0)  # the worker loads the function
    bench.step()
    assert bench.backend.killed == []
    bench.backend.say("worker 0", Running(bench.backend.calls("worker 0")[0].id, now=True))
    bench.step()
    everywhere = bench.begin(double, [], everywhere=((1,), {}), fail_fast=False)
    plain = bench.begin(double, ["plain"], fail_fast=False)
    bench.step()

    bench.clock.advance(2.5)
    bench.step()
    assert bench.backend.killed == []  # its answer may have come, and is not read yet
    bench.clock.advance(2 * LOOK_FOR_OVERDUE)
    bench.step()
    bench.run(slow, everywhere, plain)

    assert bench.backend.killed == ["worker 0"]
    assert [type(failure.exception) for failure in slow.failures] == [ItemTimeoutError]
    [failure] = everywhere.failures
    assert isinstance(failure.exception, WorkerDied)
    assert "worker 0 was gone before it had answered (killed because its item did not stop" in str(
        failure.exception
    )
    assert plain.results == ["plainplain"]


def test_an_item_given_up_is_counted_as_done_and_failed(make_bench):
    bench = make_bench(1)
    run = bench.begin(double, ["deadly"], fail_fast=False)
    bench.step()
    for _ in range(2):
        bench.backend.lose("worker 0")
        bench.step()

    [done] = run.seen(events.ItemsDone)

    assert (done.count, done.failed, done.retried) == (1, 1, 0)


def test_a_worker_that_leaves_in_peace_costs_its_items_nothing(make_bench):
    bench = make_bench(1)
    run = bench.begin(double, [3], fail_fast=False)
    for _ in range(5):
        bench.step()
        bench.backend.leave("worker 0")

    bench.run(run)

    assert run.results == [6]


def test_a_worker_that_comes_late_takes_part(make_bench):
    bench = make_bench(1)
    run = bench.begin(double, range(10))
    bench.step()

    bench.backend.come("late")
    bench.run(run)

    assert "late" in {to for to, message in bench.backend.sent if isinstance(message, Call)}
    assert [event.worker for event in run.seen(events.WorkerJoined)] == ["worker 0", "late"]


def test_without_any_worker_a_run_ends_with_the_reasons_after_a_while(make_bench):
    bench = make_bench(1)
    run = bench.begin(double, range(3))
    bench.step()
    bench.backend.expected.clear()
    bench.backend.lose("worker 0", "killed by SIGKILL")
    bench.step()
    bench.clock.advance(2.9)
    bench.step()
    assert not run.over

    bench.clock.advance(0.2)
    bench.step()

    with pytest.raises(NoWorkersError, match=r"no worker is left \(worker 0: killed by SIGKILL\)"):
        raise run.error


def test_a_moment_in_which_everything_stood_still_is_no_reason_to_give_up(make_bench):
    bench = make_bench(1)
    run = bench.begin(double, [1, 2])
    bench.step()
    bench.backend.expected.clear()
    bench.backend.lose("worker 0", "killed by SIGKILL")

    bench.clock.advance(60.0)  # so a replacement of the worker had no time either
    bench.step(3)
    assert not run.over

    bench.backend.come("worker 0")
    bench.run(run)
    assert run.results == [2, 4]


def test_when_none_ever_came_the_error_says_so(make_bench):
    bench = make_bench(2, comes=False)
    run = bench.begin(double, range(3))
    bench.step()

    bench.clock.advance(3.0)
    bench.step()

    with pytest.raises(NoWorkersError, match="none ever came"):
        raise run.error


def test_a_run_waits_for_workers_that_have_something_else_to_do_first(make_bench):
    bench = make_bench(1, comes=False)
    bench.backend.on_the_way = ["worker 0"]
    run = bench.begin(double, [1])
    bench.step()
    bench.clock.advance(50.0)
    bench.step()
    assert not run.over

    bench.backend.on_the_way = []  # the backend does not believe in it any more
    bench.step()
    bench.clock.advance(3.0)
    bench.step()

    with pytest.raises(NoWorkersError, match="none ever came; something else may run on worker 0"):
        raise run.error


def test_a_run_waits_as_long_as_workers_are_on_their_way(make_bench):
    bench = make_bench(1, comes=False)
    bench.expected = True
    run = bench.begin(double, [1])
    bench.step()
    bench.clock.advance(60.0)
    bench.step()
    assert not run.over

    bench.backend.come("worker 0")
    bench.run(run)

    assert run.results == [2]


def test_idle_workers_are_let_go_and_come_back_for_the_next_run(bench):
    bench.run(bench.begin(double, range(3)))
    bench.clock.advance(1.0)
    bench.step()
    assert bench.backend.workers == []
    assert bench.backend.timeouts[-1] is None

    run = bench.begin(double, range(3))
    bench.run(run)

    assert run.results == [0, 2, 4]


def test_nobody_spins_while_a_worker_that_was_let_go_takes_its_time(make_bench, monkeypatch):
    bench = make_bench(1)
    bench.run(bench.begin(double, [1]))
    monkeypatch.setattr(bench.backend, "release", lambda worker: None)

    bench.clock.advance(1.5)
    bench.step(3)

    assert bench.backend.timeouts[-1] is None


def test_a_worker_dies_before_it_gets_its_share_of_each(make_bench):
    bench = make_bench(2)
    busy = bench.begin(double, range(2))
    bench.step()
    run = bench.begin(lambda: "here", [], everywhere=((), {}), fail_fast=False)
    bench.step()

    bench.backend.lose("worker 0")
    bench.run(busy, run)

    assert run.results[1] == "here"
    assert isinstance(run.failures[0].exception, WorkerDied)
    assert "twice" not in str(run.failures[0].exception)


def test_the_initializer_runs_on_every_worker_before_anything_else(make_bench):
    begun = []
    bench = make_bench(2, initializer=lambda: begun.append("initializer"))
    run = bench.begin(begun.append, range(4))

    bench.run(run)

    assert begun[:2] == ["initializer"] * 2
    assert sorted(begun[2:]) == [0, 1, 2, 3]


def test_a_worker_elsewhere_gets_its_files_before_the_initializer_and_items(make_bench):
    asked = []
    bench = make_bench(1, initializer=lambda: None, bring_files=lambda: asked.append(1), comes=False)
    run = bench.begin(double, range(2))
    bench.backend.come("worker 0", machine="another")
    bench.step()
    assert asked == [1]
    assert bench.dispatcher.without_files == ["worker 0"]
    assert not bench.backend.calls("worker 0")

    bench.dispatcher.files_came(["worker 0"])
    bench.step()
    assert [call.run for call in bench.backend.calls("worker 0")] == [INITIALIZER]
    bench.run(run)

    assert run.results == [0, 2]
    bench.backend.leave("worker 0")
    bench.step()
    bench.backend.come("worker 0", machine="another")
    bench.step()
    assert asked == [1]


def test_a_worker_here_has_the_files(make_bench):
    bench = make_bench(1, bring_files=lambda: pytest.fail("it has them"), comes=False)
    run = bench.begin(double, range(2))
    bench.backend.come("worker 0", machine=machine())

    bench.run(run)

    assert run.results == [0, 2]


def test_files_that_no_worker_can_take_end_the_runs_and_otherwise_its_worker_waits(make_bench):
    bench = make_bench(2, bring_files=lambda: None, comes=False)
    run = bench.begin(double, range(2))
    bench.backend.come("worker 0", machine="another")
    bench.step()
    bench.dispatcher.files_refused(ClusterError("disk full"))
    bench.step()
    assert str(run.error) == "disk full"

    again = bench.begin(double, range(2))
    bench.backend.come("worker 1", machine=machine())
    bench.step()
    bench.dispatcher.files_refused(ClusterError("disk full"))
    bench.run(again)

    assert again.results == [0, 2]
    assert bench.dispatcher.without_files == ["worker 0"]


def test_a_stop_does_not_interrupt_a_worker_that_waits_for_files(make_bench):
    bench = make_bench(1, initializer=lambda: None, bring_files=lambda: None, comes=False)
    run = bench.begin(double, range(2))
    bench.backend.come("worker 0", machine="another")
    bench.step()

    bench.dispatcher.stop(run.job, None)
    bench.step()

    assert not bench.backend.interrupted


def test_an_initializer_that_fails_ends_the_run_with_its_error_every_time(make_bench):
    def broken():
        raise LookupError("no model there")

    bench = make_bench(2, initializer=broken)
    for _ in range(2):
        run = bench.begin(double, range(4))

        bench.run(run)

        assert isinstance(run.error, LookupError)
        assert run.results == []


def test_an_initializer_that_was_interrupted_runs_again(make_bench):
    begun = []
    bench = make_bench(1, initializer=lambda: begun.append("initializer"))
    run = bench.begin(double, [1])
    bench.step()

    bench.backend.answer("worker 0", 0)
    bench.run(run)

    assert run.results == [2]
    assert begun == ["initializer"]


def test_an_initializer_that_kills_its_workers_ends_the_run_with_its_name_and_their_deaths(make_bench):
    def load_model():
        """Never answered here: the workers die."""

    bench = make_bench(1, initializer=load_model)
    for _ in range(2):
        run = bench.begin(double, [1])
        for number in range(3):
            bench.step()
            assert not run.over
            bench.backend.lose("worker 0", f"exit code {number}")
        bench.step()

        with pytest.raises(
            WorkerDied, match=r"`load_model` killed its worker 3 times in a row \(worker 0: exit"
        ):
            raise run.error


def test_workers_that_died_long_before_the_initializer_worked_are_not_held_against_it(make_bench):
    bench = make_bench(1, initializer=int)
    run = bench.begin(double, [1])
    for _ in range(2):
        bench.step()
        bench.backend.lose("worker 0")
    bench.run(run)
    for _ in range(2):
        bench.backend.lose("worker 0")
        bench.step()
    again = bench.begin(double, [2])

    bench.run(again)

    assert (run.results, again.results) == ([2], [4])


def test_an_initializer_is_stopped_with_the_last_run_that_waits_for_it(make_bench):
    bench = make_bench(1, initializer=lambda: None)
    run, other = bench.begin(double, [1]), bench.begin(double, [2])
    bench.step()

    bench.dispatcher.stop(run.job, None)
    bench.step()
    assert bench.backend.interrupted == []
    bench.dispatcher.stop(other.job, None)
    bench.step()

    assert bench.backend.interrupted == ["worker 0"]


def test_runs_are_told_what_workers_wait_for_when_that_changes(make_bench):
    bench = make_bench(1)
    bench.awaited = "1 of 2 engines; job 5 is pending"
    first = bench.begin(abs, range(9))
    bench.step()
    second = bench.begin(abs, range(9))
    bench.step()

    bench.awaited = ""
    bench.clock.advance(ANNOUNCE + 1)
    bench.step()

    for run in (first, second):
        assert [event.words for event in run.seen(events.WorkersAwaited)] == [
            "1 of 2 engines; job 5 is pending",
            "",
        ]


def test_what_workers_waited_for_is_not_told_to_the_next_run(make_bench):
    bench = make_bench(1)
    bench.awaited = "1 of 2 engines; job 5 is pending"
    bench.run(bench.begin(abs, range(2)))
    bench.awaited = ""

    run = bench.begin(abs, range(2))
    bench.run(run)

    assert run.seen(events.WorkersAwaited) == []
