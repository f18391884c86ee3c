"""Faults: an engine is alive but hangs; its controller declares it dead after a while."""

from __future__ import annotations

import os
import pathlib
import signal

import psutil
import pytest

import nbpar
from nbpar.cluster import forked
from nbpar.cluster.direct import DirectDeployment
from nbpar.pool import placement
from nbpar.testing import until

from . import harm
from .conftest import KINDS, gone

pytestmark = pytest.mark.engines

SOON = ("--HeartMonitor.period=300", "--HeartMonitor.silence=3")
"""So soon, and not after half a minute, in these tests."""


@pytest.fixture(scope="module")
def pool(kind, path, module_patch):
    """A pool whose cluster gives up early what does not answer."""
    before = set(psutil.Process().children(recursive=True))
    with pytest.MonkeyPatch.context() as patch:
        others = [setting for setting in forked.CONTROLLER_SETTINGS if "period" not in setting]
        patch.setattr(forked.ForkedDeployment, "controller_settings", (*others, *SOON))
        patch.setattr(DirectDeployment, "silence", 3.0)
        module_patch.setattr(placement, "in_ipython", lambda: kind == KINDS[1])
        with nbpar.Pool(2, path=path, progress="none") as pool:
            pool.wait()
            yield pool
    assert gone(set(psutil.Process().children(recursive=True)) - before)


class Hangs:
    """Hangs once on an engine: `where` it is loaded, or sent back."""

    def __init__(self, mark, where, value=None):
        self.mark, self.where, self.value, self.home = str(mark), where, value, os.getpid()

    def __getstate__(self):
        if self.where == "result" and os.getpid() != self.home:
            hang_once(self.mark)
        return self.__dict__

    def __setstate__(self, state):
        self.__dict__.update(state)
        if self.where == "load" and os.getpid() != self.home:
            hang_once(self.mark)


def hang_once(mark):
    try:
        pathlib.Path(mark).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGSTOP)


def that_loads(mark):
    captured = Hangs(mark, "load")
    return lambda item: (item, captured)[0]


def that_computes(mark):
    return lambda item: hang_once(str(mark)) or item


def that_answers(mark):
    captured = Hangs(mark, "result")
    return lambda item: (item, captured)


@pytest.mark.parametrize("stage", [that_loads, that_computes, that_answers], ids=lambda stage: stage.__name__)
def test_an_engine_that_hangs_during_a_run_is_replaced_and_costs_nothing(pool, stage, tmp_path):
    results = pool.map(stage(tmp_path / "hung"), range(6), chunksize=1)

    assert [item[0] if isinstance(item, tuple) else item for item in results] == list(range(6))
    assert (tmp_path / "hung").exists()


def test_an_engine_that_hangs_between_runs_costs_nothing(pool):
    pool.each(int)
    harm.stop_an_engine(pool)

    assert pool.map(abs, range(6)) == list(range(6))


def test_an_item_that_makes_every_engine_hang_costs_itself_alone(pool):
    results = pool.map(
        lambda item: os.kill(os.getpid(), signal.SIGSTOP) if item == 2 else item, range(5), errors="collect"
    )

    assert [failure.index for failure in results.failures] == [2]
    assert results[2].exception.reason == "killed because it stopped responding"


def test_an_engine_that_hangs_can_be_stopped(pool, tmp_path):
    run = pool.map_async(that_computes(tmp_path / "hung"), range(1), chunksize=1)
    until((tmp_path / "hung").exists)

    run.cancel()

    assert run.state == "stopped"
    with pytest.raises(KeyboardInterrupt):
        run.get()
