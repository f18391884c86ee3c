"""`nbpar.use` with a cluster of ipyparallel that runs on its own."""

from __future__ import annotations

import os
import socket
import threading

import ipyparallel
import joblib
import pytest
from joblib import Parallel, delayed

import nbpar
from nbpar.errors import ClusterError, NoWorkersError
from nbpar.notebook.commands import Commands
from nbpar.pool import defaults
from nbpar.testing import Gate

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An IPython folder of its own, where the cluster's profile is."""
    before = os.environ.get("IPYTHONDIR")
    os.environ["IPYTHONDIR"] = str(made := tmp_path_factory.mktemp("ipython"))
    yield made
    if before is None:
        del os.environ["IPYTHONDIR"]
    else:
        os.environ["IPYTHONDIR"] = before


def _start(folder):
    cluster = ipyparallel.Cluster(
        n=2, engines="nbpar", controller="nbpar", profile_dir=str(folder / "profile_elsewhere"), log_level=40
    )
    cluster.start_cluster_sync()
    return cluster


@pytest.fixture(scope="module")
def theirs(folder):
    cluster = _start(folder)
    yield cluster
    cluster.stop_cluster_sync()


@pytest.fixture(scope="module")
def client(theirs):
    with theirs.connect_client_sync() as client:
        client.wait_for_engines(2, timeout=60)
        yield client


@pytest.fixture
def there(client):
    """The processes of its engines."""
    return set(client[:].apply_sync(os.getpid))


@pytest.fixture(autouse=True)
def fresh():
    defaults.close_default_pools()
    yield
    defaults.close_default_pools()


def process(_=None):
    return os.getpid()


def pairs(n):
    return n, os.getpid()


@pytest.mark.parametrize("kind", ["profile", "file", "cluster", "client"])
def test_it_is_found_by_its_profile_its_file_and_its_objects(theirs, client, there, folder, kind):
    (file,) = (folder / "profile_elsewhere" / "security").glob("ipcontroller*-client.json")
    place = {"profile": "elsewhere", "file": file, "cluster": theirs, "client": client}[kind]

    with nbpar.use(place) as used:
        assert used.size == 2
        assert set(nbpar.map(process, range(8), chunksize=1)) <= there
        assert set(nbpar.each(process)) == there
        assert defaults.default_pools() == []

    assert defaults.used_place() is None
    assert used.closed
    assert set(client[:].apply_sync(os.getpid)) == there


@pytest.fixture
def command():
    return Commands(defaults, dict).nbpar


def test_hosts_and_processes_are_known_of_engines_that_have_not_been_used_and_are_busy(
    client, there, command
):
    gate = Gate()
    busy = client[:].apply_async(gate.wait)
    gate.until_waiting(2)
    if ipyparallel.version_info < (9,):  # its engines have no thread for the control queue
        gate.open()

    with nbpar.use(client) as used:
        rows = command("").rows
        assert {int(pid) for _, _, pid, *_ in rows} == there
        assert {worker["host"] for worker in used.workers} == {socket.gethostname()}

        gate.open()
        busy.get(60)
        nbpar.map(process, range(2))
        assert {worker["pid"] for worker in used.workers} == there


def test_a_restart_says_that_it_leaves_the_engines_as_they_are(client, there, command):
    with nbpar.use(client) as used:
        assert used.joined

        shown = repr(command("restart"))

        assert shown.startswith("connected anew: the engines are not nbpar's and keep their imports")
        assert "calls run on the engines of an ipyparallel Client: 2 workers on " in shown
        assert set(nbpar.each(process)) == there


def test_stop_leaves_the_cluster_and_says_so(client, there, command):
    used = nbpar.use(client)

    shown = repr(command("stop"))

    assert shown.startswith("no longer used: the engines of an ipyparallel Client; calls run on the")
    assert used.closed
    assert set(client[:].apply_sync(os.getpid)) == there


