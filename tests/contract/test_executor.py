"""A pool as an executor: the requirements of the standard library's own tests."""

from __future__ import annotations

import asyncio
import concurrent.futures as futures
import gc
import itertools
import threading

import pytest

import nbpar


@pytest.fixture
def executor(pool):
    with pool.executor() as executor:
        yield executor


@pytest.fixture
def busy(busy_pool):
    with busy_pool.executor() as executor:
        yield executor


def fail(n):
    raise ValueError(f"no {n}")


# ---- submit


def test_it_is_an_executor(executor):
    assert isinstance(executor, futures.Executor)


def test_submit_gives_the_result_of_a_call(executor):
    assert executor.submit(pow, 2, 8).result() == 256


def test_submit_takes_keywords_of_any_name(executor):
    future = executor.submit(lambda **given: given, self=1, fn=2)

    assert future.result() == {"self": 1, "fn": 2}


def test_an_exception_comes_out_of_the_future(executor):
    future = executor.submit(fail, 3)

    with pytest.raises(ValueError, match="no 3"):
        future.result()
    assert isinstance(future.exception(), ValueError)


def test_a_callback_is_called_when_it_is_done(executor):
    seen = []

    future = executor.submit(pow, 2, 2)
    future.add_done_callback(lambda done: seen.append(done.result()))

    future.result()
    executor.shutdown()
    assert seen == [4]


def test_a_function_that_cannot_travel_fails_in_its_future(executor, kind):
    lock = threading.Lock()

    def locked():
        return lock.locked()

    future = executor.submit(locked)

    if kind.own_process:
        with pytest.raises(nbpar.PicklingError, match="`lock`"):
            future.result()
    else:
        assert future.result() is False


def test_futures_can_be_waited_for(executor):
    calls = [executor.submit(pow, 2, n) for n in range(5)]

    done, not_done = futures.wait(calls)

    assert done == set(calls)
    assert not not_done
    assert sorted(future.result() for future in futures.as_completed(calls)) == [1, 2, 4, 8, 16]


def test_the_first_that_is_ready_can_be_waited_for(busy, gate):
    slow, quick = busy.submit(gate.wait), busy.submit(pow, 2, 3)

    done, not_done = futures.wait([slow, quick], return_when=futures.FIRST_COMPLETED)

    assert done == {quick}
    assert not_done == {slow}
    gate.open()


def test_waiting_can_end_too_early(busy, gate):
    future = busy.submit(gate.wait)

    with pytest.raises(futures.TimeoutError):
        future.result(timeout=0.01)
    gate.open()


def test_what_waits_can_be_cancelled(busy, gate):
    running = [busy.submit(gate.wait) for _ in range(2)]
    gate.until_waiting(2)
    waiting = busy.submit(pow, 2, 3)

    assert waiting.cancel()

    assert waiting.cancelled()
    with pytest.raises(futures.CancelledError):
        waiting.result()
    gate.open()
    assert futures.wait(running).not_done == set()


def test_an_event_loop_can_use_it(executor):
    async def work():
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(executor, pow, 2, n) for n in range(4)]
        return await asyncio.gather(*calls)

    assert asyncio.run(work()) == [1, 2, 4, 8]


# ---- map


def test_map_yields_results_in_order(executor):
    assert list(executor.map(pow, range(10), range(10))) == list(map(pow, range(10), range(10)))


@pytest.mark.parametrize("chunksize", [1, 3, 100, "auto"])
def test_map_takes_chunks_of_any_size(executor, chunksize):
    assert list(executor.map(abs, range(-9, 0), chunksize=chunksize)) == list(range(9, 0, -1))


def test_map_refuses_chunks_of_nothing(executor):
    with pytest.raises(ValueError, match="chunksize must be at least 1, was -1"):
        executor.map(abs, [1], chunksize=-1)


def test_map_over_nothing_yields_nothing(executor):
    assert list(executor.map(abs, [])) == []


