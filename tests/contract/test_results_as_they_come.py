"""Each result is available at once: none waits for a slow item of the same chunk."""

from __future__ import annotations

import os
import uuid
from collections import Counter

import pytest

import nbpar
from nbpar.testing import until

ITEMS = 8


MANY = 1001

THIS_ONE = 500
"""Of many short items the one that lasts."""

LASTS = 2
"""The item that lasts where others come after it."""


def but_last(gate):
    return lambda n: gate.wait() if n == ITEMS - 1 else n


def but_one(gate):
    return lambda n: gate.wait() if n == THIS_ONE else n


@pytest.fixture
def ran(tmp_path):
    """A folder for marks of what ran."""
    folder = tmp_path / "ran"
    folder.mkdir()
    return folder


def once_each(gate, folder):
    """Return a function that refuses to run an item again, and waits in one."""

    def function(n):
        (folder / str(n)).touch(exist_ok=False)
        if n == LASTS:
            gate.wait()
        return n

    return function


@pytest.mark.parametrize("name", ["imap", "imap_unordered"])
@pytest.mark.parametrize("options", [{}, {"timeout": 60}, {"seed": 1}, {"retries": 1}], ids=repr)
def test_results_do_not_wait_for_an_item_of_their_chunk_that_lasts(busy_pool, kind, gate, name, options):
    if "timeout" in options and not kind.stops_items:
        pytest.skip("its items cannot be stopped")
    results = getattr(busy_pool, name)(but_last(gate), range(ITEMS), chunksize=ITEMS, **options)

    assert [next(results) for _ in range(ITEMS - 1)] == list(range(ITEMS - 1))

    gate.open()
    assert list(results) == [None]


@pytest.mark.parametrize("name", ["imap", "imap_unordered"])
def test_none_of_many_short_items_waits_for_one_that_lasts(busy_pool, gate, name):
    results = getattr(busy_pool, name)(but_one(gate), range(MANY), chunksize=1)

    before = MANY - 1 if name == "imap_unordered" else THIS_ONE
    got = [next(results) for _ in range(before)]
    assert sorted(got) == [n for n in range(MANY) if n != THIS_ONE][:before]

    gate.open()
    assert sorted(n for n in results if n is not None) == list(range(before + 1, MANY))


def test_short_items_of_a_map_do_not_wait_either(busy_pool, gate):
    run = busy_pool.map_async(but_one(gate), range(MANY), chunksize=1)

    until(lambda: run.snapshot.done == MANY - 1)
    gate.open()

    assert run.get() == [None if n == THIS_ONE else n for n in range(MANY)]


def test_an_executor_yields_what_is_done_before_time_is_over(busy_pool, gate):
    got = []
    with pytest.raises(TimeoutError):
        got.extend(busy_pool.executor().map(but_last(gate), range(ITEMS), chunksize=ITEMS, timeout=2))
    gate.open()

    assert got == list(range(ITEMS - 1))


def test_what_is_done_is_there_when_the_rest_is_stopped(busy_pool, gate):
    run = busy_pool.map_async(but_last(gate), range(ITEMS), chunksize=ITEMS)
    gate.until_waiting()
    until(lambda: run.snapshot.done == ITEMS - 1)
    run.cancel()
    gate.open()

    assert run.results()[: ITEMS - 1] == list(range(ITEMS - 1))


@pytest.mark.parametrize(
    "options",
    [{}, {"timeout": 60}, {"seed": 1}, {"retries": 1}, {"errors": "collect"}, {"chunksize": "auto"}],
    ids=repr,
)
def test_items_behind_one_that_lasts_go_to_a_worker_that_has_nothing_to_do(
    busy_pool, kind, gate, ran, options
):
    if "timeout" in options and not kind.stops_items:
        pytest.skip("its items cannot be stopped")
    function = once_each(gate, ran)
    results = busy_pool.imap_unordered(function, range(ITEMS), **{"chunksize": ITEMS, **options})

    others = sorted(next(results) for _ in range(ITEMS - 1))

    assert others == [n for n in range(ITEMS) if n != LASTS]
    gate.open()
    assert list(results) == [LASTS]


