"""Profiles of items, and the details of each item, on every kind of worker."""

from __future__ import annotations

import asyncio
import functools
import sys
import time
import weakref

import pytest

import nbpar


def lasts(seconds):
    """Last, which a sample does not tell from computing, however busy the machine is."""
    time.sleep(seconds)


def work(seconds):
    lasts(seconds)
    return seconds


def places_of(report):
    return {place for stack in report.profile.profile.stacks for place in stack}


def test_a_profile_has_the_functions_and_lines_of_the_items_and_nothing_of_nbpar(pool):
    results = pool.map(work, [0.4] * 4, profile=True, chunksize=1)

    profile = results.report.profile
    assert {place.function for place in places_of(results.report)} == {"work", "lasts"}
    assert {stack[0].function for stack in profile.profile.stacks} == {"work"}
    called = next(row for row in profile.functions if row.function == "work")
    assert called.total_seconds == pytest.approx(profile.profile.seconds)
    assert profile.functions[0].function == "lasts"
    assert "    lasts(seconds)" in repr(profile)
    assert "lasts" in profile.svg


def test_the_seconds_of_a_profile_are_those_of_the_items(pool):
    results = pool.map(work, [0.2] * 4, profile=True, chunksize=1)

    whole = results.to_frame(details=True)["seconds"].sum()
    assert results.report.profile.profile.seconds == pytest.approx(whole, rel=0.5)


def test_short_items_are_sampled_too_though_their_worker_gives_the_gil_away_between_them(pool):
    pool.map(work, [0.001] * 500, profile=True)

    report = nbpar.last_run.report
    seconds = sum(row.self_seconds for row in report.profile.functions)
    assert seconds > 0.2 * dict(report.parts)["computing"]


def test_without_being_asked_for_there_is_no_profile(pool):
    results = pool.map(work, [0.02] * 2)

    assert results.report.profile is None


def test_runs_at_the_same_time_are_told_apart(busy_pool):
    def other(seconds):
        return work(seconds)

    run, quiet = busy_pool.map_async(other, [0.2] * 4, profile=True), busy_pool.map_async(work, [0.2] * 4)
    third = busy_pool.map(work, [0.2] * 4, profile=True)
    run.get(), quiet.get()

    assert {stack[0].function for stack in run.report.profile.profile.stacks} == {"other"}
    assert {stack[0].function for stack in third.report.profile.profile.stacks} == {"work"}
    assert quiet.report.profile is None


def test_coroutines_are_sampled_in_their_steps_and_in_those_of_their_tasks(pool):
    async def part():
        await asyncio.sleep(0)
        lasts(0.1)

    async def whole(n):
        task = asyncio.create_task(part())
        await asyncio.sleep(0.01)
        lasts(0.1)
        await task
        return n

    assert pool.map(whole, range(3), profile=True) == [0, 1, 2]

    report = nbpar.last_run.report
    first = {stack[0].function.rpartition(".")[2] for stack in report.profile.profile.stacks}
    assert first == {"whole", "part"}
    assert report.profile.functions[0].function == "lasts"


def test_items_that_fail_are_in_the_profile_as_well(pool):
    def fails(n):
        lasts(0.1)
        raise ValueError(n)

    results = pool.map(fails, range(3), profile=True, errors="collect")

    assert [type(failure.exception) for failure in results.failures] == [ValueError] * 3
    assert all("profiling" not in failure.traceback for failure in results.failures)
    assert results.report.profile.functions[0].function == "lasts"


def test_a_deep_recursion_is_sampled_in_part(pool):
    def deep(n):
        return deep(n - 1) if n else lasts(0.1)

    pool.map(deep, [400] * 2, profile=True)

    stacks = nbpar.last_run.report.profile.profile.stacks
    assert 0 < max(map(len, stacks)) <= 100
    assert all(stack[-1].function in ("deep", "lasts") for stack in stacks)


def test_a_stream_has_a_profile_as_well(pool):
    assert list(pool.imap(work, [0.4] * 3, profile=True)) == [0.4] * 3

    assert nbpar.last_run.report.profile.functions[0].function == "lasts"


def test_sampling_keeps_no_object_of_an_item_alive(kind, pool):
    if kind.own_process:
        pytest.skip("objects are seen here only")

    class Large:
        pass

    kept = []

    def uses(n):
        large = Large()
        kept.append(weakref.ref(large))
        lasts(0.05)
        return n

    pool.map(uses, range(4), profile=True)

    assert [one() for one in kept] == [None] * 4


def test_the_details_of_a_table_are_seconds_worker_and_memory(pool, kind):
    pytest.importorskip("pandas")

    def fails(n):
        time.sleep(0.03)
        if n == 2:
            raise ValueError(n)
        return {"n": n}

    results = pool.map(fails, range(6), errors="collect", profile=True, chunksize=1)
    table = results.to_frame(details=True)

    assert list(table.columns) == ["n", "failure", "seconds", "worker", "peak_memory"]
    assert (table["seconds"].drop(2) >= 0.03).all()
    assert set(table["worker"]) <= {lane.worker for lane in nbpar.last_run.snapshot.lanes}
    assert (table["peak_memory"] > 1e6).all()
    assert list(results.to_frame().columns) == ["n", "failure"]


def test_without_a_profile_memory_is_unknown(pool):
    pytest.importorskip("pandas")

    table = pool.map(work, [0.01] * 3).to_frame(details=True)

    assert table["peak_memory"].isna().all()
    assert (table["seconds"] > 0).all()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only the memory after an item is known")
def test_the_memory_of_an_item_is_what_it_needed_at_most_and_not_that_of_others(pool, kind):
    pytest.importorskip("pandas")

    def fills(megabytes):
        large = bytearray(megabytes << 20)
        time.sleep(0.05)
        return len(large)

    sizes = [1, 1, 200, 1, 1, 300, 1, 1]
    results = pool.map(fills, sizes, profile=True, chunksize=1)
    table = results.to_frame(details=True)
    table["size"] = sizes

    for _, rows in table.groupby("worker"):
        small = rows[rows["size"] == 1]["peak_memory"]
        for row in rows[rows["size"] > 1].itertuples():
            assert row.peak_memory >= row.size << 20
            if kind.own_process or not kind.concurrent:  # threads have their memory in common
                assert small.empty or row.peak_memory - small.max() > (row.size - 30) << 20


def test_a_pipeline_is_profiled_over_its_stages():
    stages = [nbpar.Stage(functools.partial(_stage, 0.05), backend="threads") for _ in range(2)]
    with nbpar.Pool(2, backend="threads", progress="none") as pool:
        results = nbpar.Pipeline(stages, pool=pool).map(range(4), profile=True)

    assert results == list(range(4))
    assert results.report.profile.functions[0].function == "lasts"
    with pytest.raises(ValueError, match="those of a pipeline"):
        results.to_frame(details=True)


def _stage(seconds, item):
    lasts(seconds)
    return item
