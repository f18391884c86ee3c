"""Workers past a limit of items or memory are replaced between two items, and nothing is lost."""

from __future__ import annotations

import os
from collections import Counter

import pytest

import nbpar
from nbpar.core.events import WorkerLeft
from nbpar.core.scheduling.windows import LASTS
from nbpar.testing import until

BIG = 10_000_000_000


def test_a_worker_leaves_after_so_many_items(make_machine):
    machine = make_machine(most_items=3)
    run = machine.begin(range(8))
    machine.come("worker 0")

    done = 0
    while "worker 0" in machine.backend.workers and not run.ends:
        done += len(machine.backend.calls("worker 0"))
        machine.backend.answer_all()
        machine.step()

    assert done == 3
    assert machine.renewed == ["worker 0"]
    assert [type(event) for event in run.events].count(WorkerLeft) == 1
    machine.come("worker 1")
    while not run.ends and "worker 1" in machine.backend.workers:
        machine.backend.answer_all()
        machine.step()
    assert machine.renewed == ["worker 0", "worker 1"]
    assert sorted(run.results) == [0, 1, 2, 3, 4, 5]


def test_items_that_a_worker_gave_back_are_none_that_it_was_given(make_machine):
    machine = make_machine(most_items=7)
    run = machine.begin(range(6), chunksize=6)
    machine.come("worker 0", "worker 1")
    machine.clock.advance(LASTS)
    machine.step()
    assert [len(machine.backend.items(worker)) for worker in ("worker 0", "worker 1")] == [1, 5]
    machine.backend.answer_all()
    machine.step()
    assert run.ends

    machine.begin([6])
    machine.step()
    assert machine.backend.items("worker 0") == [6]
    assert machine.renewed == []
    machine.backend.answer_all()
    machine.step()

    assert machine.renewed == []


def test_a_worker_that_holds_too_much_leaves_after_its_item(make_machine):
    machine = make_machine(most_bytes=BIG)
    run = machine.begin(range(4))
    machine.come("worker 0", "worker 1")

    hold(machine, "worker 0", BIG + 1)

    assert machine.renewed == ["worker 0"]
    assert "worker 0" not in machine.backend.workers
    assert "worker 1" in machine.backend.workers
    while not run.ends:
        machine.backend.answer_all()
        machine.step()
    assert sorted(run.results) == list(range(4))


def test_a_worker_below_the_limit_stays(make_machine):
    machine = make_machine(most_bytes=BIG)
    machine.begin(range(4))
    machine.come("worker 0")

    hold(machine, "worker 0", BIG - 1)

    assert machine.renewed == []
    assert "worker 0" in machine.backend.workers


def test_a_worker_that_dies_before_it_leaves_is_told_of_once(make_machine):
    machine = make_machine(most_items=1)
    run = machine.begin(range(2))
    machine.come("worker 0")

    machine.backend.lose("worker 0")
    machine.step()

    assert machine.renewed == ["worker 0"]
    assert not run.ends


def test_the_death_of_a_worker_says_what_it_held(make_machine):
    machine = make_machine()
    run = machine.begin([1])
    for worker in ("worker 0", "worker 1"):
        machine.come(worker, machine="far away")
        hold(machine, worker, 5_000_000, 0, final=False)
        machine.backend.lose(worker)
        machine.step()

    error = run.ends[0]
    assert isinstance(error, nbpar.WorkerDied)
    assert error.memory == 5_000_000
    assert "it held 5 MB of memory when it was last seen" in str(error)


def test_the_memory_of_a_worker_on_this_host_is_looked_at_while_it_computes(make_machine):
    machine = make_machine()
    run = machine.begin([1])
    for worker in ("worker 0", "worker 1"):
        machine.come(worker)
        machine.look()
        machine.backend.lose(worker)
        machine.step()

    assert run.ends[0].memory > 1_000_000


def test_a_death_keeps_what_is_known_when_it_travels():
    import pickle

    error = pickle.loads(pickle.dumps(nbpar.WorkerDied("gone", 3, "item", "killed by SIGKILL", 12)))

    assert (error.index, error.item, error.reason, error.memory) == (3, "item", "killed by SIGKILL", 12)
    assert nbpar.WorkerDied("gone").memory is None


@pytest.mark.parametrize("backend", ["threads", "serial"])
@pytest.mark.parametrize("limit", ["max_items_per_worker", "max_worker_memory"])
def test_what_is_not_in_a_process_of_its_own_cannot_be_renewed(backend, limit):
    with pytest.raises(ValueError, match="max_items_per_worker and max_worker_memory need engines"):
        nbpar.Pool(1, backend=backend, **{limit: 5})


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"max_items_per_worker": 0}, ValueError, "max_items_per_worker must be at least 1, was 0"),
        ({"max_worker_memory": "1 GB"}, TypeError, "max_worker_memory must be None or a whole number"),
        ({"min_free_memory": -1}, ValueError, "min_free_memory must be above 0, was -1"),
        ({"min_free_memory": "much"}, TypeError, 'min_free_memory must be "auto", None, bytes or a share'),
    ],
)
def test_numbers_are_checked(given, error, match):
    with pytest.raises(error, match=match):
        nbpar.Pool(1, backend="threads", **given)


@pytest.mark.parametrize("backend", ["threads", "serial"])
def test_memory_may_be_guarded_on_every_backend(backend):
    with nbpar.Pool(2, backend=backend, progress="none", min_free_memory=1 << 60) as pool:
        assert pool.map(abs, range(-5, 0)) == [5, 4, 3, 2, 1]


@pytest.mark.engines
@pytest.mark.parametrize("chunksize", [1, 3, 100, "auto"])
def test_engines_are_renewed_after_exactly_so_many_items_and_each_item_is_computed_once(chunksize):
    def who(x):
        return (x, os.getpid())

    with nbpar.Pool(2, progress="none", max_items_per_worker=4) as pool:
        results = pool.map(who, range(12), chunksize=chunksize)

    assert [x for x, _ in results] == list(range(12))
    assert Counter(Counter(pid for _, pid in results).values())[4] >= 2
    assert max(Counter(pid for _, pid in results).values()) == 4


@pytest.mark.engines
def test_a_fat_engine_is_renewed():
    def fatten(x):
        import builtins

        builtins.fat = b"x" * 300_000_000 if x == 0 else getattr(builtins, "fat", b"")
        return len(builtins.fat)

    with nbpar.Pool(1, progress="none", max_worker_memory=250_000_000) as pool:
        results = pool.map(fatten, range(3), chunksize=1)

        assert results[0] == 300_000_000
        until(lambda: pool.map(fatten, [5]) == [0], 30.0, "the engine was not renewed")


@pytest.mark.engines
def test_engines_of_others_are_not_renewed():
    with (
        nbpar.Cluster(1) as cluster,
        nbpar.Pool(cluster=cluster.client, max_items_per_worker=3) as pool,
        pytest.raises(nbpar.ClusterError, match="need engines that nbpar has started"),
    ):
        pool.map(abs, [1])


def hold(machine, worker, memory, items=None, *, final=True):
    """Let a worker answer that many items of its call, and report its memory."""
    machine.backend.answer(worker, items, final=final)
    _, done = machine.backend._arrived.pop()
    machine.backend.say(worker, done._replace(memory=memory))
    machine.step(3)
