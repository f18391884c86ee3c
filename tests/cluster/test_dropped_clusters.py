"""A cluster that is no longer referenced ends like one that is stopped."""

import gc
import linecache
import os
import subprocess
import sys
import threading
import warnings
from functools import partial

import pytest
from owners import alive

import nbpar
from nbpar.cluster.cluster import Cluster
from nbpar.testing import until

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]

LIMIT = 90.0


def pids_of(cluster):
    room = cluster._room
    return [room._template.pid, room._controller.pid, *pids_of_engines(cluster)]


def pids_of_engines(cluster):
    return [engine.pid for engine in cluster.engines if engine.pid]


def test_a_dropped_cluster_ends_with_a_warning():
    cluster = Cluster(1).start()
    pids, directory = pids_of(cluster), cluster.directory

    with pytest.warns(ResourceWarning, match=r"unclosed <nbpar.Cluster: 1 engines>.* call its `stop\(\)`"):
        del cluster

    until(lambda: not alive(pids) and not directory.exists(), LIMIT)


def test_the_warning_names_the_line_that_made_the_cluster():
    cluster = Cluster(1).start()
    pids = pids_of(cluster)

    with pytest.warns(ResourceWarning) as caught:
        del cluster

    lines = [(warning.filename, linecache.getline(warning.filename, warning.lineno)) for warning in caught]
    assert lines == [(__file__, "    cluster = Cluster(1).start()\n")]
    until(lambda: not alive(pids), LIMIT)


def test_a_cluster_of_ipyparallels_launchers_ends_as_well():
    cluster = Cluster(1, engines="local").start()
    engines = until(partial(pids_of_engines, cluster))

    with pytest.warns(ResourceWarning):
        del cluster

    until(lambda: not alive(engines), LIMIT)


def test_a_cluster_that_is_stopped_or_was_never_started_is_dropped_without_a_word():
    before = set(threading.enumerate())
    cluster = Cluster(1).start()
    cluster.stop()
    del cluster
    Cluster(1)
    with pytest.raises(ValueError, match="at least 1"):
        Cluster(0)

    until(lambda: not any(it.name == "nbpar janitor" for it in set(threading.enumerate()) - before))


def test_a_cluster_lives_as_long_as_its_client_is_open():
    cluster = Cluster(1).start()
    pids, view = pids_of(cluster), cluster.client[:]
    del cluster
    gc.collect()

    [pid] = view.apply_sync(os.getpid)
    assert pid in pids
    view.client.close()
    del view
    with pytest.warns(ResourceWarning):
        gc.collect()

    until(lambda: not alive(pids), LIMIT)


def test_a_cluster_lives_as_long_as_a_pool_that_uses_it():
    cluster = Cluster(1)
    pool = nbpar.Pool(cluster=cluster, progress="none").wait()
    pids = pids_of(cluster)
    del cluster
    gc.collect()

    [pid] = pool.each(os.getpid)
    assert pid in pids
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del pool
        assert "unclosed <nbpar.Pool" in str(caught.pop().message)
        until(lambda: not alive(pids), LIMIT)

    assert "unclosed <nbpar.Cluster" in str(caught.pop().message)


def test_a_cluster_of_which_an_engine_died_ends():
    cluster = Cluster(1).start()
    pids = pids_of(cluster)
    cluster.kill(cluster.engines[0])
    until(partial(getattr, cluster, "replaced"))

    with pytest.warns(ResourceWarning):
        del cluster

    until(lambda: not alive(pids), LIMIT)


AT_EXIT = """
import os, sys
import nbpar
nbpar.Pool(1, progress="none")
run = nbpar.Pool(1, progress="none").map_async(abs, iter(int, 1))
nbpar.Cluster(1).start()
"""


def test_the_end_of_the_interpreter_may_come_right_after():
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT], capture_output=True, check=False, text=True, timeout=200
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
