"""nbpar's engines under ipyparallel's own Cluster, without nbpar's."""

import os
import signal

import ipyparallel
import pytest
from owners import alive

from nbpar.cluster import launchers
from nbpar.cluster.join import connect
from nbpar.cluster.launchers import TemplateControllerLauncher, TemplateEngineSetLauncher
from nbpar.errors import ClusterError
from nbpar.testing import until

pytestmark = pytest.mark.engines


@pytest.fixture
def profile(tmp_path):
    return {"profile_dir": str(tmp_path / "profile"), "log_level": 40, "delay": 0}


@pytest.fixture
def template_of_its_own(monkeypatch):
    """Nobody else in this process uses the template."""
    monkeypatch.setattr(launchers, "_shared", None)
    monkeypatch.setattr(launchers, "_holders", set())


@pytest.mark.usefixtures("template_of_its_own")
def test_controller_and_engines_come_from_one_template(profile):
    cluster = ipyparallel.Cluster(
        n=2, engines=TemplateEngineSetLauncher, controller=TemplateControllerLauncher, **profile
    )
    client = cluster.start_and_connect_sync()
    pids = client[:].apply_sync(os.getpid)
    parents = set(client[:].apply_sync(os.getppid))

    assert len(parents) == 1
    assert connect(cluster)[0].ids == [0, 1]

    client.close()
    cluster.stop_cluster_sync()
    assert not alive([*pids, *parents])


def test_a_dead_engine_is_known_to_the_controller_at_once(profile):
    cluster = ipyparallel.Cluster(
        n=2, engines=TemplateEngineSetLauncher, controller=TemplateControllerLauncher, **profile
    )
    client = cluster.start_and_connect_sync()

    os.kill(client[0].apply_sync(os.getpid), signal.SIGKILL)

    until(lambda: client.ids == [1], 5)
    client.close()
    cluster.stop_cluster_sync()


def test_engines_work_with_ipyparallels_controller(profile):
    cluster = ipyparallel.Cluster(n=1, engines=TemplateEngineSetLauncher, **profile)
    client = cluster.start_and_connect_sync()

    assert client[0].apply_sync(eval, "__import__('sys').argv") == ["ipengine"]

    client.close()
    cluster.stop_cluster_sync()


def test_the_controller_works_with_ipyparallels_engines(profile):
    cluster = ipyparallel.Cluster(n=1, controller=TemplateControllerLauncher, **profile)
    client = cluster.start_and_connect_sync()

    assert client[0].apply_sync(int) == 0

    client.close()
    cluster.stop_cluster_sync()


def test_engines_are_signalled_together(profile):
    cluster = ipyparallel.Cluster(
        n=2, engines=TemplateEngineSetLauncher, controller=TemplateControllerLauncher, **profile
    )
    client = cluster.start_and_connect_sync()
    pids = client[:].apply_sync(os.getpid)

    cluster.signal_engines_sync(signal.SIGKILL)

    until(lambda: not alive(pids), 5)
    client.close()
    cluster.stop_cluster_sync()
    with pytest.raises(ClusterError, match="not running"):
        connect(cluster)
