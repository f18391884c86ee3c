"""Joining existing clusters, and quick errors for those that do not exist."""

import json
import os
import shutil
import socket
import threading

import pytest

import nbpar
from nbpar.cluster.cluster import Cluster
from nbpar.cluster.join import connect
from nbpar.dispatch import workforce as patience
from nbpar.errors import ClusterError
from nbpar.testing import Gate

pytestmark = pytest.mark.engines


@pytest.fixture
def file(shared):
    return shared.directory / "profile" / "security" / "ipcontroller-client.json"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An IPython folder of its own."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    return tmp_path


def test_a_cluster_lends_its_client(shared):
    client, owned = connect(shared)

    assert client is shared.client
    assert not owned


def test_a_cluster_that_does_not_run_is_started():
    cluster = Cluster(1)
    client, owned = connect(cluster)

    assert client.ids == [0]
    assert not owned
    cluster.stop()


def test_a_client_stays_the_users(shared):
    assert connect(shared.client) == (shared.client, False)


@pytest.mark.parametrize("workers", [None, 7])
def test_a_pool_has_as_many_workers_as_the_cluster_that_it_joins(shared, workers):
    with nbpar.Pool(workers, cluster=shared.client) as pool:
        assert repr(pool) == "<nbpar.Pool: the engines of a cluster>"
        assert pool.size == len(pool.workers) == 2


def test_a_connection_file_gives_a_client_of_our_own(shared, file):
    for path in (file, str(file)):
        client, owned = connect(path)
        assert owned
        assert len(client.ids) == 2
        client.close()


def test_a_profile_gives_a_client_of_our_own(shared, file, home):
    security = home / "profile_mine" / "security"
    security.mkdir(parents=True)
    shutil.copy(file, security / "ipcontroller-some-id-client.json")

    client, owned = connect("mine")

    assert owned
    assert client[0].apply_sync(os.getpid) == shared.engines[0].pid
    client.close()


def test_a_missing_profile_is_named_with_those_there_are(home):
    (home / "profile_default").mkdir()

    with pytest.raises(ClusterError, match=r"no IPython profile 'mine' in .*; there are \['default'\]"):
        connect("mine")


def test_a_profile_without_a_cluster_says_how_to_start_one(home):
    (home / "profile_mine").mkdir()

    with pytest.raises(ClusterError, match=r"no cluster runs.*`ipcluster start --profile=mine`"):
        connect("mine")


def test_a_missing_file_is_named():
    with pytest.raises(ClusterError, match=r"no connection file '/gone/x\.json'"):
        connect("/gone/x.json")


def test_a_file_that_is_no_connection_file_is_refused(tmp_path):
    (tmp_path / "x.json").write_text("no json")
    (tmp_path / "y.json").write_text("[1]")

    with pytest.raises(ClusterError, match=r"x\.json' is not a connection file"):
        connect(tmp_path / "x.json")
    with pytest.raises(ClusterError, match="it lacks 'interface'"):
        connect(tmp_path / "y.json")


def test_an_engines_connection_file_is_told_apart(file):
    with pytest.raises(ClusterError, match=r"take the one that ends in -client\.json"):
        connect(file.with_name("ipcontroller-engine.json"))


def test_a_stale_file_does_not_hang(tmp_path, file):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stale = tmp_path / "stale.json"
    stale.write_text(json.dumps({**json.loads(file.read_text()), "registration": port}))

    with pytest.raises(ClusterError, match=f"nothing listens at 127.0.0.1:{port}.*start it again"):
        connect(stale)


def test_a_port_that_somebody_else_has_now_does_not_hang(tmp_path, file):
    with socket.create_server(("127.0.0.1", 0)) as other:
        stale = tmp_path / "stale.json"
        content = {**json.loads(file.read_text()), "registration": other.getsockname()[1]}
        stale.write_text(json.dumps(content))

        with pytest.raises(ClusterError, match="does not answer as its controller"):
            connect(stale, timeout=1)


def test_a_closed_client_is_refused(file):
    client, _ = connect(file)
    client.close()

    with pytest.raises(ClusterError, match="the ipyparallel Client is closed"):
        connect(client)


def test_an_ipyparallel_cluster_that_does_not_run_is_refused():
    import ipyparallel

    with pytest.raises(ClusterError, match="call its `start_cluster_sync"):
        connect(ipyparallel.Cluster(n=1))


@pytest.mark.parametrize("wrong", [3, None, b"profile", ["profile"]])
def test_something_else_is_refused(wrong):
    with pytest.raises(TypeError, match=r"cluster must be an nbpar.Cluster.*was (int|NoneType|bytes|list)"):
        connect(wrong)


def test_joining_from_several_threads_is_safe(shared):
    found = []
    threads = [threading.Thread(target=lambda: found.append(connect(shared)[0])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [shared.client] * 4


def test_a_run_waits_for_engines_that_are_busy_with_something_else(shared, monkeypatch):
    monkeypatch.setattr(patience, "PATIENCE", 0.1)
    gate = Gate()
    busy = shared.client[:].apply_async(gate.wait)
    gate.until_waiting(2)

    with nbpar.Pool(cluster=shared.client, progress="none") as pool:
        run = pool.map_async(abs, [-1])
        over_too_soon = run.is_over_within(1.0)
        gate.open()

        assert not over_too_soon
        assert run.get(60) == [1]
    assert busy.get() == [None, None]
