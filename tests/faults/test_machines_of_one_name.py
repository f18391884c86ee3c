"""An engine in another pid namespace, as in a container: same host name, and a pid that is in use here."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

import nbpar
from nbpar.testing import Gate, until

pytestmark = [
    pytest.mark.engines,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has pid namespaces"),
]

START = """
echo $(($1 - 1)) > /proc/sys/kernel/ns_last_pid
"$2" -m ipyparallel.engine --file="$3" & wait
"""
"""Start an engine with a given pid of its namespace."""


@pytest.fixture
def stranger():
    """A program that has nothing to do with nbpar."""
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def cluster(stranger, tmp_path):
    """A cluster whose second engine is elsewhere, though its host's name and its pid do not tell."""
    with nbpar.Cluster(1) as cluster:
        file = cluster.directory / "profile" / "security" / "ipcontroller-engine.json"
        start = ["sh", "-c", START, "sh", str(stranger.pid), sys.executable, str(file)]
        log = (tmp_path / "engine.log").open("w")
        apart = subprocess.Popen(["unshare", "-p", "-f", "--mount-proc", "--kill-child", *start], stderr=log)
        try:
            until(lambda: apart.poll() is not None or len(cluster.engines) == 2, 60, "no second engine")
            if apart.poll() is not None:
                pytest.skip(f"namespaces need rights: {(tmp_path / 'engine.log').read_text()}")
            yield cluster
        finally:
            apart.kill()
            apart.wait()
            log.close()


@pytest.fixture
def pool(cluster):
    with nbpar.Pool(cluster=cluster, progress="none") as pool:
        yield pool.wait()


def test_stop_interrupts_the_engine_and_not_a_program_of_its_pid(pool, stranger):
    pids = pool.each(os.getpid)
    gate = Gate()
    run = pool.map_async(Gate.wait, [gate] * 2, chunksize=1)
    gate.until_waiting(2)

    run.cancel()
    run.wait(30)

    assert stranger.pid in pids
    assert [worker["local"] for worker in pool.workers].count(True) == 1
    assert run.state == "stopped"
    assert stranger.poll() is None
    assert sorted(pool.each(os.getpid)) == sorted(pids)


def test_the_end_of_that_program_is_not_the_engines(pool, stranger):
    before = sorted(pool.each(os.getpid))

    stranger.kill()
    stranger.wait()
    pool.map(time.sleep, [0.05] * 60, chunksize=1)  # longer than a reason of its end would be awaited

    assert sorted(pool.each(os.getpid)) == before
