"""Large captured arrays are in memory once for all engines of a host."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

import nbpar
from nbpar.backends.engines import packing as lodgings
from nbpar.testing import until

pytestmark = [
    pytest.mark.engines,
    pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux can do it"),
]

SIZE = 2_000_000


@pytest.fixture(scope="module")
def pool():
    with nbpar.Pool(2, progress="none") as pool:
        yield pool


@pytest.fixture
def array():
    return np.arange(SIZE, dtype=float)


def test_a_function_finds_its_array(pool, array, memory_files):
    assert pool.map(lambda i: array[i], range(20)) == list(range(20))
    assert memory_files()


def test_engines_map_the_same_memory(pool, array):
    def mapped(_):
        lines = Path("/proc/self/maps").read_text().splitlines()
        return array[0], {line.split("memfd:")[1] for line in lines if "memfd:nbpar-" in line}

    (_, first), (_, second) = pool.each(mapped, 0)

    assert first & second


def test_it_can_be_written_to_and_each_run_finds_it_as_it_was(pool, array):
    def write(i):
        array[0] += 1
        return float(array[0])

    counts = pool.map(write, range(8), chunksize=1)

    assert max(counts) > 1
    assert min(pool.map(write, range(8), chunksize=1)) == 1
    assert array[0] == 0


def test_engines_do_not_have_a_copy_each(pool, array):
    def own():
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous"))

    def own_with_array():
        array.sum()
        return own()

    pool.each(np.sum, [1])  # imports NumPy
    before, after = min(pool.each(own)), max(pool.each(own_with_array))

    assert after - before < array.nbytes / 1024 / 2


def test_a_small_array_is_sent(pool, memory_files):
    until(lambda: not memory_files())
    small = np.ones(1000)

    assert pool.map(lambda i: small[i], range(4)) == [1.0] * 4
    assert not memory_files()


def test_the_memory_is_given_back_when_the_pool_is_idle(pool, array, memory_files):
    pool.map(lambda i: array[i], range(4))
    assert memory_files()

    until(lambda: not memory_files())

    assert pool.map(lambda i: array[i], range(4)) == [0, 1, 2, 3]


def test_a_worker_that_does_not_find_it_gets_it(pool, array, monkeypatch, memory_files):
    class Elsewhere(lodgings.SharedBuffers):
        def __init__(self, buffers):
            super().__init__(buffers)
            self.lodged = self.lodged._replace(path="/proc/self/fd/0")

    until(lambda: not memory_files())
    monkeypatch.setattr(lodgings, "SharedBuffers", Elsewhere)
    array += 1

    assert pool.map(lambda i: array[i], range(20)) == list(range(1, 21))


def test_an_initializer_that_does_not_find_it_gets_it(array, monkeypatch):
    class Elsewhere(lodgings.SharedBuffers):
        def __init__(self, buffers):
            super().__init__(buffers)
            self.lodged = self.lodged._replace(path="/nowhere")

    monkeypatch.setattr(lodgings, "SharedBuffers", Elsewhere)

    def prepare():
        global last
        last = array[-1]

    with nbpar.Pool(1, initializer=prepare, progress="none") as pool:
        assert pool.map(lambda _: last, range(2)) == [SIZE - 1] * 2


def test_without_memory_for_it_it_is_sent(pool, array, monkeypatch, memory_files):
    def full(buffers):
        raise OSError("no space left")

    until(lambda: not memory_files())
    monkeypatch.setattr(lodgings, "SharedBuffers", full)
    array += 2

    assert pool.map(lambda i: array[i], range(4)) == [2, 3, 4, 5]


def test_many_functions_with_arrays_take_turns(pool, memory_files):
    def run(n):
        array = np.full(SIZE // 8, n)
        return pool.map_async(lambda i: (time.sleep(0.001), int(array[i]))[1], range(40))

    runs = [run(n) for n in range(lodgings.FUNCTIONS + 6)]

    assert [set(run.get(100)) for run in runs] == [{n} for n in range(len(runs))]
    assert len(memory_files()) <= lodgings.FUNCTIONS
