"""`%%channel` in a real shell, over threads."""

from __future__ import annotations

import threading

import pytest
from IPython.core.error import UsageError

import nbpar
from nbpar.errors import RemoteError
from nbpar.testing import until


@pytest.fixture(scope="module")
def threads():
    with nbpar.Pool(2, backend="threads", progress="none") as pool:
        yield pool


@pytest.fixture(autouse=True)
def default_pool(threads, pools, monkeypatch):
    monkeypatch.setattr(pools, "default_pool", lambda workers=None, backend="engines": threads)


def test_the_cell_runs_there_and_its_channel_has_a_name_here(shell, run):
    run("%%channel squares\nfor number in channel:\n    channel.send(number ** 2)")

    squares = shell.user_ns["squares"]
    squares.send(7)
    assert squares.receive(timeout=60) == 49
    squares.close()


def test_a_worker_can_be_chosen(shell, run):
    run("%%channel -t 1 here\nimport threading\nchannel.send(threading.current_thread().name)")

    assert shell.user_ns["here"].receive(timeout=60) == "nbpar thread 1"


def test_the_first_free_worker_is_taken(shell, run):
    run("%%channel one\nchannel.receive()")
    run("%%channel two\nimport threading\nchannel.send(threading.current_thread().name)")

    assert shell.user_ns["two"].receive(timeout=60) != "nbpar thread 0"
    shell.user_ns["one"].close()


def test_workers_that_run_items_are_not_free(shell, run, threads):
    gate = threading.Event()
    running = [threads.submit(gate.wait, 60)]
    try:
        until(lambda: any("runs" in worker for worker in threads.workers))
        busy = next(worker["worker"] for worker in threads.workers if "runs" in worker)
        run("%%channel free\nimport threading\nchannel.send(threading.current_thread().name)")

        assert shell.user_ns["free"].receive(timeout=60) != f"nbpar {busy}"
        (there,) = [gateway for gateway in threads.gateways if gateway.worker == busy]
        assert there.remote_status().state == "running"
    finally:
        gate.set()
    assert running[0].result(60)


def test_an_error_points_into_the_cell(shell, run):
    run("%%channel wrong\nx = 1\nx.nothing_like_this")

    with pytest.raises(RemoteError) as raised:
        shell.user_ns["wrong"].wait_closed(10)

    assert "line 3, in <module>\n    x.nothing_like_this" in raised.value.formatted


@pytest.mark.parametrize(("line", "message"), [
    ("", "required"), ("not-a-name", "needs a name"), ("for", "needs a name"), ("name -t 9", "no worker '9'"),
])  # fmt: skip
def test_wrong_lines_say_what_is_wrong(fail, line, message):
    error, _ = fail(f"%%channel {line}\npass")

    assert isinstance(error, UsageError)
    assert message in str(error)
