"""Stop also reaches a call that a worker begins just after the message."""

from __future__ import annotations

from nbpar.dispatch.failures import judged
from nbpar.errors import ItemExitedError, StoppedError
from nbpar.wire.faults import describe
from nbpar.wire.messages import NO_COSTS, Cancel, Done
from nbpar.wire.packed_items import PackedItems
from nbpar.wire.pickling import pack


def double(x):
    return 2 * x


def deaf_to_cancel(bench):
    """Drop `Cancel` messages: workers begin calls that they should not."""
    send = bench.backend.send
    bench.backend.send = lambda worker, messages: send(
        worker, [message for message in messages if not isinstance(message, Cancel)]
    )


def test_a_call_that_begins_while_it_is_stopped_is_interrupted_and_in_the_end_killed(make_bench):
    bench = make_bench(1)
    run = bench.begin(double, range(9))
    bench.step()
    bench.backend.answer("worker 0")
    bench.step()
    assert len(bench.backend.calls("worker 0")) > 1
    deaf_to_cancel(bench)

    bench.dispatcher.stop(run.job, StoppedError("stopped"))
    bench.step()
    bench.backend.answer("worker 0")  # it was over when the interrupt came, and the next one begins
    bench.step()
    bench.clock.advance(0.1)
    bench.step()
    assert bench.backend.interrupted == ["worker 0"] * 2

    bench.clock.advance(1.0)
    bench.step()
    assert bench.backend.killed == ["worker 0"]


def test_a_worker_is_not_killed_while_large_data_goes_to_it_or_comes(make_bench):
    bench = make_bench(1)
    run = bench.begin(double, range(9))
    bench.step()
    bench.dispatcher.stop(run.job, StoppedError("stopped"))
    bench.step()

    for moved in [(3000, 0), (2000, 0), (0, 900), (0, 100)]:
        bench.backend.transit["worker 0"] = moved
        bench.clock.advance(3.0)
        bench.step()
    assert bench.backend.killed == []

    bench.clock.advance(3.0)
    bench.step()
    assert bench.backend.killed == ["worker 0"]


def test_a_worker_is_not_killed_just_after_the_last_of_large_data_has_left_for_it(make_bench):
    bench = make_bench(1)
    run = bench.begin(double, range(9))
    bench.step()
    bench.dispatcher.stop(run.job, StoppedError("stopped"))
    bench.step()
    bench.backend.transit["worker 0"] = (3000, 0)
    bench.clock.advance(0.7)
    bench.step()
    bench.backend.transit["worker 0"] = (0, 0)
    bench.step()

    bench.clock.advance(0.8)
    bench.step()
    assert bench.backend.killed == []

    bench.clock.advance(3.0)
    bench.step()
    assert bench.backend.killed == ["worker 0"]


def test_a_worker_elsewhere_gets_more_time(make_bench):
    bench = make_bench(1)
    run = bench.begin(double, range(9))
    bench.backend.come("worker 0", machine="another")
    bench.step()
    bench.dispatcher.stop(run.job, StoppedError("stopped"))
    bench.step()

    bench.clock.advance(2.0)
    bench.step()
    assert bench.backend.killed == []

    bench.clock.advance(2.0)
    bench.step()
    assert bench.backend.killed == ["worker 0"]


def interrupted(bench, worker, values=()):
    """Let a worker report that an item was interrupted, and failed because of that."""
    call = bench.backend.calls(worker)[0]
    fault = describe(ItemExitedError("interrupted"), here=True)
    bench.backend._here[worker].calls.popleft()
    bench.backend.say(worker, Done(
        call.id, call.first, True, True, 0.0, (), 0, {len(values): fault}, NO_COSTS, 0, values
    ))  # fmt: skip


def test_an_item_that_is_interrupted_from_nowhere_has_failed_and_the_rest_goes_on(make_bench):
    bench = make_bench(1)
    run = bench.begin(double, range(4), chunksize=4, fail_fast=False)
    bench.step()

    interrupted(bench, "worker 0", [0])
    bench.run(run)

    assert [value for value in run.results if isinstance(value, int)] == [0, 4, 6]
    assert [failure.index for failure in run.failures] == [1]


def test_an_interrupt_that_strikes_the_next_runs_item_costs_it_nothing(make_bench):
    bench = make_bench(1)
    first = bench.begin(double, range(1))
    bench.step()
    bench.dispatcher.stop(first.job, StoppedError("stopped"))
    bench.step()
    assert bench.backend.interrupted == ["worker 0"]
    bench.backend.answer("worker 0")  # it was over when the interrupt came
    second = bench.begin(double, range(4), chunksize=4, fail_fast=False)
    bench.step()

    interrupted(bench, "worker 0", [0])
    bench.step()
    interrupted(bench, "worker 0")  # there was one interrupt, which has had its effect
    bench.run(second)

    assert [value for value in second.results if isinstance(value, int)] == [0, 4, 6]


def test_outcomes_that_stay_bytes_get_the_failure_of_an_interrupted_item():
    values = PackedItems(pack([object])[0])
    fault = describe(ItemExitedError("interrupted"), here=True)
    done = Done(1, 0, True, True, 0.0, (), 0, {1: fault}, NO_COSTS, 0, values)

    assert list(judged(done, stopped=False).values) == [object, None]
    assert judged(done, stopped=True).faults == {}
