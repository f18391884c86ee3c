"""A pool that every case must leave usable, and processes that must have ended."""

from __future__ import annotations

import psutil
import pytest

import nbpar
from nbpar.backends.engines import liveness as engines
from nbpar.pool import placement

KINDS = ("without a controller", "same host", "through the controller")
"""Engines as a script's pool has them, a notebook's, and one that is not on their host."""


NIGHTLY = {KINDS[1]: [pytest.mark.nightly]}
"""It has the streams of the first, and the controller of the last."""


@pytest.fixture(scope="module", params=[pytest.param(kind, marks=NIGHTLY.get(kind, ())) for kind in KINDS])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def path(kind):
    """The transport of messages to the engines."""
    return "controller" if kind == KINDS[2] else "auto"


@pytest.fixture(scope="module")
def pool(kind, path, module_patch):
    """A pool of two engines; at the end nothing of it is left."""
    before = set(psutil.Process().children(recursive=True))
    module_patch.setattr(placement, "in_ipython", lambda: kind == KINDS[1])
    with pytest.MonkeyPatch.context() as patch, nbpar.Pool(2, path=path, progress="none") as pool:
        patch.setattr(engines, "PING_EVERY", 0.3)  # what was lost on the way is noticed soon
        pool.wait()
        yield pool
    assert gone(set(psutil.Process().children(recursive=True)) - before)


@pytest.fixture(scope="module")
def module_patch():
    """What is changed for a module's tests."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(autouse=True)
def usable_again(pool):
    """After every case the pool does its work."""
    yield
    assert pool.map(abs, range(-20, 0)) == list(range(20, 0, -1))


def gone(processes, within=5.0):
    """Whether all processes end in time."""
    _, alive = psutil.wait_procs(processes, timeout=within)
    return not alive
