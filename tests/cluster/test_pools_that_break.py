"""Pools whose cluster breaks or does not start: the next call tries again, from any thread."""

import os
import signal
import threading
from collections import Counter

import pytest
from user_code import WaitsElsewhere

import nbpar
from nbpar.pool import placement
from nbpar.testing import Gate, until

pytestmark = pytest.mark.engines

NUMBERS = list(range(50))


def template_of(pool):
    """Return the pid of the process that a pool's engines are forked from; None while it has none."""
    try:
        return pool._place._cluster._room._template.pid
    except AttributeError:  # it is being started again
        return None


def kill_the_template(pool):
    """Kill that process, and return its pid."""
    pid = until(lambda: template_of(pool))
    os.kill(pid, signal.SIGKILL)
    return pid


def test_threads_that_share_a_pool_never_hear_that_it_is_closed_when_its_cluster_breaks():
    seen, over = Counter(), threading.Event()

    def use():
        while not over.is_set():
            try:
                assert pool.map(abs, NUMBERS) == NUMBERS
                seen["right"] += 1
            except Exception as error:
                seen[type(error)] += 1

    with nbpar.Pool(2, progress="none") as pool:
        threads = [threading.Thread(target=use, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                before = seen["right"]
                until(lambda before=before: seen["right"] > before + 4)
                killed = kill_the_template(pool)
                until(lambda killed=killed: template_of(pool) not in (None, killed))  # by one of the threads
            before = seen["right"]
            until(lambda: seen["right"] > before + 4)
        finally:
            over.set()
        for thread in threads:
            thread.join()

    assert set(seen) <= {"right", nbpar.NoWorkersError, nbpar.ClusterError}


def test_a_start_that_failed_is_tried_again_by_the_next_call(monkeypatch):
    failures, start = ["no port is free"] * 2, placement.place_on_engines

    def fragile(*arguments, **options):
        if failures:
            raise nbpar.ClusterError(failures.pop())
        return start(*arguments, **options)

    monkeypatch.setattr("nbpar.pool.pool.place_on_engines", fragile)
    with nbpar.Pool(1, progress="none") as pool:
        for _ in range(2):
            with pytest.raises(nbpar.ClusterError, match="no port is free"):
                pool.map(abs, NUMBERS)

        assert pool.map(abs, NUMBERS) == NUMBERS
        assert not pool.failed


def test_a_run_that_a_restart_ends_is_told_so():
    with nbpar.Pool(1, progress="none") as pool:
        run = pool.map_async(lambda n: threading.Event().wait(), [1])
        until(lambda: any("runs" in worker for worker in pool.workers))

        pool.restart()

        with pytest.raises(nbpar.ClusterError, match="the pool was restarted before the run was over"):
            run.get(60)
        assert pool.map(abs, NUMBERS) == NUMBERS


@pytest.mark.parametrize("again", [lambda it: it.restart(), lambda it: it.stop() or it.start()])
def test_pools_on_a_cluster_that_was_started_again_have_its_new_engines(again):
    with nbpar.Cluster(1) as cluster, nbpar.Pool(cluster=cluster, progress="none") as pool:
        before = pool.each(os.getpid)
        run = pool.map_async(lambda n: threading.Event().wait(), [1])
        until(lambda: any("runs" in worker for worker in pool.workers))

        again(cluster)

        with pytest.raises(nbpar.NoWorkersError, match=r"its cluster was (stopped|restarted)"):
            run.get(60)
        assert pool.map(abs, NUMBERS) == NUMBERS
        assert pool.each(os.getpid) != before


def test_who_asks_while_another_thread_restarts_a_pool_waits_for_the_new_workers(monkeypatch):
    with nbpar.Pool(1, progress="none") as pool:
        closed, asked = threading.Event(), threading.Event()
        pending = pool.wait()._keeper.pending
        discard, get = pending.discard, pending.get

        def discard_and_wait():
            discard()
            closed.set()
            asked.wait(60)

        def get_and_tell():
            try:
                return get()
            finally:
                asked.set()

        monkeypatch.setattr(pending, "discard", discard_and_wait)
        monkeypatch.setattr(pending, "get", get_and_tell)
        threading.Thread(target=pool.restart, daemon=True).start()
        closed.wait(60)

        assert not pool.broken
        assert asked.is_set()


def test_who_waits_for_a_run_is_told_that_its_pool_was_closed_though_a_result_is_still_being_unpickled():
    gate, told = Gate(), []

    def wait_for_it(run):
        try:
            run.get()
        except nbpar.PoolClosedError as error:
            told.append(error)

    with nbpar.Pool(1, progress="none") as pool:
        run = pool.map_async(lambda _: WaitsElsewhere(gate), [0])
        waiting = threading.Thread(target=wait_for_it, args=(run,), daemon=True)
        waiting.start()
        gate.until_waiting()
        pool.close()
        waiting.join(60)

        assert not gate.is_open
        assert len(told) == 1
        gate.open()


def test_a_pool_does_not_start_a_cluster_again_that_was_stopped():
    with nbpar.Cluster(1) as cluster:
        pool = nbpar.Pool(cluster=cluster, progress="none")
        assert pool.map(abs, NUMBERS) == NUMBERS

    for _ in range(2):
        with pytest.raises(nbpar.ClusterError, match="the cluster of this pool was stopped"):
            pool.map(abs, NUMBERS)
    assert not cluster.running

    with cluster:
        assert pool.map(abs, NUMBERS) == NUMBERS
    pool.close()
