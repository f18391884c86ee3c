"""Each item and each result is pickled once, whatever becomes of the call that it was sent with."""

from __future__ import annotations

import numpy as np
import pytest

from nbpar.testing import until


class Counted:
    """Counts how often it was pickled."""

    def __init__(self, number, nbytes):
        self.number, self.content = number, np.ones(nbytes // 8)
        self.pickled = 0

    def __getstate__(self):
        self.pickled += 1
        return self.__dict__.copy()


def counts(items):
    return [item.pickled for item in items]


@pytest.mark.parametrize("options", [{}, {"chunksize": 1}, {"chunksize": 3}], ids=str)
def test_large_items_with_short_work_are_pickled_once(kind, pool, options):
    items = [Counted(number, 4_000_000) for number in range(24)]

    assert pool.map(lambda item: item.number, items, **options) == list(range(24))

    assert counts(items) == [int(kind.own_process)] * 24


def test_large_results_are_pickled_once(kind, pool):
    results = pool.map(lambda number: Counted(number, 1_000_000), range(24))

    assert [result.number for result in results] == list(range(24))
    assert counts(results) == [int(kind.own_process)] * 24


@pytest.mark.parametrize("nbytes", [80, 400_000])
def test_items_that_are_asked_back_are_not_pickled_again(kind, busy_pool, gate, nbytes):
    items = [Counted(number, nbytes) for number in range(8)]

    def wait_in_the_first(item):
        if item.number == 0:
            gate.wait()
        return item.number

    run = busy_pool.map_async(wait_in_the_first, items, chunksize=4)
    gate.until_waiting()
    until(lambda: run.snapshot.done == 7)
    gate.open()

    assert run.get(60) == list(range(8))
    assert counts(items) == [int(kind.own_process)] * 8
