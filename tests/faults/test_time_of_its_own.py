"""`timeout=` is the item's own time: loading before it and packing after it do not count."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
import time

import pytest

import nbpar
from nbpar import Stage
from nbpar.errors import ItemTimeoutError

pytestmark = pytest.mark.engines

LIMIT = 0.2
"""Seconds; an engine is killed a second later."""

SLOW = 2.5
"""Seconds that loading takes; far more than both."""


@pytest.fixture(params=["auto", "controller"])
def pool(request):
    with nbpar.Pool(1, path=request.param, progress="none") as pool:
        yield pool.wait()


@pytest.fixture
def slow_module(tmp_path, monkeypatch):
    """A module whose import takes longer on an engine than its items may take."""
    sleep = f"if os.getpid() != {os.getpid()}:\n    time.sleep({SLOW})\n"
    text = f"import os, time\n{sleep}def double(n):\n    return 2 * n\n"
    (tmp_path / "slow_to_import.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("slow_to_import")
    sys.modules.pop("slow_to_import")


class SlowToLoad:
    """Takes its time wherever it is unpickled, or pickled."""

    def __init__(self, where):
        self.where = where

    def __getstate__(self):
        if self.where == "pickled":
            time.sleep(SLOW)
        return self.__dict__

    def __setstate__(self, state):
        self.__dict__.update(state)
        if self.where == "unpickled":
            time.sleep(SLOW)


def test_the_import_of_the_functions_module_does_not_count(pool, slow_module):
    for _ in range(2):
        assert pool.map(slow_module.double, range(3), timeout=LIMIT) == [0, 2, 4]

    assert pool.map(slow_module.double, range(3), timeout=LIMIT, chunksize=1) == [0, 2, 4]


def test_unpickling_an_item_does_not_count(pool):
    items = [SlowToLoad("unpickled"), SlowToLoad("neither")]

    assert pool.map(lambda item: item.where, items, timeout=LIMIT) == ["unpickled", "neither"]


def test_pickling_a_result_does_not_count(pool):
    results = pool.map(SlowToLoad, ["pickled", "neither"], timeout=LIMIT)

    assert [result.where for result in results] == ["pickled", "neither"]


def loads_for_long():
    time.sleep(SLOW)


def naps(n):
    time.sleep(n)
    return os.getpid()


def test_the_initializer_of_a_stage_does_not_count(pool):
    stage = Stage(naps, initializer=loads_for_long)
    with nbpar.Pipeline([stage], pool=pool) as steps:
        pids = steps.map([0, 0, 0], timeout=LIMIT, progress="none")
        assert len(set(pids)) == 1  # no worker was killed

        with pytest.raises(ItemTimeoutError):
            steps.map([0, 60], timeout=LIMIT, progress="none")


def test_an_item_is_limited_after_an_initializer_in_it(pool):
    stage = Stage(naps, initializer=loads_for_long)
    with nbpar.Pipeline([stage], pool=pool) as steps, pytest.raises(ItemTimeoutError):
        steps.map([60], timeout=LIMIT, progress="none")


def test_an_item_that_no_signal_reaches_is_still_killed_in_time(pool):
    def stuck(n):
        return hashlib.pbkdf2_hmac("sha256", b"a", b"b", 10**9) if n == 1 else n

    began = time.monotonic()
    first, failure, last = pool.map(stuck, range(3), timeout=LIMIT, errors="collect")

    assert (first, last) == (0, 2)
    assert isinstance(failure.exception, ItemTimeoutError)
    assert time.monotonic() - began < 60
