"""Stages of async functions: many items under way at once, on every backend."""

import asyncio

import pytest

import nbpar
from nbpar import Stage


async def double(x):
    await asyncio.sleep(0.001)
    return x * 2


async def picky(x):
    await asyncio.sleep(0)
    if x == 6:
        raise ValueError("no 6")
    return x


def test_async_and_ordinary_stages_follow_each_other(pool, pipeline):
    steps = pipeline([double, lambda x: x + 1, double], pool=pool)

    assert steps.map(range(300), progress="none") == [(2 * x + 1) * 2 for x in range(300)]
    assert list(steps.imap(range(50), progress="none")) == [(2 * x + 1) * 2 for x in range(50)]


def test_items_of_a_stage_wait_for_each_other(pools, pipeline):
    async def meet(x, met=[]):  # noqa: B006 (what the items of a worker share)
        met.append(x)
        while len(met) < 30:
            await asyncio.sleep(0.001)
        return x

    steps = pipeline([lambda x: x, Stage(meet, workers=1), abs], pool=pools["engines"])

    assert steps.map(range(30), progress="none", buffersize=30) == list(range(30))


def test_concurrency_limits_the_items_of_a_stage(pools, pipeline):
    async def most_at_once(x, here=[0, 0]):  # noqa: B006 (likewise)
        here[0] += 1
        here[1] = max(here)
        await asyncio.sleep(0.005)
        here[0] -= 1
        return here[1]

    steps = pipeline([Stage(most_at_once, workers=1, concurrency=3)], pool=pools["engines"])

    assert max(steps.map(range(40), progress="none")) == 3


def test_a_failed_item_of_a_stage_is_named(pool, pipeline):
    steps = pipeline([double, picky], pool=pool)

    got = steps.map(range(6), errors="collect", progress="none")

    assert [x for x in got if isinstance(x, int)] == [0, 2, 4, 8, 10]
    assert (got[3].stage, got[3].item) == ("picky", 6)


def test_a_time_limit_of_a_stage_holds_on_threads_too(pool, pipeline):
    async def stays(x):
        await asyncio.sleep(300 if x == 3 else 0)
        return x

    steps = pipeline([Stage(stays, timeout=0.2)], pool=pool)

    got = steps.map(range(5), errors="collect", progress="none")

    assert isinstance(got[3].exception, nbpar.ItemTimeoutError)


def test_batches_for_an_async_function_are_refused():
    with pytest.raises(ValueError, match=r"`double` is async.*leave out batched=True"):
        Stage(double, batched=True)
