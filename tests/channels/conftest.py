"""Every way to a worker has to pass the same tests of channels."""

import threading
import time

import pytest

import nbpar
from nbpar.cluster.cluster import Cluster

WAYS = ("threads", "engines", "controller")


@pytest.fixture(scope="session")
def cluster():
    with Cluster(2) as made:
        yield made


@pytest.fixture(scope="session")
def pools(cluster):
    """A pool for each way, made when it is first asked for."""
    made = {}

    def pool(way):
        if way not in made:
            options = {"backend": "threads"} if way == "threads" else {"cluster": cluster}
            if way == "controller":
                options["path"] = "controller"
            made[way] = nbpar.Pool(2, progress="none", **options)
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
    pool = pools(way)
    yield pool
    until(lambda: not len(pool.launcher.dispatcher.lines))


@pytest.fixture
def gateway(pool):
    return pool.gateways[0]


@pytest.fixture
def engines(engine_way, pools):
    """Like `pool`, on engines only."""
    pool = pools(engine_way)
    yield pool
    until(lambda: not len(pool.launcher.dispatcher.lines))


def until(condition, timeout=10.0):
    """Wait until something is so that no event tells of."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        threading.Event().wait(0.005)


@pytest.fixture(name="until")
def until_fixture():
    return until


@pytest.fixture
def own_pool(engine_way):
    """A pool with engines of its own, for tests that break them."""
    made = []

    def make(number=1):
        made.append(
            nbpar.Pool(number, progress="none", path="auto" if engine_way == "engines" else engine_way)
        )
        return made[-1]

    yield make
    for pool in made:
        pool.close()
