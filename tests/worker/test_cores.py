"""Threads that leave a core to another."""

import os
import subprocess
import sys

import pytest

from nbpar.worker import cores as module
from nbpar.worker.cores import avoid, core_of, cores

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not tell")


def test_the_core_of_a_process_is_one_that_it_may_use():
    assert core_of(os.getpid()) in os.sched_getaffinity(0)
    assert cores() == len(os.sched_getaffinity(0))


def test_a_process_that_is_gone_has_none():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()

    assert core_of(gone.pid) is None


def test_who_avoids_a_core_leaves_it_and_may_come_back(monkeypatch):
    asked = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5})
    monkeypatch.setattr(os, "sched_setaffinity", lambda who, where: asked.append((who, where)))

    avoid(1)

    assert asked == [(0, {0, 5}), (0, {0, 1, 5})]


def test_the_only_core_is_not_left(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: pytest.fail("there is no other"))

    avoid(3)


def test_where_it_is_forbidden_it_stays(monkeypatch):
    def forbid(*_):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", forbid)

    module.avoid(core_of(os.getpid()))


def test_avoiding_changes_nothing_for_long():
    before = os.sched_getaffinity(0)

    avoid(core_of(os.getpid()))

    assert os.sched_getaffinity(0) == before
