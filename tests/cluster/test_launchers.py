"""nbpar's engines under ipyparallel's own Cluster, without nbpar's."""

import os
import signal
from contextlib import ExitStack

import ipyparallel
import pytest
from owners import alive

from nbpar.cluster import launchers
from nbpar.cluster.join import connect
from nbpar.cluster.launchers import ForkServerControllerLauncher, ForkServerEngineSetLauncher
from nbpar.errors import ClusterError
from nbpar.testing import until

pytestmark = pytest.mark.engines

OURS = {"n": 2, "engines": ForkServerEngineSetLauncher, "controller": ForkServerControllerLauncher}


@pytest.fixture
def started(tmp_path):
    """Return what starts a cluster with a client, and what stops both; at the test's end they are stopped."""
    profile = {"profile_dir": str(tmp_path / "profile"), "log_level": 40, "delay": 0}
    with ExitStack() as ends:

        def start(**options):
            cluster = ipyparallel.Cluster(**options, **profile)
            ends.callback(cluster.stop_cluster_sync)
            client = cluster.start_and_connect_sync()
            ends.callback(client.close)
            return cluster, client, ends.close

        yield start


@pytest.fixture
def template_of_its_own(monkeypatch):
    """Nothing else in this process uses the template."""
    monkeypatch.setattr(launchers, "_shared", None)
    monkeypatch.setattr(launchers, "_holders", set())


@pytest.mark.usefixtures("template_of_its_own")
def test_controller_and_engines_come_from_one_template(started):
    cluster, client, stop = started(**OURS)
    pids = client[:].apply_sync(os.getpid)
    parents = set(client[:].apply_sync(os.getppid))

    assert len(parents) == 1
    assert connect(cluster)[0].ids == [0, 1]

    stop()
    assert not alive([*pids, *parents])


def test_a_dead_engine_is_known_to_the_controller_at_once(started):
    _, client, _ = started(**OURS)

    os.kill(client[0].apply_sync(os.getpid), signal.SIGKILL)

    until(lambda: client.ids == [1])


def test_engines_work_with_ipyparallels_controller(started):
    _, client, _ = started(n=1, engines=ForkServerEngineSetLauncher)

    assert client[0].apply_sync(eval, "__import__('sys').argv") == ["ipengine"]


def test_the_controller_works_with_ipyparallels_engines(started):
    _, client, _ = started(n=1, controller=ForkServerControllerLauncher)

    assert client[0].apply_sync(int) == 0


def test_engines_are_signalled_together(started):
    cluster, client, stop = started(**OURS)
    pids = client[:].apply_sync(os.getpid)

    cluster.signal_engines_sync(signal.SIGKILL)

    until(lambda: not alive(pids))
    stop()
    with pytest.raises(ClusterError, match="not running"):
        connect(cluster)
