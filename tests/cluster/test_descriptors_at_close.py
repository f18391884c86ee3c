"""Closing a pool closes its files and sockets, without the garbage collector's help."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from pathlib import Path

import pytest

import nbpar
from nbpar.testing import until

FOLDER = Path("/proc/self/fd")

pytestmark = [
    pytest.mark.engines,
    pytest.mark.skipif(not FOLDER.exists(), reason="descriptors are counted in /proc"),
]

TIMES = 4


@contextmanager
def no_collection():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def descriptors():
    return len(list(FOLDER.iterdir()))


def used(**options):
    with nbpar.Pool(1, progress="none", **options) as pool:
        assert pool.map(abs, [-1]) == [1]


def with_a_channel():
    with nbpar.Pool(1, progress="none") as pool:
        assert pool.gateways[0].remote_exec("channel.send(1)").receive(timeout=60) == 1


def closed_while_it_starts():
    pool = nbpar.Pool(1, progress="none")
    pool.map_async(abs, [1])
    pool.close()


def with_a_cluster_of_its_own():
    with nbpar.Cluster(1) as cluster, nbpar.Pool(cluster=cluster, progress="none") as pool:
        assert pool.map(abs, [-1]) == [1]


WAYS = (
    used,
    lambda: used(path="controller"),
    with_a_channel,
    closed_while_it_starts,
    with_a_cluster_of_its_own,
)


@pytest.mark.timeout(300)
def test_twenty_pools_that_are_closed_keep_no_descriptor():
    for use in WAYS:
        use()  # what lasts as long as the process is there now
    with no_collection():
        before = descriptors()
        for use in WAYS * TIMES:
            use()

        until(lambda: descriptors() <= before)


@pytest.mark.timeout(300)
def test_clusters_of_ipyparallel_with_our_launchers_keep_none(tmp_path):
    import ipyparallel

    def use():
        options = {"profile_dir": str(tmp_path / "profile"), "log_level": 40, "delay": 0}
        with ipyparallel.Cluster(n=1, engines="nbpar", controller="nbpar", **options) as client:
            assert client[:].apply_sync(abs, -1) == [1]

    use()
    with no_collection():
        before = descriptors()
        for _ in range(3):
            use()

        until(lambda: descriptors() <= before)
