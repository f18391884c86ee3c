"""What runs on engines of other hosts, as on engines here."""

import os
import socket
import time
from pathlib import Path

import ipyparallel
import psutil
import pytest

import nbpar
from nbpar.testing import until


def where():
    return socket.gethostname()


def begin_and_last(file):
    Path(file).touch()
    for _ in range(6000):
        time.sleep(0.01)


@pytest.fixture(scope="module")
def cluster(stage):
    """Two engines of one host and one of another."""
    with nbpar.Cluster.ssh({"one": 2, "two": 1}, command=stage.command, start_timeout=100) as made:
        yield made


@pytest.fixture(scope="module")
def pool(cluster):
    """A pool on these."""
    with nbpar.Pool(cluster=cluster) as made:
        yield made


def test_ipyparallel_sees_the_engines(cluster):
    found = cluster.client[:].apply_sync(where)

    assert isinstance(cluster.client, ipyparallel.Client)
    assert sorted(found) == ["one", "one", "two"] == sorted(engine.host for engine in cluster.engines)


def test_a_map_runs_on_all_hosts(pool):
    found = pool.each(where)

    assert sorted(found) == ["one", "one", "two"]
    assert pool.map(lambda i: i * i, range(100)) == [i * i for i in range(100)]


def test_large_items_and_results_pass(pool):
    sent = [os.urandom(8_000_000) for _ in range(4)]

    assert pool.map(bytes, sent, chunksize=1) == sent


@pytest.mark.parametrize("joined", [False, True])
def test_items_and_results_do_not_pass_the_controller(cluster, joined):
    controller = psutil.Process(cluster._room._controller.pid)
    with nbpar.Pool(cluster=cluster.client if joined else cluster) as pool:
        assert len(pool.each(os.getpid)) == 3
        controller.suspend()
        try:
            assert pool.map(len, [b"x" * 3_000_000] * 6, chunksize=1, timeout=60) == [3_000_000] * 6
        finally:
            controller.resume()


def test_errors_and_output_arrive(pool, capsys):
    def speak(i):
        print("item", i)
        return 1 / (i - 2)

    results = pool.map(speak, range(4), errors="collect")

    assert [failure.index for failure in results.failures] == [2]
    assert isinstance(results.failures[0].exception, ZeroDivisionError)
    assert "item 3" in capsys.readouterr().out


def test_stop_interrupts_items_on_other_hosts(pool, stage):
    pids = pool.each(os.getpid)
    files = [stage.folder / f"begun-{number}" for number in range(3)]
    run = pool.map_async(begin_and_last, files, chunksize=1)
    until(lambda: all(file.exists() for file in files))

    run.cancel()

    assert pool.map(abs, [-1, -2]) == [1, 2]
    assert sorted(pool.each(os.getpid)) == sorted(pids)


def test_a_channel_leads_to_another_host(pool):
    channel = pool.gateways[0].remote_exec("channel.send(channel.receive() + 1)")

    channel.send(41)

    assert channel.receive(timeout=60) == 42
