"""The tests of channels run on every transport."""

from contextlib import ExitStack

import pytest
from joined_clusters import cluster_of_its_own

import nbpar
from nbpar.cluster.cluster import Cluster
from nbpar.testing import until

WAYS = ("threads", "engines", "controller", "encrypted")

OWN = {"own_pool", "shared"}
"""Fixtures that start engines for each test."""


def pytest_itemcollected(item):
    """Break engines behind an encrypted controller only at night: by day, the other way stands for both."""
    way = item.callspec.params.get("engine_way") if hasattr(item, "callspec") else None
    if way == "encrypted" and OWN.intersection(item.fixturenames):
        item.add_marker("nightly")


@pytest.fixture(scope="session")
def cluster():
    with Cluster(2) as made:
        yield made


@pytest.fixture(scope="session")
def encrypted(tmp_path_factory):
    with cluster_of_its_own(2, tmp_path_factory.mktemp("encrypted"), encrypted=True) as client:
        yield client


@pytest.fixture(scope="session")
def pools(request):
    """A pool for each way, made when it is first asked for."""
    made = {}

    def options(way):
        if way == "threads":
            return {"backend": "threads"}
        if way == "encrypted":
            return {"cluster": request.getfixturevalue("encrypted"), "path": "controller"}
        path = "auto" if way == "engines" else way
        return {"cluster": request.getfixturevalue("cluster"), "path": path}

    def pool(way):
        if way not in made:
            made[way] = nbpar.Pool(2, progress="none", **options(way))
        return made[way]

    yield pool
    for pool in made.values():
        pool.close()


@pytest.fixture(scope="session", params=WAYS)
def way(request):
    return request.param


@pytest.fixture(scope="session", params=WAYS[1:])
def engine_way(request):
    return request.param


@pytest.fixture
def pool(way, pools):
    """The pool of each way in turn, with no channel open before and after."""
    yield from without_channels(pools(way))


@pytest.fixture
def gateway(pool):
    return pool.gateways[0]


@pytest.fixture
def engines(engine_way, pools):
    """Like `pool`, on engines only."""
    yield from without_channels(pools(engine_way))


def without_channels(pool):
    """Yield a pool, and wait until no channel of it is open."""
    yield pool
    until(lambda: not len(pool.launcher.dispatcher.lines))


@pytest.fixture
def own_pool(engine_way, tmp_path):
    """A pool with engines of its own, for tests that break them."""
    with ExitStack() as ends:

        def make(number=1):
            path = "auto" if engine_way == "engines" else "controller"
            options = {"path": path, "progress": "none"}
            if engine_way == "encrypted":
                made = cluster_of_its_own(number, tmp_path / "profile", encrypted=True)
                options["cluster"] = ends.enter_context(made)
            return ends.enter_context(nbpar.Pool(number, **options))

        yield make
