"""What an async initializer opens on each worker: entered once, shared by all items, left in one task."""

import asyncio
import contextlib
import time

import pytest

import nbpar


@contextlib.asynccontextmanager
async def session(folder, name="s"):
    import os
    import threading

    mine = asyncio.current_task()
    key = f"{os.getpid()}-{threading.get_ident()}"
    with open(f"{folder}/entered", "a") as file:  # noqa: PTH123
        file.write(f"{key}\n")
    try:
        yield {"name": name, "loop": id(asyncio.get_running_loop())}
    finally:
        await asyncio.sleep(0)
        same = asyncio.current_task() is mine
        with open(f"{folder}/left", "a") as file:  # noqa: PTH123
            file.write(f"{key} {same}\n")


async def uses(x):
    await asyncio.sleep(0)
    found = nbpar.initialized()
    return found["name"], found["loop"] == id(asyncio.get_running_loop()), x


def lines(folder, name):
    path = folder / name
    return path.read_text().splitlines() if path.exists() else []


def test_a_context_manager_is_entered_and_left_in_one_task_on_each_worker(make_pool, tmp_path):
    pool = make_pool(initializer=session, initargs=(str(tmp_path),))

    assert pool.map(uses, range(20)) == [("s", True, x) for x in range(20)]
    assert pool.map(uses, range(3)) == [("s", True, x) for x in range(3)]
    pool.close()

    entered = lines(tmp_path, "entered")
    assert len(set(entered)) == len(entered)
    end = time.monotonic() + 60
    while len(lines(tmp_path, "left")) < len(entered) and time.monotonic() < end:
        time.sleep(0.01)  # threads end by themselves
    assert sorted(lines(tmp_path, "left")) == sorted(f"{key} True" for key in entered)


def test_ordinary_items_and_threads_of_items_find_it_too(make_pool, tmp_path):
    async def asks(x):
        return await asyncio.to_thread(lambda: nbpar.initialized()["name"])

    pool = make_pool(initializer=session, initargs=(str(tmp_path), "mine"))

    assert pool.map(lambda x: nbpar.initialized()["name"], range(3)) == ["mine"] * 3
    assert pool.map(asks, range(3)) == ["mine"] * 3


def test_a_coroutine_function_prepares_a_worker(make_pool):
    async def prepare(value):
        await asyncio.sleep(0.001)
        return value

    pool = make_pool(initializer=prepare, initargs=("ready",))

    async def asks(x):
        return nbpar.initialized()

    assert pool.map(asks, range(5)) == ["ready"] * 5


def test_it_is_made_again_when_a_worker_is_entered_again(kind, make_pool, tmp_path):
    if not kind.own_process:
        pytest.skip("these workers stay")
    pool = make_pool(initializer=session, initargs=(str(tmp_path),))
    assert pool.map(uses, range(3)) == [("s", True, x) for x in range(3)]

    before = len(lines(tmp_path, "entered"))
    pool.restart()

    assert pool.map(uses, range(3)) == [("s", True, x) for x in range(3)]
    assert len(lines(tmp_path, "entered")) > before


def test_an_initializer_that_fails_ends_the_run_with_its_exception(make_pool):
    @contextlib.asynccontextmanager
    async def fails():
        raise ValueError("no server")
        yield

    pool = make_pool(initializer=fails)

    with pytest.raises(ValueError, match="no server"):
        pool.map(uses, range(3))


def test_without_one_the_error_says_what_to_do(pool):
    async def asks(x):
        return nbpar.initialized()

    with pytest.raises(LookupError, match=r"Pool\(initializer=...\)"):
        pool.map(asks, range(2))


def test_an_asynchronous_generator_is_refused(make_pool):
    async def numbers():
        yield 1

    with pytest.raises(TypeError, match=r"decorate it with `contextlib.asynccontextmanager`"):
        make_pool(initializer=numbers).map(abs, [1])


class Empty:
    """Its `__aenter__` raises what no future takes."""

    def __aenter__(self):
        return next(iter([]))

    async def __aexit__(self, *exc_info):
        return None


def test_an_initializer_that_stops_an_iteration_fails(kind, make_pool):
    with pytest.raises(Exception, match="StopIteration"):
        make_pool(1, initializer=Empty).map(uses, range(2))
