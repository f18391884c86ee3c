"""Ctrl-C at random moments, and killed workers: pipelines never hang, and leave nothing behind."""

import gc
import os
import random
import signal
import threading
import time

import psutil
import pytest

import nbpar
from nbpar import Stage
from nbpar.testing import until

MOMENTS = int(os.environ.get("NBPAR_STOPS", "12"))
"""Interrupts per backend; `make soak` asks for more."""


def at_once(x):
    return x


def briefly(x):
    time.sleep(0.003)
    return x


def for_long(x):
    time.sleep(0.3)
    return x


WORK = [([at_once, at_once, at_once], 3000), ([at_once, briefly, at_once], 30), ([briefly, for_long], 4)]


def interrupted(call, items, delay):
    """Run a pipeline, with a Ctrl-C after `delay` seconds; return results, or None when it was stopped."""
    go = threading.Lock()
    go.acquire()
    timer = threading.Thread(target=_interrupt_after, args=(go, delay))
    timer.start()
    result = None
    try:
        go.release()  # not before: it must strike in this block
        result = list(call(range(items), progress="none"))
        while timer.is_alive():  # so that the signal strikes here and nowhere else
            time.sleep(0.001)
        time.sleep(0.01)
    except KeyboardInterrupt:
        timer.join()
    return result


def _interrupt_after(go, seconds):
    with go:
        time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGINT)


# pyzmq tells of a signal that it can raise nowhere, and drops it
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("way", ["map", "imap"])
def test_stop_at_random_moments(pool, pipeline, way):
    dice = random.Random(MOMENTS)
    stopped = 0
    for moment in range(MOMENTS):
        steps, items = WORK[moment % len(WORK)]
        made = pipeline(steps, pool=pool, batch_size=(1, "auto")[moment % 2])

        got = interrupted(getattr(made, way), items, dice.random() * 0.08)

        stopped += got is None
        assert got in (None, list(range(items)))
        if way == "map" and got is None and nbpar.last_run is not None:
            assert nbpar.last_run.is_over_within(10)
            assert set(nbpar.last_run.results()) <= set(range(items))
        assert pipeline([at_once, at_once], pool=pool).map(range(4), progress="none") == [0, 1, 2, 3]
    assert stopped


@pytest.mark.engines
@pytest.mark.parametrize("batch_size", [1, 8, "auto"])
def test_a_worker_that_is_killed_costs_nothing(pipeline, batch_size):
    with nbpar.Pool(2, progress="none") as pool:
        victims = pool.each(os.getpid)
        run = pipeline([at_once, briefly, at_once], pool=pool, batch_size=batch_size).map_async(range(400))
        until(lambda: run.snapshot.done >= 40, 30, "nothing was done")

        os.kill(victims[0], signal.SIGKILL)

        assert run.get(60) == list(range(400))
        assert run.snapshot.lost_workers == 1


def test_nothing_is_left_of_pipelines_that_failed_or_were_forgotten():
    me = psutil.Process()
    before, children = set(threading.enumerate()), set(me.children(recursive=True))

    def fails(values):
        raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            nbpar.Union([Stage(abs, workers=0), Stage(abs, workers=0)], join=fails).map([1], progress="none")
        for _ in nbpar.Pipeline([Stage(abs, workers=2, backend="threads")]).imap(range(9), progress="none"):
            break
        nbpar.Pipeline([Stage(abs, workers=0)]).map([1], progress="none")

    def ours():
        return {thread for thread in set(threading.enumerate()) - before if thread.name.startswith("nbpar")}

    until(lambda: gc.collect() is not None and not ours(), 10, f"left: {ours()}")
    assert set(me.children(recursive=True)) <= children
