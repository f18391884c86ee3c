"""A pipeline over a pool inside an item of the same pool runs on that worker, without waiting."""

import os
import signal
import threading

import pytest

import nbpar


def here(x):
    return threading.get_ident()


@pytest.fixture(params=["serial", "threads"])
def pool(request, pools):
    return pools[request.param]


@pytest.fixture
def inside(pool):
    """Return what calls a function in each of as many items as there are workers, at the same time."""
    everyone = threading.Barrier(pool.size)

    def call(fn):
        def item(x):
            everyone.wait(30)
            return fn(x)

        return pool.map(item, range(pool.size), chunksize=1)

    return call


def test_all_stages_run_in_the_item(pool, inside):
    def stages_ran_here(x):
        steps = [nbpar.Stage(lambda _: (here(_),)), lambda seen: (*seen, here(seen))]
        with nbpar.Pipeline(steps, pool=pool) as pipeline:
            return set(pipeline.map(range(5))) == {(here(x), here(x))}

    assert all(inside(stages_ran_here))


def test_a_union_of_branches_does_as_well(pool, inside):
    def joined(x):
        union = nbpar.Union([str, abs], join="zip", pool=pool)
        with nbpar.Pipeline([lambda n: n - x, union], pool=pool) as pipeline:
            return list(pipeline.imap(range(3), buffersize=1))

    assert inside(joined)[-1] == [(str(n - x), abs(n - x)) for x in [pool.size - 1] for n in range(3)]


def test_its_runs_and_those_of_the_item_keep_their_results_apart(pool, inside):
    def several(x):
        with nbpar.Pipeline([abs, str], pool=pool) as pipeline:
            run = pipeline.map_async([-x])
            return run.get() + pool.map(abs, [-x]) + pipeline.map([x])

    assert inside(several) == [[str(x), x, str(x)] for x in range(pool.size)]


def test_ctrl_c_strikes_input_that_is_read_there_at_once(pools):
    reached = []

    def endless():
        yield 1
        os.kill(os.getpid(), signal.SIGINT)
        reached.append(True)

    def item(x):
        with nbpar.Pipeline([abs, str], pool=pools["serial"]) as pipeline:
            return pipeline.map(endless())

    with pytest.raises(KeyboardInterrupt):
        pools["serial"].map(item, [1])

    assert not reached
