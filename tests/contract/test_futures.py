"""Futures of single calls, as in the standard library, and nbpar's additions."""

from __future__ import annotations

import concurrent.futures as futures
import re
import threading

import pytest

from nbpar.testing import until

LIMIT = 60.0


def test_a_future_that_was_cancelled_says_so_in_every_way(busy_pool, gate):
    running = [busy_pool.submit(gate.wait) for _ in range(2)]
    gate.until_waiting(2)
    waiting = busy_pool.submit(abs, -1)

    assert waiting.cancel()
    assert waiting.cancel()

    assert waiting.cancelled()
    assert waiting.done()
    assert not waiting.running()
    assert "cancelled" in repr(waiting)
    with pytest.raises(futures.CancelledError):
        waiting.exception(LIMIT)
    with pytest.raises(futures.CancelledError):
        waiting.result(LIMIT)
    assert list(futures.as_completed([waiting], LIMIT)) == [waiting]
    gate.open()
    assert futures.wait(running, LIMIT).not_done == set()


def test_a_call_that_runs_can_be_cancelled_and_its_worker_goes_on(busy_pool, kind, gate):
    future = busy_pool.submit(gate.wait)
    gate.until_waiting()
    assert future.running()
    assert "running" in repr(future)

    assert future.cancel()

    with pytest.raises(futures.CancelledError):
        future.exception(LIMIT)
    if not kind.stops_items:
        gate.open()
    assert busy_pool.each(abs, -1) == [1, 1]


def test_a_future_that_is_done_cannot_be_cancelled(pool):
    future = pool.submit(abs, -1)
    future.result(LIMIT)

    assert not future.cancel()
    assert not future.cancelled()
    assert future.exception() is None


def test_each_call_gets_its_function_anew(pool, kind):
    seen = []

    def count():
        seen.append(1)
        return len(seen)

    counts = [future.result(LIMIT) for future in [pool.submit(count) for _ in range(6)]]

    assert counts == [1] * 6 if kind.own_process else [1, 2, 3, 4, 5, 6]


def test_each_of_many_short_calls_gets_its_function_anew(pool, kind):
    seen = []

    def count(n):
        seen.append(n)
        return n, len(seen)

    counts = [future.result(LIMIT) for future in [pool.submit(count, n) for n in range(500)]]

    assert [n for n, _ in counts] == list(range(500))
    if kind.own_process:
        assert {number for _, number in counts} == {1}


def test_each_call_has_what_its_function_had_captured_when_it_was_submitted(pool, kind):
    captured = []

    def look():
        return len(captured)

    calls = []
    for _ in range(4):
        calls.append(pool.submit(look))
        captured.append(1)

    seen = [call.result(LIMIT) for call in calls]
    if kind.own_process:
        assert seen == [0, 1, 2, 3]


def test_a_failure_names_the_call(pool):
    future = pool.submit(divmod, 1, 0)
    named = pool.submit(int, "x", base=3)

    assert "the call divmod(1, 0) failed" in "".join(future.exception(LIMIT).__notes__)
    assert "the call int('x', base=3) failed" in "".join(named.exception(LIMIT).__notes__)


def test_calls_that_follow_each_other_at_once_are_all_answered(pool):
    results = [pool.submit(abs, -n).result(LIMIT) for n in range(300)]

    assert results == list(range(300))


def test_calls_from_several_threads_are_all_answered(busy_pool):
    def work(n):
        return [busy_pool.submit(pow, n, 2).result(LIMIT) for _ in range(50)]

    with futures.ThreadPoolExecutor(4) as threads:
        assert list(threads.map(work, range(4))) == [[n * n] * 50 for n in range(4)]


def test_different_functions_may_be_outstanding_together(pool):
    functions = [lambda n, k=k: n + k for k in range(40)]

    calls = [pool.submit(functions[n % 40], n) for n in range(200)]

    assert [call.result(LIMIT) for call in calls] == [n + n % 40 for n in range(200)]


def test_a_call_does_not_wait_behind_a_long_one_while_a_worker_is_free(busy_pool, gate):
    for future in [busy_pool.submit(abs, -n) for n in range(200)]:
        future.result(LIMIT)  # short calls go ahead in great numbers

    long = busy_pool.submit(gate.wait)
    short = [busy_pool.submit(abs, -n) for n in range(200)]

    assert [future.result(LIMIT) for future in short] == list(range(200))
    assert not long.done()
    gate.open()
    assert long.result(LIMIT) is None


def test_calls_and_a_map_share_the_workers(busy_pool):
    over = threading.Event()

    def call():
        while not over.is_set():
            busy_pool.submit(abs, -1).result(LIMIT)

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    try:
        assert busy_pool.map(abs, range(-500, 0), chunksize=5) == list(range(500, 0, -1))
    finally:
        over.set()
        for caller in callers:
            caller.join(LIMIT)


def test_what_a_call_prints_is_shown_once_before_its_result_is_returned(pool, capfd):
    pool.submit(lambda: print("from a call")).result(30)

    assert capfd.readouterr().out.count("from a call\n") == 1


def test_what_a_call_prints_is_shown_also_when_nobody_asks_for_its_result(pool, capfd):
    shown = []
    future = pool.submit(lambda: print("from a call"))

    until(lambda: shown.append(capfd.readouterr().out) or "from a call\n" in "".join(shown))

    assert future.result(30) is None
    assert ("".join(shown) + capfd.readouterr().out).count("from a call\n") == 1


def test_what_many_short_calls_print_is_shown_once(pool, capfd):
    futures_ = [pool.submit(print, f"<{n}>") for n in range(300)]

    assert [future.result(LIMIT) for future in futures_] == [None] * 300
    numbers = re.findall(r"<(\d+)>", capfd.readouterr().out)
    assert sorted(map(int, numbers)) == list(range(300))


def test_the_failures_among_many_short_calls_are_theirs_alone(pool):
    calls = [pool.submit(divmod, 1, n % 50) for n in range(300)]

    for n, call in enumerate(calls):
        if n % 50:
            assert call.result(LIMIT) == divmod(1, n % 50)
        else:
            assert "the call divmod(1, 0) failed" in "".join(call.exception(LIMIT).__notes__)


def test_a_long_call_holds_up_none_of_the_short_ones_around_it(busy_pool, gate):
    def call(wait):
        if wait:
            gate.wait()

    for future in [busy_pool.submit(call, False) for _ in range(200)]:  # they are known to be short
        future.result(LIMIT)

    calls = [busy_pool.submit(call, n == 200) for n in range(400)]

    until(lambda: sum(future.done() for future in calls) == 399, LIMIT, "some wait behind it")
    assert not calls[200].done()
    gate.open()
    assert calls[200].result(LIMIT) is None


def test_a_long_call_among_short_ones_can_be_cancelled(busy_pool, gate, kind):
    def call(wait):
        if wait:
            gate.wait()
        return wait

    for future in [busy_pool.submit(call, False) for _ in range(200)]:
        future.result(LIMIT)
    calls = [busy_pool.submit(call, n == 200) for n in range(400)]
    gate.until_waiting()

    assert calls[200].cancel()
    if not kind.stops_items:
        gate.open()

    assert [future.result(LIMIT) for future in calls if not future.cancelled()] == [False] * 399
    assert busy_pool.each(abs, -1) == [1, 1]


def test_what_the_calls_of_an_executor_print_is_shown(pool, capfd):
    with pool.executor() as executor:
        assert list(executor.map(lambda item: print("from", item), range(3))) == [None] * 3

    out = capfd.readouterr().out
    assert [out.count(f"from {item}\n") for item in range(3)] == [1, 1, 1]
