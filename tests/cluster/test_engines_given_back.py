"""Engines of a joined cluster are free when the client that used them is gone, whatever way it went."""

import signal
import subprocess
import sys
import textwrap

import pytest

import nbpar
from nbpar.backends.engines import access, engine
from nbpar.testing import Gate

pytestmark = pytest.mark.engines

LIMIT = 60
"""Seconds for an engine to be free."""


@pytest.fixture
def client(shared):
    """A client of engines whose loops would wait for theirs for ever."""
    view = shared.client[:]
    before = view.apply_sync(wait_for_client, 1e6)
    yield shared.client
    view.apply_sync(wait_for_client, before[0])


def wait_for_client(seconds):
    from nbpar.worker.loop import Loop

    before = Loop.__init__.__kwdefaults__["silence"]
    Loop.__init__.__kwdefaults__["silence"] = seconds
    return before


@pytest.fixture
def busy(client):
    """A gate at which something else waits on the first engine."""
    gate = Gate()
    waiting = client[0].apply_async(gate.wait, LIMIT)
    gate.until_waiting(1)
    yield gate
    gate.open()
    waiting.get(LIMIT)


def is_free(client):
    return client[:].apply_async(abs, -1).get(LIMIT) == [1, 1]


@pytest.fixture
def script(shared):
    """Start programs that have a pool of the cluster's engines, and end with their standard input."""
    file = str(shared.directory / "profile" / "security" / "ipcontroller-client.json")
    started = []

    def start(code, path="auto"):
        begin = (
            f"import os, sys, nbpar\npool = nbpar.Pool(cluster={file!r}, path={path!r}, progress='none')\n"
        )
        program = subprocess.Popen(
            [sys.executable, "-c", begin + textwrap.dedent(code)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(program)
        return program

    yield start
    for program in started:
        program.kill()
        program.communicate(timeout=LIMIT)


@pytest.mark.parametrize("path", ["auto", "controller"])
def test_a_loop_that_has_not_begun_is_taken_back_when_the_pool_is_closed(client, busy, path):
    from ipyparallel.error import TaskAborted

    with nbpar.Pool(cluster=client, path=path, progress="none") as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
        queued = pool._place.backend._engines["engine 0"].loop

    busy.open()

    with pytest.raises(TaskAborted):
        queued.get(LIMIT)
    assert is_free(client)


@pytest.mark.parametrize("path", ["auto", "controller"])
def test_a_loop_that_finds_no_client_ends(client, busy, path, monkeypatch):
    monkeypatch.setattr(access._ThroughController, "take_back", lambda *_: {})
    with nbpar.Pool(cluster=client, path=path, progress="none") as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]

    busy.open()

    assert is_free(client)


@pytest.mark.parametrize("path", ["auto", "controller"])
def test_a_loop_that_begins_when_its_client_was_killed_ends(client, busy, script, path):
    program = script("print(pool.map(abs, [-1, -2])); os.kill(os.getpid(), 9)", path)
    assert program.communicate(timeout=LIMIT)[0] == "[1, 2]\n"
    assert program.returncode == -signal.SIGKILL

    busy.open()

    assert is_free(client)


@pytest.mark.parametrize("path", ["auto", "controller"])
def test_an_item_whose_client_was_killed_is_stopped(client, script, path):
    gate = Gate()
    program = script(
        f"import nbpar.testing\npool.map(nbpar.testing.Gate({gate.folder!r}).wait, [1e6] * 2)", path
    )
    gate.until_waiting(2)

    program.kill()

    assert is_free(client)


def test_an_item_whose_client_was_killed_is_stopped_though_a_fork_has_its_connections(client, script):
    gate = Gate()
    program = script(f"""
        import nbpar.testing
        run = pool.map_async(nbpar.testing.Gate({gate.folder!r}).wait, [1e6] * 2)
        nbpar.testing.until(lambda: len(pool.workers) == 2 and all('runs' in facts for facts in pool.workers))
        if not os.fork():
            sys.stdin.read()
            os._exit(0)
        print('forked', flush=True)
        run.get()
    """)  # fmt: skip
    assert program.stdout.readline() == "forked\n"
    gate.until_waiting(2)

    program.kill()

    assert is_free(client)


def test_a_pool_that_answers_too_late_gets_its_engines_with_the_next_attempt(client, monkeypatch):
    monkeypatch.setattr(engine, "ANSWERS_WITHIN", 1e-5)

    with nbpar.Pool(cluster=client, path="controller", progress="none") as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
        assert not pool.broken
