"""Engines of ipyparallel's launchers, whichever these are, that end and are replaced."""

from __future__ import annotations

import os
import signal
from typing import ClassVar

import pytest
from ipyparallel.cluster.launcher import LocalEngineSetLauncher

import nbpar
from nbpar.cluster.fork_server.preload import LAUNCHED_SETTINGS, LOOPBACK
from nbpar.errors import NoWorkersError
from nbpar.testing import until

pytestmark = pytest.mark.engines

WITHIN = 90


class Launcher(LocalEngineSetLauncher):
    """A launcher that nbpar does not know."""

    started: ClassVar[list[int]] = []
    most_starts = 10

    def start(self, n):
        if len(self.started) == self.most_starts:
            raise OSError("no more nodes")
        self.started.append(n)
        return super().start(n)


@pytest.fixture
def launcher():
    return type("Launcher", (Launcher,), {"started": []})


def test_engines_that_end_are_replaced_whatever_started_them(launcher):
    with nbpar.Cluster(2, engines=launcher) as cluster, nbpar.Pool(cluster=cluster, progress="none") as pool:
        before = {engine.uuid for engine in cluster.engines}
        until(lambda: all(engine.pid for engine in cluster.engines), WITHIN)
        for engine in cluster.engines:
            os.kill(engine.pid, signal.SIGKILL)

        until(lambda: cluster.replaced == 2 and len(cluster.engines) == 2, WITHIN)

        assert not before & {engine.uuid for engine in cluster.engines}
        assert pool.map(abs, range(-3, 0)) == [3, 2, 1]
    assert sum(launcher.started) == 4


def test_an_engine_that_was_given_up_takes_part_again_when_it_answers(launcher):
    settings = [*LAUNCHED_SETTINGS[:-1], LOOPBACK, "--QuickHeartMonitor.silence=2"]
    with (
        nbpar.Cluster(2, engines=launcher, heal=False, controller_args=settings) as cluster,
        nbpar.Pool(cluster=cluster, progress="none") as pool,
    ):
        until(lambda: all(engine.pid for engine in cluster.engines), WITHIN)
        pids = {engine.pid for engine in cluster.engines}
        assert set(pool.each(os.getpid)) == pids
        stopped = cluster.engines[0].pid
        os.kill(stopped, signal.SIGSTOP)
        try:
            until(lambda: len(cluster.engines) == 1, WITHIN)
        finally:
            os.kill(stopped, signal.SIGCONT)

        until(lambda: len(cluster.engines) == 2, WITHIN)
        until(lambda: {engine.pid for engine in cluster.engines} == pids, WITHIN)

        assert pool.map(abs, range(-3, 0)) == [3, 2, 1]
        until(lambda: set(pool.each(os.getpid)) == pids, WITHIN)


def test_without_heal_they_are_not(launcher):
    with nbpar.Cluster(2, engines=launcher, heal=False) as cluster:
        until(lambda: all(engine.pid for engine in cluster.engines), WITHIN)
        os.kill(cluster.engines[0].pid, signal.SIGKILL)

        until(lambda: len(cluster.engines) == 1, WITHIN)

        assert not cluster.heals
        assert cluster.coming == 0
    assert launcher.started == [2]


def test_a_launcher_that_can_start_no_others_is_named_with_its_words(launcher):
    launcher.most_starts = 1
    with nbpar.Cluster(1, engines=launcher) as cluster, nbpar.Pool(cluster=cluster, progress="none") as pool:
        assert pool.map(abs, [-1]) == [1]
        until(lambda: all(engine.pid for engine in cluster.engines), WITHIN)
        with pytest.raises(NoWorkersError, match=r"could not be replaced: .*no more nodes"):
            pool.map(lambda _: os._exit(1), [1])

        launcher.most_starts = 10
        assert pool.map(abs, [-1]) == [1]
