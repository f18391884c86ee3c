"""Runs and futures in progress, on every kind of worker."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading

import pytest

import nbpar
from nbpar import PoolClosedError
from nbpar.run.callbacks import callback_thread
from nbpar.testing import until


def test_a_run_gives_its_results_and_says_that_it_is_done(pool):
    run = pool.map_async(lambda x: x + 1, range(10))

    assert run.get(timeout=30) == list(range(1, 11))
    assert run.done
    assert run.state == "done"
    assert run.finished_indices == set(range(10))
    assert run.snapshot.done == run.snapshot.total == 10
    assert nbpar.last_run is run


def test_a_run_can_be_awaited_several_at_once(pool):
    async def both():
        return await asyncio.gather(*(pool.map_async(abs, [n]) for n in (-1, -2)))

    assert asyncio.run(both()) == [[1], [2]]


def test_a_run_that_fails_raises_for_whoever_asks(pool):
    def fail(x):
        raise ValueError(f"{x} fails")

    run = pool.map_async(fail, [1])

    for _ in range(2):
        with pytest.raises(ValueError, match="1 fails"):
            run.get(timeout=30)
    assert run.state == "failed"


def test_a_slow_first_item_does_not_keep_the_others_from_finishing(busy_pool, gate):
    run = busy_pool.map_async(lambda i: gate.wait() if i == 0 else i, range(4), chunksize=1)
    gate.until_waiting()
    while len(run.finished_indices) < 3:
        with pytest.raises(TimeoutError, match="is still running after"):
            run.wait(0.01)

    assert run.finished_indices == {1, 2, 3}
    assert run.results() == [1, 2, 3]
    assert not run.done

    gate.open()
    assert run.get(timeout=30) == [None, 1, 2, 3]


def test_results_of_one_chunk_come_one_by_one_while_it_runs(busy_pool, gate):
    run = busy_pool.map_async(lambda i: gate.wait() if i == 3 else i, range(4), chunksize=4)
    gate.until_waiting()

    gate.open()

    assert run.get(timeout=30) == [0, 1, 2, None]


def test_a_cancelled_run_keeps_what_is_done_and_frees_the_pool(busy_pool, gate):
    run = busy_pool.map_async(lambda i: gate.wait() if i >= 2 else i, range(100), chunksize=1)
    gate.until_waiting(2)

    run.cancel()
    run.cancel()

    with pytest.raises(KeyboardInterrupt, match="was stopped"):
        run.get(timeout=30)
    assert run.state == "stopped"
    assert run.results()[:2] == [0, 1]
    assert len(run.results()) < 100
    gate.open()
    assert busy_pool.map(abs, [-1, -2, -3]) == [1, 2, 3]


def test_only_a_run_that_is_remembered_says_where_its_results_are(busy_pool, gate):
    run = busy_pool.map_async(lambda _: gate.wait(), [0])
    other = busy_pool.launcher.everywhere(gate.wait, ()).begin()
    for stopped in (run, other):
        stopped.cancel()

    with pytest.raises(KeyboardInterrupt, match=r"in nbpar\.last_run\.results\(\)$"):
        run.get(timeout=30)
    with pytest.raises(KeyboardInterrupt, match=r"was stopped$"):
        other.get(timeout=30)
    gate.open()


def test_a_stopped_item_does_not_keep_the_next_run_from_its_results(busy_pool, gate, kind):
    if not kind.stops_items:
        pytest.skip("an item that runs cannot be stopped here")
    run = busy_pool.map_async(lambda _: gate.wait(), range(4), chunksize=1)
    gate.until_waiting(2)

    run.cancel()

    assert busy_pool.map(abs, [-1, -2, -3]) == [1, 2, 3]


def test_a_paused_run_begins_nothing_until_it_is_resumed(busy_pool, gate):
    run = busy_pool.map_async(lambda i: gate.wait() if i < 2 else i, range(30), chunksize=1)
    gate.until_waiting(2)

    run.pause()
    gate.open()
    with pytest.raises(TimeoutError, match="is still running after"):
        run.wait(0.3)
    assert run.snapshot.state == "paused"
    assert len(run.results()) < 30

    run.resume()
    assert run.get(timeout=30) == [None, None, *range(2, 30)]


def test_a_short_run_is_not_stuck_behind_a_long_one(busy_pool, gate):
    long = busy_pool.map_async(lambda i: gate.wait() if i == 0 else i, range(50), chunksize=1)
    gate.until_waiting()

    assert busy_pool.map(abs, [-1, -2]) == [1, 2]

    gate.open()
    assert len(long.get(timeout=30)) == 50


def test_callbacks_are_called_when_a_run_is_over(pool):
    called = []
    run = pool.map_async(abs, [1])
    run.add_done_callback(lambda run: called.append(run.state))
    run.get(timeout=30)

    run.add_done_callback(lambda run: called.append("late"))

    assert called[-1] == "late"


def test_a_callback_that_fails_harms_nobody_else(busy_pool, gate, caplog):
    run = busy_pool.map_async(lambda _: gate.wait(), [1])
    gate.until_waiting()
    run.add_done_callback(lambda run: 1 / 0)

    gate.open()

    assert run.get(timeout=30) == [None]
    assert busy_pool.map(abs, [-1]) == [1]
    callback_thread.wait()
    assert "a callback of the run <lambda> failed" in caplog.text


def test_a_slow_callback_holds_up_no_other_run(busy_pool, gate):
    answered = threading.Event()
    run = busy_pool.map_async(lambda _: gate.wait(), [1])
    future = busy_pool.submit(gate.wait)
    gate.until_waiting(2)
    late = []
    run.add_done_callback(lambda run: late.append(answered.wait(60)))
    future.add_done_callback(lambda done: late.append(answered.wait(60)))
    gate.open()

    assert busy_pool.map(abs, [-1]) == [1]
    assert busy_pool.submit(abs, -2).result(timeout=30) == 2
    assert late == []

    answered.set()
    until(lambda: late == [True, True], 30.0, "the callbacks were not called")


def test_submit_gives_a_standard_future(pool):
    futures = [pool.submit(pow, n, 2) for n in range(5)]
    failed = pool.submit(divmod, 1, 0)
    named = pool.submit(dict, a=1)

    _, pending = concurrent.futures.wait([*futures, failed, named], timeout=30)

    assert not pending
    assert [future.result() for future in futures] == [0, 1, 4, 9, 16]
    assert isinstance(failed.exception(), ZeroDivisionError)
    assert named.result() == {"a": 1}


def test_a_future_that_has_not_begun_can_be_cancelled(busy_pool, gate):
    running = [busy_pool.submit(gate.wait) for _ in range(2)]
    gate.until_waiting(2)
    waiting = busy_pool.submit(abs, -1)

    assert waiting.cancel()

    with pytest.raises(concurrent.futures.CancelledError):
        waiting.result(timeout=30)
    assert waiting.cancelled()
    gate.open()
    assert [future.result(timeout=30) for future in running] == [None, None]
    assert not running[0].cancel()


def test_a_closed_pool_says_so_and_can_be_closed_again(make_pool):
    pool = make_pool()
    pool.map(abs, [1])

    pool.close()
    pool.close()

    assert pool.closed
    assert "closed" in repr(pool)
    with pytest.raises(PoolClosedError, match=r"the pool is closed; make a new one with nbpar.Pool\(...\)"):
        pool.map(abs, [1])


def test_closing_a_pool_ends_the_runs_that_are_under_way(make_pool, kind, gate):
    if not kind.concurrent:
        pytest.skip("items run in the test's own thread")
    pool = make_pool()
    run = pool.map_async(lambda i: gate.wait(), range(10), chunksize=1)
    gate.until_waiting()

    pool.close()

    with pytest.raises(PoolClosedError, match="closed before the run was over"):
        run.get(timeout=30)


def test_a_pool_tells_who_its_workers_are(pool, kind):
    pool.each(lambda: None)

    assert len(pool.workers) == kind.workers
    assert all({"worker", "host", "pid"} <= worker.keys() for worker in pool.workers)


def test_a_future_among_the_arguments_is_named_by_its_place(pool, kind):
    if not kind.own_process:
        pytest.skip("arguments are not sent anywhere")
    first = pool.submit(abs, -1)

    in_a_list, by_name = pool.submit(pow, 2, [first]), pool.submit(int, "3", base=first)

    with pytest.raises(nbpar.PicklingError, match=r"argument 2: `\[0\]` is a .*CallFuture.*its `result\(\)`"):
        in_a_list.result(30)
    with pytest.raises(nbpar.PicklingError, match=r"argument `base`: it is a .*CallFuture"):
        by_name.result(30)
