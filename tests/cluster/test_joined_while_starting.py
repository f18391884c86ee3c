"""Joining a cluster of ipyparallel that was started just now: its engines register some seconds later."""

import json
import os
import subprocess
import sys
import threading
import time
from functools import partial
from types import SimpleNamespace

import pytest
from traitlets.config import Config

import nbpar
from nbpar.cluster import registration
from nbpar.cluster.join import await_its_engines
from nbpar.cluster.registration import Starting, await_engines, of_cluster, of_file
from nbpar.errors import ClusterError

GONE = 2**22 + 1
"""No process has this number."""


@pytest.fixture
def cluster(tmp_path):
    """Make clusters of ipyparallel's own engines, started without waiting for these."""
    import ipyparallel

    made = []

    def start(n, **launcher):
        config = Config()
        config.EngineLauncher.update(launcher)
        made.append(ipyparallel.Cluster(
            n=n, controller="nbpar", profile_dir=str(tmp_path / "profile"), cluster_id="", log_level=40,
            delay=0.0, config=config, load_profile=False,
        ))  # fmt: skip
        return made[-1].start_cluster_sync()

    yield start
    for each in made:
        each.stop_cluster_sync()


@pytest.mark.engines
def test_a_cluster_that_was_started_just_now_is_used_with_all_its_engines(cluster):
    started = cluster(2)

    with nbpar.use(started) as used:
        assert used.size == 2
        assert nbpar.map(abs, [-1, -2]) == [1, 2]


@pytest.mark.engines
def test_engines_that_end_before_they_register_are_not_awaited(cluster):
    started = cluster(2, engine_cmd=[sys.executable, "-c", "raise SystemExit('there is no GPU')"])

    with nbpar.Pool(cluster=started) as pool:
        with pytest.raises(
            ClusterError, match="the ipyparallel Cluster has no engine: all that it has started have"
        ):
            pool.wait()
        with pytest.raises(ClusterError, match="there is no GPU"):
            pool.map(abs, [-1])


@pytest.mark.engines
def test_a_pool_that_waits_for_engines_can_be_closed(cluster):
    started = cluster(1, engine_cmd=[sys.executable, "-c", "import time; time.sleep(1000)"])
    pool = nbpar.Pool(cluster=started)
    waiting = threading.Thread(target=partial(pytest.raises, nbpar.PoolClosedError, pool.wait))
    waiting.start()

    pool.close()

    waiting.join(60)
    assert not waiting.is_alive()


class Client:
    """One whose engines come when `more` says so."""

    def __init__(self, more=lambda: (), ids=()):
        self._more = more
        self.ids = list(ids)
        self._engines = {}
        self._registration_callbacks = []
        self._query_stream = None
        self._io_loop = SimpleNamespace(add_callback=lambda _: self.ids.extend(self._more()))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(registration, "LOOK", 0.001)
    monkeypatch.setattr(registration, "ASK_AGAIN", 0.0)
    monkeypatch.setattr(registration, "TELL_AFTER", 0.0)


def never():
    return False


def test_what_is_waited_for_is_said(caplog):
    client = Client(lambda: [len(client.ids)] if len(client.ids) < 3 else [])
    since = time.time()

    await_engines(client, "the cluster 'w'", lambda: Starting(3, since=since), never)

    assert len(client.ids) == 3
    [record] = caplog.records
    assert record.message.startswith(
        "waiting for the cluster 'w' to have 3 engines, of which it has 0, for up"
    )


def test_a_client_that_somebody_made_by_hand_waits_for_its_first_engine():
    client = Client(lambda: [7])

    await_its_engines(client, client, never)

    assert client.ids


def test_engines_that_have_ended_are_not_waited_for():
    await_engines(Client(ids=[0, 1]), "it", lambda: Starting(3, ended=1), never)


def test_engines_that_do_not_come_are_not_waited_for_when_their_time_is_over(caplog):
    await_engines(Client(ids=[0]), "it", lambda: Starting(3, since=1.0), never)
    assert not caplog.records

    since = time.time()
    await_engines(Client(ids=[0]), "it", lambda: Starting(3, since=since, timeout=0.05), never)
    assert caplog.records[-1].message == "it has 1 of 3 engines; the others were not awaited"

    await_engines(Client(ids=[0]), "it", lambda: Starting(3, since=since + 1e6, timeout=0.05), never)


def test_a_cluster_none_of_whose_engines_comes_in_time_is_an_error():
    with pytest.raises(
        ClusterError, match=r"it has no engine: none of its 3 engines has registered within 0.0"
    ):
        await_engines(Client(), "it", lambda: Starting(3, since=1.0, timeout=0.01), never)


