"""Items of async functions, on every kind of worker."""

from __future__ import annotations

import asyncio
import decimal
import functools
import logging
import os
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

import nbpar
from nbpar import Failure, ItemTimeoutError

FOR_EVER = 300.0


async def double(x):
    await asyncio.sleep(0)
    return x * 2


async def add(a, b=10):
    await asyncio.sleep(0)
    return a + b


class Adder:
    async def __call__(self, x):
        return await add(x, 1)

    async def method(self, x):
        return await add(x, 2)


def decorated(function):
    @functools.wraps(function)
    async def wrapper(*args):
        return await function(*args) + 1

    return wrapper


# ---- every call takes them


def test_a_map_has_their_results_in_order(pool):
    assert pool.map(double, range(300)) == [2 * x for x in range(300)]
    assert pool.map(add, range(3), [5, 6, 7]) == [5, 7, 9]
    assert pool.starmap(add, [(1, 2), {"a": 1}]) == [3, 11]
    assert pool.map(double, []) == []


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (functools.partial(add, 1), [1, 2]),
        (functools.partial(functools.partial(add), b=3), [3, 4]),
        (Adder(), [1, 2]),
        (Adder().method, [2, 3]),
        (functools.partial(Adder()), [1, 2]),
        (decorated(double), [1, 3]),
    ],
    ids=["partial", "partial of a partial", "object", "method", "partial of an object", "decorated"],
)
def test_whatever_is_async_is_seen_to_be(pool, function, wanted):
    assert pool.map(function, range(2)) == wanted


def test_a_function_that_returns_a_coroutine_is_awaited_when_concurrency_is_given(pool):
    assert pool.map(lambda x: add(x, 1), range(3), concurrency=2) == [1, 2, 3]


def test_an_ordinary_function_with_concurrency_is_refused_with_a_remedy(pool):
    with pytest.raises(TypeError, match=r"cannot be awaited, although concurrency= was given.*to_thread"):
        pool.map(abs, [1], concurrency=2)


def test_an_asynchronous_generator_is_refused_with_a_remedy(pool):
    async def numbers(x):
        yield x

    with pytest.raises(TypeError, match=r"`numbers` is an asynchronous generator.*`return` it"):
        pool.map(numbers, range(3))


def test_streams_runs_calls_and_queues_take_them(pool):
    assert list(pool.imap(double, range(250))) == [2 * x for x in range(250)]
    assert sorted(pool.imap_unordered(double, range(250))) == [2 * x for x in range(250)]
    assert pool.map_async(double, range(5)).get() == [0, 2, 4, 6, 8]
    assert pool.submit(add, 1, b=2).result() == 3
    assert pool.each(double, 4)[0] == 8
    with pool.queue(double) as queue:
        for x in range(5):
            queue.put(x)
        assert sorted(queue.get() for _ in range(5)) == [0, 2, 4, 6, 8]
    with pool.executor() as executor:
        assert list(executor.map(double, range(3))) == [0, 2, 4]
        assert executor.submit(double, 4).result() == 8


def test_an_endless_input_is_read_only_as_far_as_needed(pool):
    read = []

    def numbers():
        for x in iter(int, 1):
            read.append(x)
            yield len(read)

    values = pool.imap(double, numbers(), buffersize=20)

    assert [next(values) for _ in range(50)] == [2 * x for x in range(1, 51)]
    assert len(read) <= 50 + 20
    values.close()


# ---- at once


@pytest.mark.parametrize("concurrency", [1, 7])
def test_up_to_concurrency_items_are_under_way_at_once_on_each_worker(make_pool, concurrency):
    async def most_at_once(x, here=[0, 0]):  # noqa: B006 (what the items of a worker share)
        here[0] += 1
        here[1] = max(here)
        await asyncio.sleep(0.01)
        here[0] -= 1
        return here[1]

    assert max(make_pool(1).map(most_at_once, range(60), concurrency=concurrency)) == concurrency


def test_items_of_a_worker_wait_for_each_other(make_pool):
    async def meet(x, met=[]):  # noqa: B006 (likewise)
        met.append(x)
        while len(met) < 40:
            await asyncio.sleep(0.001)
        return x

    assert make_pool(1).map(meet, range(40)) == list(range(40))


def test_two_runs_at_once_share_the_workers(busy_pool):
    async def slowly(x):
        await asyncio.sleep(0.02)
        return x

    first = busy_pool.map_async(slowly, range(200))
    second = busy_pool.map_async(double, range(200))
    plain = busy_pool.map_async(abs, range(200))

    assert plain.get() == list(range(200))
    assert second.get() == [2 * x for x in range(200)]
    assert first.get() == list(range(200))