def test_they_keep_their_places_in_order(busy_pool, gate, ran):
    results = busy_pool.imap(once_each(gate, ran), range(ITEMS), chunksize=ITEMS)
    assert [next(results) for _ in range(LASTS)] == [0, 1]
    until(lambda: len(list(ran.iterdir())) == ITEMS)

    gate.open()

    assert list(results) == list(range(LASTS, ITEMS))


def test_an_item_that_lasts_may_fail_when_others_have_done_the_rest(busy_pool, gate):
    def function(n):
        if n == LASTS:
            gate.wait()
            raise ValueError(n)
        return n

    run = busy_pool.map_async(function, range(ITEMS), chunksize=ITEMS, errors="collect")
    until(lambda: run.snapshot.done == ITEMS - 1)
    gate.open()

    assert [failure.index for failure in run.get(60).failures] == [LASTS]


def test_a_worker_that_dies_in_the_item_that_lasts_costs_no_other(busy_pool, kind, gate, ran):
    if not kind.own_process:
        pytest.skip("it would take this process with it")

    def function(n):
        (ran / f"{n} {uuid.uuid4()}").touch()
        if n == LASTS and not gate.is_open:
            gate.wait()
            os._exit(3)
        return n

    run = busy_pool.map_async(function, range(ITEMS), chunksize=ITEMS)
    until(lambda: run.snapshot.done == ITEMS - 1)
    gate.open()

    assert run.get(60) == list(range(ITEMS))
    times = Counter(int(path.name.split()[0]) for path in ran.iterdir())
    assert times == {n: 2 if n == LASTS else 1 for n in range(ITEMS)}


def test_a_worker_that_is_renewed_after_a_few_items_may_be_one_of_them(make_pool, kind, gate, ran):
    if not kind.own_process:
        pytest.skip("threads are not renewed")
    pool = make_pool(max_items_per_worker=3)
    results = pool.imap_unordered(once_each(gate, ran), range(ITEMS), chunksize=ITEMS)

    others = sorted(next(results) for _ in range(ITEMS - 1))

    assert others == [n for n in range(ITEMS) if n != LASTS]
    gate.open()
    assert list(results) == [LASTS]


def test_a_queue_gives_out_what_comes_after_an_item_that_lasts(busy_pool, gate, ran):
    with busy_pool.queue(once_each(gate, ran)) as queue:
        for n in range(100, 500):
            queue.put(n)
        for n in range(ITEMS):
            queue.put(n)

        got = sorted(queue.get(60) for _ in range(400 + ITEMS - 1))
        assert got == [*(n for n in range(ITEMS) if n != LASTS), *range(100, 500)]
        gate.open()
        assert queue.get(60) == LASTS


def test_the_last_stage_of_a_pipeline_goes_on_beside_an_item_that_lasts(busy_pool, gate, ran):
    with nbpar.Pipeline([abs, once_each(gate, ran)], pool=busy_pool) as steps:
        results = steps.imap_unordered(range(ITEMS), progress="none")

        others = sorted(next(results) for _ in range(ITEMS - 1))
        assert others == [n for n in range(ITEMS) if n != LASTS]
        gate.open()
        assert list(results) == [LASTS]


STREAMS = {
    "imap": lambda pool, fn: pool.imap(fn, range(9)),
    "imap_unordered": lambda pool, fn: pool.imap_unordered(fn, iter(range(9))),
    "fixed chunks": lambda pool, fn: pool.imap(fn, range(9), chunksize=4),
    "one seed": lambda pool, fn: pool.imap(fn, range(9), seed=1),
    "executor": lambda pool, fn: pool.executor().map(fn, range(9)),
}


@pytest.mark.parametrize("stream", STREAMS)
def test_a_stream_in_this_thread_hands_on_each_result_before_the_next_item_begins(stream):
    said = []
    with nbpar.Pool(backend="serial", progress="none") as pool:
        for n in STREAMS[stream](pool, lambda n: said.append(f"run {n}") or n):
            said.append(f"got {n}")  # noqa: PERF401 (the function appends to it meanwhile)

    assert said == [f"{what} {n}" for n in range(9) for what in ("run", "got")]
