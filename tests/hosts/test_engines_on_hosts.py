"""Engines on other hosts, through nothing but ssh."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from stage import PASSPHRASE

import nbpar
from nbpar.backends.engines import liveness
from nbpar.cluster.remote import deployment
from nbpar.errors import ClusterError
from nbpar.testing import until


def where():
    return socket.gethostname()


def test_engines_do_not_need_nbpar(ssh, without_nbpar):
    with nbpar.Pool(cluster=ssh(["one:2"], python=without_nbpar)) as pool:
        files = pool.map(lambda _: sys.modules["nbpar"].__file__, range(2))

    assert set(files) == {"<sent>/nbpar/__init__.py"}


def test_an_engine_that_dies_is_replaced_on_its_host(ssh):
    cluster = ssh({"one": 1, "two": 1})
    with nbpar.Pool(cluster=cluster) as pool:
        results = pool.map(lambda i: os._exit(3) if i == 2 else i, range(6), chunksize=1, errors="collect")
        until(lambda: len(cluster.engines) == 2, 60)

    assert [failure.index for failure in results.failures] == [2]
    assert "exit code 3" in str(results.failures[0].exception)
    assert sorted(engine.host for engine in cluster.engines) == ["one", "two"]


def test_one_engine_can_be_restarted(ssh):
    cluster = ssh({"one": 1, "two": 1})
    first, second = cluster.engines

    cluster.restart(first)

    assert second in cluster.engines
    assert len(cluster.engines) == 2
    assert cluster.replaced == 1


def test_a_cluster_grows_and_shrinks(ssh):
    cluster = ssh({"one": 1, "two": 1})

    cluster.resize(4)
    large = sorted(engine.host for engine in cluster.engines)
    cluster.resize(1)

    assert large == ["one", "one", "two", "two"]
    assert len(cluster.engines) == 1


def test_a_host_without_a_number_gets_an_engine_for_each_cpu(ssh):
    cluster = ssh(["one"])

    cpus = cluster.client[0].apply_sync(lambda: len(__import__("os").sched_getaffinity(0)))

    assert cluster.n == len(cluster.engines)
    assert 1 <= cluster.n <= cpus


def test_engines_have_the_environment_and_folder_that_are_asked_for(ssh, stage):
    cluster = ssh(["one:1"], env={"COLOR": "blue"}, cwd=str(stage.folder))

    found = cluster.client[0].apply_sync(
        lambda: (__import__("os").environ["COLOR"], __import__("os").getcwd())
    )

    assert found == ("blue", str(stage.folder))


def test_the_name_ssh_leads_here_too(stage, ssh):
    cluster = nbpar.Cluster(3, engines="ssh", hosts=["one", "two"], command=stage.command, start_timeout=100)

    with cluster:
        hosts = sorted(engine.host for engine in cluster.engines)

    assert hosts == ["one", "one", "two"]


def test_nothing_is_left_when_the_owner_is_killed(stage):
    program = (
        "import nbpar, time\n"
        f"cluster = nbpar.Cluster.ssh(['one:2', 'two:1'], command={stage.command!r}).start()\n"
        "pool = nbpar.Pool(cluster=cluster)\n"
        "run = pool.map_async(time.sleep, [600] * 9, progress='none')\n"
        "pool.map_async(abs, [1], progress='none')\n"
        "print('running', flush=True)\n"
        "run.get()\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        with owner.stdout:
            assert owner.stdout.readline() == "running\n"
        assert all(stage.programs(name) for name in stage.names)
    finally:
        owner.kill()
        owner.wait()

    for name in stage.names:
        until(lambda name=name: not stage.programs(name), 30)
        assert stage.left_on(name) == []
    until(lambda: not stage.clients, 30)


def test_a_short_cut_costs_nothing(ssh, stage):
    cluster = ssh({"one": 1, "two": 1})
    before = {engine.uuid for engine in cluster.engines}
    with nbpar.Pool(cluster=cluster) as pool:
        pool.map(abs, range(4))
        stage.cut("one")
        mending = threading.Timer(3.0, stage.mend, ["one"])
        mending.start()
        results = pool.map(lambda i: (time.sleep(0.1), i)[1], range(60), chunksize=1)
        mending.join()

    assert results == list(range(60))
    assert {engine.uuid for engine in cluster.engines} == before


@pytest.fixture
def soon(monkeypatch):
    """Silence is noticed soon."""
    monkeypatch.setattr(liveness, "ASK_AFTER", 0.4)
    monkeypatch.setattr(liveness, "SILENT_AFTER", 1.5)


@pytest.mark.usefixtures("soon")
def test_what_runs_on_a_host_that_does_not_answer_is_begun_elsewhere(ssh, stage):
    cluster = ssh({"one": 1, "two": 1})
    before = {engine.uuid for engine in cluster.engines}
    with nbpar.Pool(cluster=cluster) as pool:
        pool.map(abs, range(4))
        gate = stage.folder / "gate"
        run = pool.map_async(lambda i: (wait_for(gate) if i == 0 else i, where())[1], range(30), chunksize=1)
        until(lambda: run.snapshot.done == 29)
        hosts = {lane.worker: lane.host for lane in run.snapshot.lanes}
        [busy] = [lane.worker for lane in run.snapshot.lanes if lane.state == "busy"]
        stage.cut(hosts[busy])
        try:
            until(lambda: run.snapshot.silent_workers, 60)
            gate.touch()
            results = run.get(60)
        finally:
            stage.mend(hosts[busy])
        until(lambda: set(pool.each(where)) == {"one", "two"}, 100)

    assert results[0] != hosts[busy]
    assert {engine.uuid for engine in cluster.engines} == before
    assert cluster.replaced == 0


def wait_for(file):
    for _ in range(6000):
        if file.exists():
            return
        time.sleep(0.01)


@pytest.mark.usefixtures("soon")
def test_an_engine_that_holds_the_interpreter_is_not_silent(ssh):
    states = set()
    with nbpar.Pool(cluster=ssh(["one:2"])) as pool:
        run = pool.map_async(lambda i: ctypes.PyDLL(None).sleep(3 * (i == 0)), range(2), chunksize=1)
        until(lambda: run.done or states.update(lane.state for lane in run.snapshot.lanes), 60)

    assert run.get() == [0, 0]
    assert "silent" not in states


def test_a_lost_connection_costs_its_items_one_try_and_the_host_comes_back(ssh, stage):
    cluster = ssh({"one": 1, "two": 1})
    before = {engine.uuid for engine in cluster.engines if engine.host == "two"}
    with nbpar.Pool(cluster=cluster) as pool:
        pool.map(abs, range(4))
        run = pool.map_async(lambda i: (time.sleep(0.1), i)[1], range(100), chunksize=1)
        until(lambda: run.snapshot.done > 3)
        relays = [pid for pid in stage.pids("one") if "exec(" in command_line(pid)]
        os.kill(min(relays), signal.SIGKILL)
        results = run.get(120)
        until(lambda: len(cluster.engines) == 2, 60)

    assert results == list(range(100))
    assert before < {engine.uuid for engine in cluster.engines}
    assert sorted(engine.host for engine in cluster.engines) == ["one", "two"]


LOSSES = {
    "the host does not answer": (lambda stage: stage.cut("one"), lambda stage: stage.mend("one")),
    "the notebook moves": (lambda stage: stage.move(250), lambda stage: stage.move(1)),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_host_that_is_silent_for_long_is_given_up_and_comes_back(ssh, stage, loss):
    lose, restore = LOSSES[loss]
    reasons = []
    cluster = ssh({"one": 2}, give_up_after=2)
    before = {engine.uuid for engine in cluster.engines}
    cluster.on_death(lambda _, reason: reasons.append(reason))
    with nbpar.Pool(cluster=cluster) as pool:
        run = pool.map_async(lambda i: (time.sleep(0.05), i)[1], range(80), chunksize=1)
        until(lambda: run.snapshot.done > 3)
        lose(stage)
        try:
            until(lambda: len(reasons) == 2, 60)
        finally:
            restore(stage)
        results = run.get(120)
        until(lambda: len(cluster.engines) == 2, 60)

    assert results == list(range(80))
    assert set(reasons) == {"the connection to one ended: it has been silent for 2 s"}
    assert not before & {engine.uuid for engine in cluster.engines}
    assert cluster.replaced == 2


def test_nothing_is_left_on_a_host_that_cannot_be_told_that_the_owner_was_killed(stage):
    program = (
        "import nbpar\n"
        f"cluster = nbpar.Cluster.ssh(['one:2'], command={stage.command!r}, give_up_after=2).start()\n"
        "pool = nbpar.Pool(cluster=cluster)\n"
        "pool.map(abs, range(4), progress='none')\n"
        "print('running', flush=True)\n"
        "input()\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        with owner.stdout, owner.stdin:
            assert owner.stdout.readline() == "running\n"
            stage.cut("one")
            owner.kill()
            owner.wait()
        until(lambda: not stage.programs("one"), 30)
    finally:
        stage.mend("one")
        owner.kill()
        owner.wait()

    assert stage.left_on("one") == []


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def test_a_stopped_cluster_can_be_started_again(ssh):
    cluster = ssh(["one:1"])
    cluster.stop()

    cluster.start()

    assert cluster.client[:].apply_sync(where) == ["one"]


def test_two_names_may_lead_to_one_host(ssh):
    cluster = ssh({"one": 1, "root@one": 1})

    assert cluster.client[:].apply_sync(where) == ["one", "one"]


@pytest.mark.parametrize("user", ["dash", "chatty"])
def test_login_shells_may_be_others_and_talk(ssh, user):
    cluster = ssh([f"{user}@one:1"])

    assert cluster.client[:].apply_sync(where) == ["one"]


REFUSALS = {
    "nowhere": "ssh: connect to host .* port 22: ",
    "refused": r"Permission denied .*`ssh -F \S+ refused true` must work without a password",
    "unknown": r"Host key verification failed.*run `ssh -F \S+ unknown` once in a terminal",
    "closed@one": "This account is currently not available",
}


@pytest.mark.parametrize("host", REFUSALS)
def test_a_host_that_refuses_is_named_with_its_own_words(ssh, host):
    began = time.monotonic()

    with pytest.raises(ClusterError, match=rf"cannot start engines on {host}: .*{REFUSALS[host]}"):
        ssh([f"{host}:1"], start_timeout=300)

    assert time.monotonic() - began < 200


@pytest.fixture
def disk_of_one(stage):
    """Change how a disk of the host `one` is mounted, until the test is over."""
    changed = []

    def change(folder, option):
        changed.append(folder)
        stage.ssh("one", f"mount -o remount,{option} {folder}")

    yield change
    for folder in changed:
        stage.ssh("one", f"rm -f {folder}/filler; mount -o remount,rw,size=50% {folder}")


def test_a_home_may_be_read_only(ssh, disk_of_one):
    disk_of_one("/root", "ro")

    assert ssh(["one:1"]).client[:].apply_sync(where) == ["one"]


def test_a_disk_may_be_full(ssh, stage, disk_of_one):
    disk_of_one("/tmp", "size=64k")
    stage.ssh("one", "dd if=/dev/zero of=/tmp/filler bs=4k 2>/dev/null || true")

    assert ssh(["one:1"]).client[:].apply_sync(where) == ["one"]


def test_every_host_that_fails_is_named(ssh):
    with pytest.raises(ClusterError, match=r"on 2 of 3 hosts:\n  refused: .*\n  closed@one: .*"):
        ssh(["refused:1", "closed@one:1", "two:1"])


def test_a_python_that_is_not_there(ssh):
    with pytest.raises(
        ClusterError, match="there is no 'nosuch' there; name another one with python=, or leave it out"
    ):
        ssh(["one:1"], python="nosuch")


def test_a_python_of_another_version(ssh, stage):
    other = stage.folder / "python-old"
    other.write_text("#!/bin/sh\nprintf '2.6|'\n")
    other.chmod(0o755)

    with pytest.raises(ClusterError, match=rf"is not Python 3.*, which runs here; found: {other} \(2.6\)"):
        ssh(["one:1"], python=str(other))


def test_a_python_without_what_engines_need(ssh, stage):
    bare = stage.folder / "python-bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.base_prefix}/bin/python3 -I -S "$@"\n')
    bare.chmod(0o755)

    with pytest.raises(
        ClusterError, match=rf"run `ssh -F \S+ one {bare} -m pip install ipyparallel==[\d.]+ cloudp"
    ):
        ssh(["one:1"], python=str(bare))


def test_modules_that_cannot_be_preloaded_and_folders_that_are_missing_are_named(ssh):
    with pytest.raises(ClusterError, match="one: cannot preload 'nosuch': ModuleNotFoundError"):
        ssh(["one:1"], preload=["nosuch"])
    with pytest.raises(ClusterError, match="there is no folder '/nosuch' there"):
        ssh(["one:1"], cwd="/nosuch")


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("nosuch-ssh", "cannot run 'nosuch-ssh': No such file or directory; install OpenSSH's client"),
        ("false", "false ended with exit code 1"),
    ],
)
def test_a_client_that_does_not_work(ssh, command, reason):
    with pytest.raises(ClusterError, match=reason):
        ssh(["one:1"], command=command)


@pytest.mark.parametrize(("answer", "works"), [(PASSPHRASE, True), ("wrong", False), (None, False)])
def test_a_passphrase_is_asked_for(ssh, monkeypatch, answer, works):
    asked = []
    monkeypatch.setattr(deployment, "can_ask", lambda: True)
    monkeypatch.setattr(deployment, "ask_user", lambda host, text: (asked.append((host, text)), answer)[1])

    if works:
        assert ssh(["locked:1"]).client[:].apply_sync(where) == ["one"]
    else:
        with pytest.raises(ClusterError, match="Permission denied"):
            ssh(["locked:1"])

    assert asked[0][0] == "locked"
    assert "passphrase" in asked[0][1]


def test_fewer_engines_are_as_many_on_each_host(ssh):
    cluster = ssh({"one": 2, "two": 2})

    cluster.resize(2)
    assert sorted(engine.host for engine in cluster.engines) == ["one", "two"]

    with nbpar.Pool(cluster=cluster) as pool:
        pool.resize(4)
        until(lambda: len(pool.workers) == 4, 60)
        pool.resize(2)
        until(lambda: len(cluster.engines) == 2, 60)
        assert sorted(engine.host for engine in cluster.engines) == ["one", "two"]


def test_a_home_that_is_read_only(ssh, stage):
    stage.ssh("two", "mount -o remount,ro /root")
    try:
        with nbpar.Pool(cluster=ssh({"two": 2})) as pool:
            assert pool.map(abs, range(-4, 0)) == [4, 3, 2, 1]
    finally:
        stage.ssh("two", "mount -o remount,rw /root")


def test_a_host_that_is_reached_by_ipv6(ssh, stage):
    stage.add_ipv6("one")
    with nbpar.Pool(cluster=ssh(["six:2"])) as pool:
        assert set(pool.each(where)) == {"one"}
        assert pool.map(abs, range(-4, 0)) == [4, 3, 2, 1]