def test_ordinary_items_are_run_between_those_that_wait(busy_pool, gate):
    async def until(x, folder=gate.folder):
        while not os.path.exists(os.path.join(folder, "open")):  # noqa: PTH110, PTH118
            await asyncio.sleep(0.01)
        return x

    waiting = busy_pool.map_async(until, range(50))
    assert busy_pool.map(abs, range(100)) == list(range(100))
    assert not waiting.done
    gate.open()
    (open(os.path.join(gate.folder, "open"), "w")).close()  # noqa: PTH118, PTH123

    assert waiting.get() == list(range(50))


# ---- failures


async def picky(x):
    await asyncio.sleep(0)
    if x % 3 == 2:
        raise ValueError(f"{x} will not do")
    return x


def test_a_failure_names_its_item_and_shows_its_own_frames(pool):
    with pytest.raises(ValueError, match="2 will not do") as caught:
        pool.map(picky, range(3))

    notes = "\n".join(getattr(caught.value, "__notes__", [])) + str(caught.value.__cause__ or "")
    assert "item 2, 2, failed " in notes
    [failure] = nbpar.last_run.failures
    assert "picky" in failure.traceback
    assert "nbpar/worker" not in failure.traceback
    with pytest.raises(ValueError, match="2 will not do"):
        failure.replay()


def test_failures_are_collected_skipped_and_retried(pool):
    async def works_the_second_time(x, tried={}):  # noqa: B006 (likewise)
        tried[x] = tried.get(x, 0) + 1
        if x == 1 and tried[x] < 2:
            raise ValueError(x)
        return x

    collected = pool.map(picky, range(4), errors="collect")
    assert [type(value) for value in collected] == [int, int, Failure, int]
    assert pool.map(picky, range(7), errors="skip") == [0, 1, 3, 4, 6]
    assert pool.map(works_the_second_time, range(3), retries=5) == [0, 1, 2]


async def odd(x):
    await asyncio.sleep(0)
    if x == 1:
        raise KeyboardInterrupt
    if x == 2:
        sys.exit(3)
    if x == 3:
        raise GeneratorExit
    if x == 4:
        asyncio.current_task().cancel()
        await asyncio.sleep(0)
    if x == 5:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0)
    if x == 6:
        asyncio.get_running_loop().close()
    if x == 7:
        raise asyncio.CancelledError
    if x == 8:
        coroutine = double(3)
        try:
            asyncio.run(coroutine)
        finally:
            coroutine.close()
    if x == 9:
        raise StopAsyncIteration
    return x


def test_an_odd_item_fails_alone(pool):
    values = pool.map(odd, range(11), errors="collect")

    failed = {
        x: type(value.exception).__name__ for x, value in enumerate(values) if isinstance(value, Failure)
    }
    exited = "ItemExitedError"
    assert failed == {
        1: exited, 2: exited, 3: exited, 4: exited, 6: "RuntimeError", 7: exited, 8: "RuntimeError",
        9: "StopAsyncIteration",
    }  # fmt: skip
    assert (values[0], values[5], values[10]) == (0, 5, 10)


def test_values_that_cannot_be_sent_fail_alone(kind, pool):
    if not kind.own_process:
        pytest.skip("nothing is sent")

    async def lock(x):
        await asyncio.sleep(0)
        return threading.Lock() if x == 1 else x

    values = pool.map(lock, range(3), errors="collect")

    assert isinstance(values[1].exception, nbpar.PicklingError)
    assert (values[0], values[2]) == (0, 2)


# ---- time limits


async def stays(x):
    await asyncio.sleep(FOR_EVER if x == 2 else 0)
    return x


async def swallows(x):
    while x == 2:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            pass
    return x


async def swallows_everything(x):
    while x == 2:
        try:
            await asyncio.sleep(0.01)
        except BaseException:
            pass
    return x


async def blocks(x):
    if x == 2:
        time.sleep(FOR_EVER)
    await asyncio.sleep(0)
    return x


@pytest.mark.parametrize("function", [stays, swallows, blocks])
@pytest.mark.filterwarnings("ignore::nbpar.errors.BlockedLoopWarning")
def test_a_time_limit_ends_one_item_alone(kind, pool, function):
    if function is blocks and not (kind.stops_items or kind.options["backend"] == "serial"):
        pytest.skip("Python cannot stop a thread")

    values = pool.map(function, range(6), timeout=0.3, errors="collect")

    assert [x for x, value in enumerate(values) if isinstance(value, Failure)] == [2]
    assert isinstance(values[2].exception, ItemTimeoutError)
    assert [value for value in values if not isinstance(value, Failure)] == [0, 1, 3, 4, 5]
    assert pool.map(double, range(3)) == [0, 2, 4]