def test_map_raises_in_the_place_of_what_failed(executor):
    results = executor.map(divmod, [1, 1, 1, 1], [2, 3, 0, 5], chunksize=1)

    assert next(results) == (0, 1)
    assert next(results) == (0, 1)
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_map_reads_its_input_at_once_and_computes_without_being_asked(busy, tmp_path):
    source = iter(range(6))

    results = busy.map(lambda n: (tmp_path / str(n)).touch(), source)

    assert list(source) == []
    busy.shutdown()
    assert len(list(tmp_path.iterdir())) == 6
    assert list(results) == [None] * 6


def test_map_with_a_buffer_reads_no_further(executor):
    counter = itertools.count()

    results = executor.map(abs, counter, buffersize=3)

    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert next(counter) <= 5 + 3 + 1
    results.close()


def test_map_raises_when_time_is_over(busy, gate):
    results = busy.map(lambda n: n if n < 2 else gate.wait(), range(3), timeout=0.5, chunksize=1)

    got = []
    with pytest.raises(TimeoutError):
        got.extend(results)  # what came before is kept
    gate.open()
    assert got == [0, 1]


def test_results_that_are_ready_are_yielded_when_time_is_over(executor):
    results = executor.map(abs, range(5), timeout=60)
    first = next(results)

    assert [first, *results] == [0, 1, 2, 3, 4]


def test_a_map_that_is_left_is_stopped(busy, gate, tmp_path):
    def compute(n):
        (tmp_path / str(n)).touch()
        if n:
            gate.wait()
        return n

    results = busy.map(compute, range(20), chunksize=1)
    next(results)
    results.close()
    gate.open()

    busy.shutdown()
    assert len(list(tmp_path.iterdir())) < 20


# ---- life


def test_nothing_is_taken_after_shutdown_and_the_pool_goes_on(pool):
    executor = pool.executor()
    executor.shutdown()
    executor.shutdown()

    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(pow, 2, 5)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.map(abs, [1])
    assert pool.map(abs, [-1]) == [1]


def test_nothing_is_taken_after_the_pool_is_closed(make_pool):
    pool = make_pool()
    executor = pool.executor()
    pool.close()

    with pytest.raises(RuntimeError, match="the pool is closed"):
        executor.submit(pow, 2, 5)
    with pytest.raises(RuntimeError, match="the pool is closed"):
        executor.map(abs, [1])


def test_shutdown_waits_for_what_was_asked(busy_pool, gate):
    executor = busy_pool.executor()
    future = executor.submit(gate.wait)
    gate.until_waiting()
    threading.Timer(0.05, gate.open).start()

    executor.shutdown()

    assert future.done()


def test_shutdown_need_not_wait(busy_pool, gate):
    executor = busy_pool.executor()
    future = executor.submit(gate.wait)

    executor.shutdown(wait=False)

    assert not future.done()
    gate.open()
    assert future.result() is None


def test_shutdown_can_cancel_what_has_not_begun(busy_pool, gate):
    executor = busy_pool.executor()
    running = [executor.submit(gate.wait) for _ in range(2)]
    gate.until_waiting(2)
    waiting = [executor.submit(abs, n) for n in range(10)]

    executor.shutdown(wait=False, cancel_futures=True)
    gate.open()

    assert all(future.cancelled() for future in waiting)
    assert [future.result() for future in running] == [None, None]


def test_a_future_says_whether_it_runs(busy, gate):
    running = [busy.submit(gate.wait) for _ in range(2)]
    gate.until_waiting(2)
    waiting = busy.submit(abs, -1)

    assert [future.running() for future in running] == [True, True]
    assert not waiting.running()
    gate.open()
    assert waiting.result() == 1
    assert not waiting.running()


def test_futures_that_are_done_are_not_kept(executor):
    for _ in range(5):
        executor.submit(pow, 2, 2).result()
    gc.collect()

    executor.shutdown()
    assert not executor._work.futures


def test_it_tells_the_number_of_workers_as_the_standards_executors_do(pool):
    assert pool.executor()._max_workers == pool.size
