"""`nbpar.use`: which pool calls run on that name none."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

import nbpar
from nbpar.errors import ClusterError, PoolClosedError
from nbpar.pool import defaults
from nbpar.testing import until


@pytest.fixture(autouse=True)
def fresh():
    """Nothing in use before, and nothing after."""
    defaults.close_default_pools()
    yield
    defaults.close_default_pools()


@pytest.fixture(scope="module")
def pools():
    with nbpar.Pool(2, backend="threads") as two, nbpar.Pool(3, backend="threads") as three:
        yield two, three


@pytest.fixture
def pool(pools):
    return pools[0]


def thread(_=None):
    return threading.current_thread().ident


def _threads_of(pool):
    return set(pool.each(thread))


CALLS = {
    "map": lambda: nbpar.map(thread, range(8)),
    "starmap": lambda: nbpar.starmap(thread, [(n,) for n in range(8)]),
    "imap": lambda: list(nbpar.imap(thread, range(8))),
    "imap_unordered": lambda: list(nbpar.imap_unordered(thread, range(8))),
    "map_async": lambda: nbpar.map_async(thread, range(8)).get(),
    "submit": lambda: [nbpar.submit(thread).result()],
    "each": lambda: nbpar.each(thread),
    "pipe": lambda: list(nbpar.pipe(range(8), thread)),
    "Pipeline": lambda: nbpar.Pipeline([thread]).map(range(8)),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_every_call_that_names_no_pool_runs_on_the_one_in_use(pool, call):
    nbpar.use(pool)

    found = set(call())

    assert found
    assert found <= _threads_of(pool)


def test_a_call_that_names_another_backend_stays_in_this_process(pool):
    with nbpar.use(pool):
        assert nbpar.map(thread, range(3), backend="serial") == [thread()] * 3


def test_a_pool_stands_for_its_own_backend_too(pool):
    with nbpar.use(pool):
        assert set(nbpar.map(thread, range(8), backend="threads")) <= _threads_of(pool)


def test_after_the_block_the_place_from_before_is_used_again(pools):
    two, three = pools
    nbpar.use(two)

    with nbpar.use(three) as used:
        assert defaults.default_pool() is three
        assert used.size == 3
        assert used.map(abs, [-1]) == [1]

    assert defaults.default_pool() is two
    assert not three.closed


def test_a_block_ends_what_was_put_in_it(pools):
    two, three = pools

    with nbpar.use(two):
        nbpar.use(three)
        assert defaults.default_pool() is three

    assert defaults.used_place() is None


def test_blocks_of_two_threads_may_overlap(pools):
    two, three = pools
    outer = nbpar.use(two)
    outer.__enter__()
    inner = nbpar.use(three)
    inner.__enter__()

    outer.__exit__(None, None, None)
    assert defaults.default_pool() is three
    inner.__exit__(None, None, None)

    assert defaults.used_place() is None


def test_the_block_also_ends_by_an_error(pool):
    with pytest.raises(ZeroDivisionError), nbpar.use(pool):
        nbpar.map(lambda n: 1 // n, [0])

    assert defaults.used_place() is None


def test_none_leads_back_to_this_machine(pool):
    nbpar.use(pool)

    with nbpar.use(None):
        assert defaults.used_place() is None
        assert set(nbpar.map(thread, range(4), backend="threads")).isdisjoint(_threads_of(pool))

    assert defaults.default_pool() is pool


def test_what_was_in_use_can_be_used_again_and_entered_twice(pools):
    two, three = pools
    used = nbpar.use(two)
    nbpar.use(three)

    with used, used:
        assert defaults.default_pool() is two
    assert defaults.default_pool() is three
    nbpar.use(used)

    assert defaults.default_pool() is two


def test_pools_that_are_used_no_more_are_not_held():
    known = []
    for _ in range(4):
        pool = nbpar.Pool(1, backend="threads")
        known.append(weakref.ref(pool))
        nbpar.use(pool)
        pool.close()
    del pool

    gc.collect()

    assert [one() is None for one in known] == [True, True, False, False]


def test_the_number_of_workers_is_a_limit_and_not_an_order(pool):
    with nbpar.use(pool):
        assert len(nbpar.map(abs, range(9), workers=7)) == 9
        assert set(nbpar.map(thread, range(9), workers=1)) < _threads_of(pool)
        assert list(nbpar.pipe(range(3), abs, workers=7)) == [0, 1, 2]
        with pytest.raises(ValueError, match="workers must be at least 1"):
            nbpar.map(abs, [1], workers=0)
        assert pool.size == 2


def test_a_pool_that_was_closed_meanwhile_is_an_error_that_helps():
    with nbpar.Pool(1, backend="threads") as pool:
        nbpar.use(pool)

    for call in CALLS.values():
        with pytest.raises(PoolClosedError, match=r"use another, or `nbpar\.use\(None\)`"):
            call()
    nbpar.use(None)

    assert nbpar.map(abs, [-1], backend="threads") == [1]


def test_a_closed_pool_is_refused(pool):
    closed = nbpar.Pool(1, backend="threads")
    closed.close()
    nbpar.use(pool)

    with pytest.raises(PoolClosedError):
        nbpar.use(closed)

    assert defaults.default_pool() is pool


class Client:
    """Looks like the client of another system."""


Client.__module__ = "distributed.client"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (4, r"was int; `nbpar\.Pool\(4\)` is a pool of that size"),
        (nbpar.Pool, r"was the class Pool; write `Pool\(\.\.\.\)` to make one"),
        (object(), "an nbpar.Pool, an nbpar.Cluster, .* or None for this machine, was object"),
        (Client(), "was a distributed Client; start ipyparallel engines on its machines, and join those"),
        (
            ThreadPoolExecutor(1),
            "was a concurrent ThreadPoolExecutor; nbpar's workers are ipyparallel engines",
        ),
    ],
)
def test_what_is_no_place_is_refused_in_words_that_help(pool, given, said):
    nbpar.use(pool)

    with pytest.raises(TypeError, match=f"place must be .*{said}"):
        nbpar.use(given)

    assert defaults.default_pool() is pool


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nobody", "there is no IPython profile 'nobody'"),
        ("/nowhere/ipcontroller-client.json", "there is no connection file"),
        ("gopher://host", "gopher:// is unknown; give the name of an IPython profile"),
    ],
)
def test_the_name_of_no_cluster_is_refused_at_once(pool, tmp_path, monkeypatch, name, said):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    nbpar.use(pool)

    with pytest.raises(ClusterError, match=said):
        nbpar.use(name)

    assert defaults.default_pool() is pool


def test_inside_an_item_calls_are_serial_as_ever(pool):
    with nbpar.use(pool):
        inner = nbpar.map(lambda _: [thread(), *nbpar.map(thread, range(2))], range(4))

    assert all(len(set(ids)) == 1 for ids in inner)


def test_its_stages_on_other_backends_have_their_own_workers(pool):
    with nbpar.use(pool), nbpar.Pipeline(
        [nbpar.Stage(lambda n: (n, thread())), nbpar.Stage(lambda pair: (pair[1], thread()), workers=0)]
    ) as pipeline:  # fmt: skip
        found = pipeline.map(range(6))

    assert {first for first, _ in found} <= _threads_of(pool)
    assert {second for _, second in found}.isdisjoint(_threads_of(pool))


def test_a_pipeline_follows_what_is_in_use(pools):
    two, three = pools
    with nbpar.Pipeline([thread]) as pipeline:
        for pool in (two, three):
            with nbpar.use(pool):
                assert set(pipeline.map(range(6))) <= _threads_of(pool)


def test_a_run_under_way_stays_where_it_was_begun(pools):
    two, three = pools
    gate = threading.Event()
    nbpar.use(two)
    run = nbpar.map_async(lambda _: (gate.wait(30), thread())[1], range(4), chunksize=1)
    until(lambda: two.workers[0].get("runs"))

    nbpar.use(three)
    gate.set()

    assert set(run.get()) <= _threads_of(two)


def test_it_says_what_it_is(pool):
    assert repr(nbpar.use(pool)) == "<nbpar.use: <nbpar.Pool: 2 on threads>>"
    assert repr(nbpar.use(None)) == "<nbpar.use: the workers of this machine>"