def test_an_item_that_cannot_be_ended_is_named_and_the_others_go_on(make_pool):
    values = make_pool().map(swallows_everything, range(6), timeout=0.1, errors="collect")

    assert isinstance(values[2].exception, ItemTimeoutError)
    assert "did not end when it was canceled" in str(values[2].exception)
    assert [value for value in values if not isinstance(value, Failure)] == [0, 1, 3, 4, 5]


def test_an_item_that_blocks_the_loop_is_named(kind, make_pool):
    if kind.options["backend"] == "serial":
        pytest.skip("nothing watches the caller's own thread")

    async def computes(x):
        if x == 3:
            end = time.monotonic() + 1.0
            while time.monotonic() < end:
                pass
        await asyncio.sleep(1.0)

    with pytest.warns(
        nbpar.errors.BlockedLoopWarning, match=r"item 3 holds up .* `computes` computes.*to_thread"
    ):
        make_pool(1).map(computes, range(10))


# ---- stop


@pytest.mark.parametrize("function", [stays, swallows])
def test_stop_ends_all_that_wait_and_the_workers_go_on(busy_pool, function):
    run = busy_pool.map_async(function, [2] * 1000, concurrency=300)
    with pytest.raises(TimeoutError):
        run.wait(0.3)

    run.cancel()

    with pytest.raises(nbpar.StoppedError):
        run.get()
    assert busy_pool.map(double, range(3)) == [0, 2, 4]


def test_what_must_be_put_in_order_is_when_an_item_is_stopped(busy_pool, tmp_path, gate):
    async def tidy(x, folder=str(tmp_path), begun=str(gate.folder)):
        try:
            open(f"{begun}/{x}", "w").close()  # noqa: PTH123
            await asyncio.sleep(FOR_EVER)
        finally:
            await asyncio.sleep(0.01)
            open(f"{folder}/{x}", "w").close()  # noqa: PTH123

    def until(folder, count):
        end = time.monotonic() + 60
        while (found := sum(path.name.isdigit() for path in Path(folder).iterdir())) < count:
            assert time.monotonic() < end
            time.sleep(0.01)
        return found

    run = busy_pool.map_async(tidy, range(20))
    assert until(gate.folder, 20) == 20
    run.cancel()

    assert until(tmp_path, 20) == 20


def test_one_submitted_call_is_canceled_while_others_wait(busy_pool):
    first, second = busy_pool.submit(stays, 2), busy_pool.submit(double, 3)
    assert second.result() == 6

    assert first.cancel()

    assert first.cancelled()
    assert busy_pool.submit(double, 4).result() == 8


def test_leaving_a_stream_early_stops_the_rest(pool):
    values = pool.imap(stays, [0, 1, *[2] * 50])
    assert next(values) == 0
    values.close()

    assert pool.map(double, range(3)) == [0, 2, 4]


# ---- seeds, context, output


async def draw(x):
    await asyncio.sleep(0.001 * (x % 3))
    first = float(nbpar.rng().random())
    await asyncio.sleep(0)
    return first, float(nbpar.rng().random())


def test_numbers_depend_on_the_seed_and_the_item_alone(pool):
    wanted = pool.map(draw, range(10), seed=7)

    assert pool.map(draw, range(10), seed=7, concurrency=1) == wanted
    assert len(set(wanted)) == 10
    assert wanted[0][0] != wanted[0][1]


def test_a_seed_with_a_shared_generator_is_warned_of(pool):
    import random

    async def shared(x):
        return random.random()

    with pytest.warns(UserWarning, match="repeatable in async functions, whose items share"):
        pool.map(shared, range(2), seed=1)


def test_each_item_has_a_context_of_its_own(pool):
    async def sets(x):
        before = decimal.getcontext().prec
        decimal.setcontext(decimal.Context(prec=x))  # it is a context variable
        await asyncio.sleep(0.01)
        return before, decimal.getcontext().prec

    assert pool.map(sets, range(1, 20)) == [(28, x) for x in range(1, 20)]


def test_output_belongs_to_the_item_whose_coroutine_makes_it(pool, capsys):
    async def says(x):
        loop = asyncio.get_running_loop()
        print("begins", x)
        await asyncio.sleep(0.01)
        await asyncio.to_thread(print, "in a thread", x)
        await loop.run_in_executor(None, print, "in the executor", x)

        async def inner():
            await asyncio.sleep(0.005)
            print("in a subtask", x)

        await asyncio.gather(inner(), inner())
        logging.getLogger("some").warning("logged %d", x)
        warnings.warn(f"warned {x}", stacklevel=1)
        print("ends", x)

    with pytest.warns(UserWarning, match="warned"):
        pool.map(says, range(8))

    for x in range(8):
        text = nbpar.last_run.output.of(x)
        lines = [
            line
            for line in text.splitlines()
            if not line.startswith(("WARNING", "logged")) and "Warning" not in line
        ]
        for wanted in ("begins", "in a thread", "in the executor", "in a subtask", "ends"):
            assert f"{wanted} {x}" in lines
        assert all(line.endswith(str(x)) for line in lines if line.strip())


