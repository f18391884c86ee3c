"""Faults: five seconds after any process is killed, no process and no file of the cluster is left."""

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from owners import alive

from nbpar.cluster.cluster import Cluster
from nbpar.errors import ClusterError
from nbpar.testing import until

pytestmark = pytest.mark.engines

LIMIT = 20.0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_killed_owner_takes_everything_along(own, number):
    owner = own()

    owner.process.send_signal(number)

    until(owner.nothing_left, LIMIT)


def test_a_killed_owner_takes_busy_engines_along(own):
    owner = own(extra="import time; cluster.client[:].apply_async(time.sleep, 100)")

    owner.process.kill()

    until(owner.nothing_left, LIMIT)


def test_a_killed_owner_with_a_fork_that_lives_on_takes_everything_along(own):
    owner = own(
        extra="child = os.fork()\nif child == 0:\n    os.close(1); import time; time.sleep(60); os._exit(0)"
    )
    fork = until(lambda: [p for p in _children(owner.process.pid) if p != owner.cluster["template"]])

    owner.process.kill()

    until(owner.nothing_left, LIMIT)
    for pid in fork:
        os.kill(pid, signal.SIGKILL)


def test_a_fork_of_the_owner_that_ends_disturbs_nothing(own):
    owner = own(extra="if os.fork() == 0: sys.exit(0)\nos.wait()")

    assert alive(owner.pids) == owner.pids


def test_the_end_of_the_interpreter_ends_the_cluster(own):
    owner = own()

    owner.process.communicate("\n", timeout=30)

    assert owner.process.returncode == 0
    assert owner.nothing_left()


def test_the_end_of_the_interpreter_while_engines_work_ends_the_cluster(own):
    owner = own(extra="import time; cluster.client[:].apply_async(time.sleep, 100)")

    owner.process.communicate("\n", timeout=30)

    assert owner.nothing_left()


def test_a_killed_template_leaves_nothing(own):
    owner = own()

    os.kill(owner.cluster["template"], signal.SIGKILL)

    until(owner.nothing_left, LIMIT)


def test_template_and_owner_killed_at_once_leave_nothing(own):
    owner = own()

    os.kill(owner.cluster["template"], signal.SIGKILL)
    owner.process.kill()

    until(owner.nothing_left, LIMIT)


def test_a_killed_controller_leaves_nothing(own):
    owner = own()

    os.kill(owner.cluster["controller"], signal.SIGKILL)

    until(owner.nothing_left, LIMIT)


def test_what_an_engine_started_goes_with_it(own):
    start = "__import__('subprocess').Popen(['sleep', '300']).pid"
    code = f"pids = cluster.client[:].apply_sync(eval, {start!r})"
    owner = own(extra=code, also="pids")
    pids = owner.also
    assert alive(pids) == pids

    owner.process.kill()

    until(lambda: not alive(pids), LIMIT)


def test_ipyparallels_local_processes_go_with_a_killed_owner():
    code = (
        "import psutil; from nbpar.cluster.cluster import Cluster\n"
        "cluster = Cluster(1, engines='local').start()\n"
        "pids = [child.pid for child in psutil.Process().children(recursive=True)]\n"
        "print(pids, cluster.directory, flush=True)\n"
        "input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    pids, _, directory = process.stdout.readline().strip().rpartition(" ")
    pids = json.loads(pids)
    assert len(alive(pids)) >= 2

    process.kill()
    process.communicate()

    until(lambda: not alive(pids) and not Path(directory).exists(), LIMIT)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", ["template", "controller"])
def test_a_start_that_is_killed_at_any_moment_leaves_nothing(victim):
    directories = []
    for moment in range(0, 500, 40):  # milliseconds
        cluster = Cluster(1)
        start = threading.Thread(target=lambda cluster=cluster: _start(cluster))
        start.start()
        until(lambda cluster=cluster: cluster._room)
        directories.append(str(cluster._room.directory))
        pid = until(lambda cluster=cluster: _pids(cluster)[victim])

        threading.Event().wait(moment / 1000)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        start.join()
        cluster.stop()

    until(lambda: not _of(directories), LIMIT)
    assert not any(Path(directory).exists() for directory in directories)


def _start(cluster):
    with suppress(ClusterError):
        cluster.start()


def _pids(cluster):
    room = cluster._room
    return {"template": room._template._process.pid, "controller": room._controller.pid}


def _of(directories):
    """The processes of clusters with these directories: what is forked keeps its template's command line."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            line = " ".join(process.cmdline())
            found += [process.pid] if any(directory in line for directory in directories) else []
    return alive(found)


def test_two_owners_do_not_disturb_each_other(own):
    first, second = own(), own()

    first.process.kill()
    until(first.nothing_left, LIMIT)

    assert alive(second.pids) == second.pids
    assert second.directory.exists()


def test_a_template_that_only_waits_goes_with_its_owner():
    code = (
        "from nbpar.cluster.fork_server import server as f; f.warm(); "
        "print(f._spare.pid, flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    pid = int(process.stdout.readline())

    process.kill()
    process.communicate()

    until(lambda: not alive([pid]), LIMIT)


def _children(pid):
    return [child.pid for child in psutil.Process(pid).children()]