def test_a_second_use_of_its_pool_does_not_close_it(client, there):
    used = nbpar.use(client)

    for place in (used, used.pool):
        with nbpar.use(place):
            assert set(nbpar.map(process, range(2))) <= there

    assert set(nbpar.map(process, range(2))) <= there


def test_programs_of_joblib_run_there(client, there):
    nbpar.register_joblib()

    with nbpar.use(client), joblib.parallel_config(backend="nbpar"):
        for jobs in (2, 5, -1):
            assert set(Parallel(n_jobs=jobs)(delayed(process)(n) for n in range(8))) <= there
        assert joblib.effective_n_jobs(5) == joblib.effective_n_jobs(-1) == 2
        assert Parallel(n_jobs=1)(delayed(process)(n) for n in range(2)) == [os.getpid()] * 2


def test_programs_of_other_systems_run_there(client, there):
    from nbpar.compat.gluonnlp import Parallel as GluonParallel
    from nbpar.compat.gluonnlp import Parallelizable
    from nbpar.compat.neuraxle.engines import engines
    from nbpar.compat.pyblaze import Vectorizer

    class Where(Parallelizable):
        def forward_backward(self, _):
            return os.getpid()

    with nbpar.use(client) as used:
        assert set(Vectorizer(process, num_workers=4).process(range(8))) <= there
        with GluonParallel(1, Where(), serial_init=False, backend="engines") as parallel:
            for n in range(6):
                parallel.put(n)
            found = {parallel.get(60) for _ in range(6)}
        assert len(found) == 1
        assert found <= there
        assert engines.pool(4, []) is used.pool
        assert not used.closed


def test_a_pipeline_runs_there(client, there):
    with nbpar.use(client), nbpar.Pipeline([pairs, nbpar.Stage(list, workers=4)], batch_size=2) as pipeline:
        found = pipeline.map(range(10))

    assert [n for n, _ in found] == list(range(10))
    assert {pid for _, pid in found} <= there


def test_a_cluster_of_nbpars_is_started_by_the_first_call_and_stays_its_owners():
    cluster = nbpar.Cluster(1)
    try:
        with nbpar.use(cluster):
            found = nbpar.map(process, range(2))

        assert {engine.pid for engine in cluster.engines} == set(found)
    finally:
        cluster.stop()


def test_a_url_is_a_cluster_that_is_started_for_this_use_and_stopped_after_it(monkeypatch):
    made = []

    def ssh(hosts):
        made.append((hosts, nbpar.Cluster(1)))
        return made[-1][1]

    monkeypatch.setattr(nbpar.Cluster, "ssh", staticmethod(ssh))

    with nbpar.use("ssh://ann@gpu01:2222"):
        [(hosts, cluster)] = made
        assert hosts == "ssh://ann@gpu01:2222"
        assert set(nbpar.map(process, range(2))) == {engine.pid for engine in cluster.engines}

    assert not cluster.running


def test_what_comes_later_takes_its_place_and_no_thread_of_the_first_stays(client):
    before = set(threading.enumerate())

    for _ in range(3):
        nbpar.use(client)
        assert nbpar.map(abs, [-1]) == [1]
    nbpar.use(None)
    defaults.close_default_pools()

    left = [thread for thread in threading.enumerate() if thread not in before]
    for thread in left:
        thread.join(30)
    assert not [thread for thread in left if thread.is_alive()]


def test_a_cluster_that_has_ended_is_told_and_one_that_is_started_again_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    cluster = _start(tmp_path)
    nbpar.use("elsewhere")
    nbpar.map(abs, [-1])

    cluster.stop_cluster_sync()

    with pytest.raises((NoWorkersError, ClusterError), match="does not run any more"):
        nbpar.map(abs, [-1])
    with pytest.raises(ClusterError, match="no cluster runs for the profile 'elsewhere'; start one"):
        nbpar.map(abs, [-1])

    cluster = _start(tmp_path)
    try:
        assert nbpar.map(abs, [-2]) == [2]
    finally:
        nbpar.use(None)
        cluster.stop_cluster_sync()
