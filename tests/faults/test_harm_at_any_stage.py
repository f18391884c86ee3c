"""Faults: whatever is harmed at any time, a run ends with the right results or the right error."""

from __future__ import annotations

import threading

import pytest
from user_code import WaitsElsewhere

import nbpar
from nbpar.testing import Gate

from . import harm

pytestmark = pytest.mark.engines

ITEMS = range(6)


class WaitsWhenSent:
    """A result that is slow to leave."""

    def __init__(self, gate, value):
        self.gate, self.value = gate, value

    def __reduce__(self):
        self.gate.wait()
        return int, (self.value,)


def that_loads(gate):
    waiter = WaitsElsewhere(gate)
    return lambda item: (item, waiter)[0]


def that_computes(gate):
    return lambda item: gate.wait() or item


def that_answers(gate):
    return lambda item: WaitsWhenSent(gate, item)


STAGES = {"load": that_loads, "call": that_computes, "result": that_answers}

HEALED = [
    harm.kill_an_engine,
    harm.kill_all_engines,
    harm.cut_connections,
    harm.delete_the_socket,
]
FATAL = [harm.kill_the_controller, harm.kill_the_template]

harmed = pytest.mark.parametrize("harms", HEALED, ids=lambda harms: harms.__name__)
fatally_harmed = pytest.mark.parametrize("harms", FATAL, ids=lambda harms: harms.__name__)
staged = pytest.mark.parametrize("stage", STAGES)


@staged
@harmed
def test_what_can_be_healed_costs_nothing(pool, harms, stage):
    gate = Gate()
    run = pool.map_async(STAGES[stage](gate), ITEMS, chunksize=1)
    gate.until_waiting()

    harms(pool)
    gate.open()

    assert run.get(60) == list(ITEMS)


@harmed
def test_what_can_be_healed_between_runs_is_not_noticed(pool, harms):
    pool.each(int)

    harms(pool)

    assert pool.map(abs, ITEMS) == list(ITEMS)


@staged
@fatally_harmed
def test_what_all_engines_hang_on_ends_a_run_and_keeps_what_is_done(pool, harms, stage):
    gate = Gate()
    done = pool.map(abs, ITEMS)
    run = pool.map_async(STAGES[stage](gate), ITEMS, chunksize=1)
    gate.until_waiting()

    harms(pool)
    gate.open()

    with pytest.raises((nbpar.NoWorkersError, nbpar.WorkerDied)):
        run.get(60)
    assert set(run.results()) <= set(done)


@fatally_harmed
def test_what_all_engines_hang_on_is_made_anew_between_runs(pool, harms):
    before = harm.family(pool)

    harms(pool)

    assert pool.map(abs, ITEMS) == list(ITEMS)
    assert not {*before.values()} & {*harm.family(pool).values()}


@pytest.mark.parametrize("victim", ["engine", "controller", "template"])
def test_a_pool_that_is_harmed_while_it_starts_works_or_says_why_not(path, victim, request):
    cluster = nbpar.Cluster(2)
    request.addfinalizer(cluster.stop)
    striker = threading.Thread(target=harm.kill_one_that_starts, args=(cluster, victim))
    striker.start()

    with nbpar.Pool(cluster=cluster, path=path, progress="none") as pool:
        said = "ended (killed by SIGKILL)"
        try:
            results = pool.map(abs, ITEMS)
        except (nbpar.ClusterError, nbpar.NoWorkersError) as error:
            said = str(error)
            pool.restart()
            results = pool.map(abs, ITEMS)
        striker.join()

    assert results == list(ITEMS)
    assert "ended (killed by SIGKILL)" in said
