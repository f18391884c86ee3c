"""An item that sends its own process SIGINT: on threads and in this thread that is Ctrl-C.

Nothing can tell the two apart there: the signal says neither who sent it nor from where.
"""

from __future__ import annotations

import _thread
import os
import signal
import threading

import pytest

import nbpar
from nbpar.testing import until

WAYS = {
    "os.kill": lambda: os.kill(os.getpid(), signal.SIGINT),
    "raise_signal": lambda: signal.raise_signal(signal.SIGINT),
    "interrupt_main": _thread.interrupt_main,
}


@pytest.fixture(params=["serial", "threads"])
def pool(request):
    with nbpar.Pool(2, backend=request.param, progress="none") as pool:
        yield pool


def sends(way, stopped):
    """Return a function whose item 3 sends the signal when the others are done, and lasts until the stop."""

    def item(n):
        if n == 3:
            here = threading.current_thread() is threading.main_thread()
            until(lambda: here or nbpar.last_run.counts[0] == 3)
            WAYS[way]()
            stopped.wait(30)  # where it runs in this thread, the signal strikes here
        return n

    return item


@pytest.mark.parametrize("way", WAYS)
def test_it_stops_the_map_keeps_what_is_done_and_leaves_the_pool_usable(pool, way):
    stopped = threading.Event()

    with pytest.raises(nbpar.StoppedError):
        pool.map(sends(way, stopped), range(4), chunksize=1)
    stopped.set()

    assert nbpar.last_run.state == "stopped"
    assert nbpar.last_run.results() == [0, 1, 2]
    assert pool.map(abs, [-1, -2]) == [1, 2]


@pytest.mark.parametrize("way", WAYS)
def test_a_run_in_the_background_goes_on_and_the_main_thread_is_interrupted(way):
    with nbpar.Pool(2, backend="threads", progress="none") as pool:
        go = threading.Event()

        def item(n):
            if n == 0:
                go.wait(30)
                WAYS[way]()
            return n

        run = pool.map_async(item, range(4))
        with pytest.raises(KeyboardInterrupt):
            _open_and_wait(go)

        assert run.get(30) == [0, 1, 2, 3]


def _open_and_wait(go):
    go.set()
    until(lambda: False)  # a lock that is waited for would hold up the handler of what another thread raises
