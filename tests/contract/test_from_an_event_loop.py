"""Pools used from a running event loop, which goes on meanwhile."""

import asyncio

import pytest

import nbpar


async def double(x):
    await asyncio.sleep(0.01)
    return x * 2


def test_async_for_takes_results_as_they_come(pool):
    async def main():
        return [value async for value in pool.imap(double, range(30))]

    assert asyncio.run(main()) == [2 * x for x in range(30)]


def test_ordinary_functions_and_unordered_results_too(pool):
    async def main():
        return sorted([value async for value in pool.imap_unordered(abs, range(-30, 0))])

    assert asyncio.run(main()) == list(range(1, 31))


def test_the_event_loop_goes_on_while_it_waits(busy_pool, gate):
    def waits(x):
        gate.wait(60)
        return x

    async def main():
        async def opens():
            await asyncio.sleep(0)
            gate.open()

        opening = asyncio.create_task(opens())
        values = [value async for value in busy_pool.imap(waits, range(3))]
        await opening
        return values

    assert asyncio.run(main()) == [0, 1, 2]


def test_a_failure_is_raised_in_its_place(pool):
    async def main():
        values = pool.imap(lambda x: 6 // x, [3, 2, 0, 1])
        got = [await values.__anext__(), await values.__anext__()]
        with pytest.raises(ZeroDivisionError):
            await values.__anext__()
        return got

    assert asyncio.run(main()) == [2, 3]


def test_leaving_the_loop_and_closing_it_cancels_the_rest(busy_pool):
    async def main():
        values = busy_pool.imap(double, iter(int, 1))
        async for _ in values:
            break
        await values.aclose()
        return await busy_pool.map_async(double, range(3))

    assert asyncio.run(main()) == [0, 2, 4]


def test_canceling_who_waits_stops_the_run(busy_pool, gate):
    async def stays(x):
        await asyncio.sleep(300)

    async def main():
        values = busy_pool.imap(stays, range(5))
        task = asyncio.create_task(values.__anext__())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await busy_pool.map_async(double, range(3))

    assert asyncio.run(main()) == [0, 2, 4]


def test_a_stream_is_an_iterator_as_before(pool):
    values = pool.imap(abs, [-1, -2])

    assert iter(values) is values
    assert (next(values), next(values), next(values, "end")) == (1, 2, "end")
    values.close()


def test_a_pool_is_an_async_context_manager(kind):
    async def main():
        async with nbpar.Pool(2, progress="none", **kind.options) as pool:
            return pool, await pool.map_async(double, range(3)), await pool.aeach(abs, -4)

    pool, values, each = asyncio.run(main())

    assert values == [0, 2, 4]
    assert set(each) == {4}
    assert pool.closed
