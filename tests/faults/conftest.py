"""A pool that every case must leave usable, and processes that must have ended."""

from __future__ import annotations

import psutil
import pytest

import nbpar
from nbpar.backends.engines import liveness as engines

PATHS = ("auto", "controller")


@pytest.fixture(scope="module", params=PATHS, ids=["same host", "through the controller"])
def path(request):
    """The transport of messages to the engines."""
    return request.param


@pytest.fixture(scope="module")
def pool(path):
    """A pool of two engines; at the end nothing of it is left."""
    before = set(psutil.Process().children(recursive=True))
    with pytest.MonkeyPatch.context() as patch, nbpar.Pool(2, path=path, progress="none") as pool:
        patch.setattr(engines, "PING_EVERY", 0.3)  # what was lost on the way is noticed soon
        pool.wait()
        yield pool
    assert gone(set(psutil.Process().children(recursive=True)) - before)


@pytest.fixture(autouse=True)
def usable_again(pool):
    """After every case the pool does its work."""
    yield
    assert pool.map(abs, range(-20, 0)) == list(range(20, 0, -1))


def gone(processes, within=5.0):
    """Whether all processes end in time."""
    _, alive = psutil.wait_procs(processes, timeout=within)
    return not alive