def test_a_cluster_of_which_nothing_is_known_is_waited_for_while_it_is_young():
    client = Client(lambda: [0])
    await_engines(client, "it", lambda: Starting(since=time.time()), never)
    assert client.ids == [0]

    await_engines(Client(), "it", Starting, never)
    await_engines(Client(), "it", lambda: Starting(since=time.time()), lambda: True)


def launchers(**states):
    return {name: SimpleNamespace(state=state) for name, state in states.items()}


def cluster_with(*sets, n=None):
    return SimpleNamespace(engines=dict(enumerate(sets)), n=n, cluster_file="/gone", engine_timeout=7)


def engines(n, state="running", **more):
    return SimpleNamespace(n=n, state=state, get_output=lambda: "the end", **more)


def test_a_cluster_object_tells_of_its_engines():
    assert of_cluster(cluster_with(n=4)) == Starting(4, timeout=7)
    assert of_cluster(cluster_with()) == Starting(timeout=7)
    assert of_cluster(cluster_with(engines(3), n=9)) == Starting(3, timeout=7)
    assert of_cluster(cluster_with(engines(3, "after"), engines(2))) == Starting(
        5, 3, 0.0, 7, "the end\nthe end"
    )
    assert of_cluster(cluster_with(engines(3, living=1))).ended == 2
    assert of_cluster(cluster_with(engines(2, launchers=launchers(a="running", b="after")))).ended == 1
    assert of_cluster(cluster_with(engines(2, launchers=launchers(a="running")))).ended == 1


def write(folder, pid, pids, *, kind="local", n=2, name="cluster-x.json"):
    sets = {"1": {"n": len(pids), "engines": {str(pid): {"pid": pid} for pid in pids}}} if pids else {}
    content = {
        "cluster": {"n": n},
        "controller": {"state": {"pid": pid}},
        "engines": {"class": kind, "sets": sets},
    }
    (folder / name).write_text(json.dumps(content))


@pytest.fixture
def connection(tmp_path):
    file = tmp_path / "ipcontroller-x-client.json"
    file.write_text("{}")
    return file


@pytest.fixture
def controller():
    process = subprocess.Popen([sys.executable, "-c", "input()", "ipcontroller"], stdin=subprocess.PIPE)
    yield process.pid
    process.kill()
    process.communicate()


def test_the_file_of_a_cluster_tells_of_its_engines(tmp_path, connection, controller):
    write(tmp_path, controller, [os.getpid(), GONE])

    known = of_file(connection)

    assert (known.number, known.ended) == (2, 1)
    assert known.since == (tmp_path / "cluster-x.json").stat().st_mtime


def test_processes_of_another_host_are_not_looked_for(tmp_path, connection, controller):
    write(tmp_path, os.getpid(), [GONE, GONE + 1])
    assert (of_file(connection).number, of_file(connection).ended) == (2, 0)

    write(tmp_path, GONE, [GONE, GONE + 1])
    assert of_file(connection).ended == 0

    write(tmp_path, controller, [GONE, GONE + 1], kind="slurm")
    assert of_file(connection).ended == 0


def test_the_file_of_a_cluster_without_a_name_is_found(tmp_path):
    connection = tmp_path / "ipcontroller-client.json"  # as `ipcluster start` names them
    connection.write_text("{}")
    write(tmp_path, GONE, [GONE], name="cluster-.json")

    assert of_file(connection).number == 1


def test_a_cluster_that_has_not_started_its_engines_tells_how_many_there_will_be(tmp_path, connection):
    write(tmp_path, GONE, [], n=4)

    assert of_file(connection).number == 4


def test_without_the_file_of_a_cluster_the_age_of_its_connection_file_is_known(tmp_path, connection):
    written = connection.stat().st_mtime
    assert of_file(connection) == Starting(since=written)

    (tmp_path / "cluster-x.json").write_text("[]")
    assert of_file(connection) == Starting(since=written)

    write(tmp_path, GONE, [GONE])
    os.utime(tmp_path / "cluster-x.json", (1.0, 1.0))  # of a cluster that ran before
    assert of_file(connection) == Starting(since=written)
    assert of_file(tmp_path / "ipcontroller-gone-client.json") == Starting()


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
def test_the_clock_of_the_host_that_keeps_the_files_may_differ(tmp_path, monkeypatch, ahead):
    registration._clock_ahead.cache_clear()
    here = time.time
    (tmp_path / "ipcontroller-client.json").touch()
    monkeypatch.setattr(registration.time, "time", lambda: here() - ahead)

    known = of_file(tmp_path / "ipcontroller-client.json")

    assert abs(known.since - time.time()) < 600
