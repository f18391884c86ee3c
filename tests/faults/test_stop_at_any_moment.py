"""Faults: Ctrl-C at random moments never hangs, never loses an engine, never takes effect later."""

from __future__ import annotations

import os
import random
import signal
import threading
import time

import pytest

import nbpar

pytestmark = pytest.mark.engines

MOMENTS = int(os.environ.get("NBPAR_STOPS", "60"))
"""Interrupts per path; `make soak` asks for more."""


def at_once(item):
    return item * 2


def briefly(item):
    time.sleep(0.003)
    return item * 2


def for_long(item):
    time.sleep(0.5)
    return item * 2


WORK = [(at_once, 20_000), (briefly, 30), (for_long, 4), (at_once, 40)]


def interrupted_map(pool, function, items, delay):
    """Map, with a Ctrl-C after `delay` seconds; return the results, or None when it was stopped."""
    timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
    results = None
    try:
        timer.start()
        results = pool.map(function, range(items))
        while timer.is_alive():  # so that the signal strikes here and nowhere else
            time.sleep(0.001)
        time.sleep(0.01)
    except KeyboardInterrupt:
        pass
    timer.join()
    return results


def test_stop_at_random_moments(pool):
    dice = random.Random(MOMENTS)
    engines = sorted(pool.each(os.getpid))
    stopped = 0
    for moment in range(MOMENTS):
        function, items = WORK[moment % len(WORK)]

        results = interrupted_map(pool, function, items, dice.random() * 0.06)

        assert nbpar.last_run.done
        if results is None:
            stopped += 1
            assert set(nbpar.last_run.results()) <= {item * 2 for item in range(items)}
        else:
            assert results == [item * 2 for item in range(items)]
        assert pool.map(at_once, range(4)) == [0, 2, 4, 6]
    assert stopped > MOMENTS // 4
    assert sorted(pool.each(os.getpid)) == engines
