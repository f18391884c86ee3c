"""A pool that every case must leave usable, and processes that must be gone at the end."""

from __future__ import annotations

import os
import time

import psutil
import pytest

import nbpar

PATHS = ("auto", "controller")


@pytest.fixture(scope="module", params=PATHS, ids=["same host", "through the controller"])
def pool(request):
    """A pool of two engines; at the end nothing of it is left."""
    before = set(psutil.Process().children(recursive=True))
    with nbpar.Pool(2, path=request.param, progress="none") as pool:
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


def until(true, within=20.0):
    """Wait until something is true; fail when it does not become so."""
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        os.sched_yield()
        time.sleep(0.005)


def family(pool):
    """The pool's template, controller and engines, by role, when none is coming or going."""
    roles = {}

    def complete():
        engines = set(pool.each(os.getpid))
        children = psutil.Process().children(recursive=True)
        parents = {process.pid: process.ppid() for process in children}
        templates = {parents[pid] for pid in engines if pid in parents}
        others = [p.pid for p in children if p.ppid() in templates and p.pid not in engines]
        if len(templates) == len(others) == 1:
            roles.update(template=templates.pop(), controller=others[0], engine=min(engines))
        return bool(roles)

    until(complete)
    return roles