def test_output_is_shown_while_its_item_goes_on(busy_pool, gate):
    async def says(x, folder=str(gate.folder)):
        print("begins")
        while not os.path.exists(f"{folder}/go"):  # noqa: PTH110
            await asyncio.sleep(0.01)

    run = busy_pool.map_async(says, range(2))
    end = time.monotonic() + 60
    while "begins" not in str(run.output) and time.monotonic() < end:
        time.sleep(0.01)

    assert not run.done
    open(f"{gate.folder}/go", "w").close()  # noqa: PTH123
    run.wait()
    assert run.output.of(1) == "begins\n"


# ---- the rest of a run's life


async def kills(x):
    await asyncio.sleep(0.05)
    if x == 7:
        os._exit(3)
    await asyncio.sleep(0.05)
    return x


def test_a_killed_worker_costs_only_the_item_that_kills_it(kind, make_pool):
    if not kind.own_process:
        pytest.skip("it would end the test")

    values = make_pool().map(kills, range(20), errors="collect")

    assert [x for x, value in enumerate(values) if isinstance(value, Failure)] == [7]
    assert isinstance(values[7].exception, nbpar.WorkerDied)


def test_results_are_kept_and_only_the_missing_ones_are_computed(pool, tmp_path, monkeypatch):
    monkeypatch.setenv("NBPAR_JOURNALS", str(tmp_path / "journals"))

    seen = str(tmp_path / "seen")

    async def counts(x):
        with open(seen, "a") as file:  # noqa: PTH123
            file.write(f"{x}\n")
        if x == 5:
            raise ValueError("not yet")
        return x

    with pytest.raises(ValueError, match="not yet"):
        pool.map(counts, range(8), resume="waiting", concurrency=1)
    before = (tmp_path / "seen").read_text().split()

    values = pool.map(counts, range(8), resume="waiting", errors="skip", concurrency=1)

    assert values == [0, 1, 2, 3, 4, 6, 7]
    again = (tmp_path / "seen").read_text().split()[len(before) :]
    assert "0" not in again


def test_a_paused_run_begins_nothing(busy_pool, gate):
    async def waits(x):
        await asyncio.sleep(0.02)
        return x

    run = busy_pool.map_async(waits, range(500), concurrency=5)
    run.pause()
    with pytest.raises(TimeoutError):
        run.wait(3.0)
    run.resume()

    assert run.get() == list(range(500))


def test_tasks_left_behind_make_no_noise(kind, make_pool, capfd):
    async def leaves(x):
        async def stays_on():
            await asyncio.sleep(FOR_EVER)

        asyncio.get_running_loop().keep = [*getattr(asyncio.get_running_loop(), "keep", []),
                                           asyncio.ensure_future(stays_on())]  # fmt: skip
        return x

    pool = make_pool()
    assert pool.map(leaves, range(5)) == list(range(5))
    assert pool.map(abs, range(5)) == list(range(5))
    pool.close()

    out, error = capfd.readouterr()
    assert "destroyed" not in out + error
    assert "never" not in out + error


def test_inside_a_running_event_loop_everything_works(pool):
    async def main():
        return pool.map(double, range(5))

    async def later():
        return await pool.map_async(double, range(5))

    assert asyncio.run(main()) == [0, 2, 4, 6, 8]
    assert asyncio.run(later()) == [0, 2, 4, 6, 8]


def test_items_that_another_cancels_before_they_begin_have_failed(kind, make_pool):
    async def cancel_all(number):
        if number == 0:
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task():
                    task.cancel()
        await asyncio.sleep(0.01)
        return number

    pool = make_pool(1)
    results = pool.map(cancel_all, range(3), errors="collect")

    assert results[0] == 0
    assert all(isinstance(result, Failure) for result in results[1:])
    assert pool.map(double, range(3)) == [0, 2, 4]


def test_an_exception_that_leaves_the_event_loop_is_told_and_ends_no_item(pool):
    async def starts(n):
        async def leaves():
            raise SystemExit("left")

        task = asyncio.create_task(leaves())
        await asyncio.sleep(0.05)
        return task.done(), n

    with pytest.warns(nbpar.StrayExceptionWarning, match="left"):
        assert pool.map(starts, [7]) == [(True, 7)]
