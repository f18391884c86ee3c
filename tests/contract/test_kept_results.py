"""Results that an item keeps, and changes when it has returned them, or returns from what it was given."""

from __future__ import annotations

import sys
from time import perf_counter

import numpy as np
import pytest

SIZE = 1_000_000


@pytest.mark.parametrize("kind_of", ["array", "bytearray"])
def test_a_result_that_the_next_item_changes_arrives_as_it_was_returned(kind, pool, kind_of):
    if not kind.own_process:
        pytest.skip("there results are the objects themselves")

    def fill(n):
        until = perf_counter() + 0.003  # so that no other is in its chunk
        while perf_counter() < until:
            pass
        kept = sys.modules["nbpar"].__dict__  # as a library would keep its buffer
        if "kept_result" not in kept:
            kept["kept_result"] = np.zeros(SIZE, "u1") if kind_of == "array" else bytearray(SIZE)
        kept["kept_result"][:] = bytes([n]) * SIZE if kind_of == "bytearray" else n
        return kept["kept_result"]

    results = pool.map(fill, range(20), chunksize=1)
    pool.each(lambda: sys.modules["nbpar"].__dict__.pop("kept_result", None))

    assert [set(np.unique(np.frombuffer(result, "u1"))) for result in results] == [{n} for n in range(20)]


def test_a_result_may_be_a_view_of_its_own_item(pool):
    arrays = [np.arange(SIZE) + number for number in range(4)]

    results = pool.map(lambda array: array[10:20:2], arrays)

    assert [list(result) for result in results] == [list(array[10:20:2]) for array in arrays]


def test_items_may_be_views_of_one_another(pool):
    array = np.arange(SIZE)
    views = [array, array[::-1], array[::2], array[5:], array.reshape(1000, -1).T]

    sums = pool.map(lambda view: (view.shape, int(view.sum()), int(view.flat[3])), views)

    assert sums == [(view.shape, int(view.sum()), int(view.flat[3])) for view in views]


ODD = {
    "read-only": np.frombuffer(bytes(SIZE), "f8"),
    "non-contiguous": np.arange(SIZE).reshape(1000, -1)[::3, ::7],
    "column-major": np.asfortranarray(np.arange(SIZE).reshape(1000, -1)),
    "objects": np.array([None, "a", [1, 2], 3.5] * 10_000, dtype=object),
    "structured": np.zeros(100_000, dtype=[("a", "i4"), ("b", "f8"), ("c", "S3")]),
    "zero-size": np.zeros((0, 5)),
    "zero-dimensional": np.array(3.5),
    "times": np.arange(100_000).astype("datetime64[s]"),
    "big-endian": np.arange(100_000, dtype=">i4"),
    "masked": np.ma.masked_greater(np.arange(100_000), 5),
    "bytes": bytes(SIZE),
    "bytearray": bytearray(SIZE),
    "empty": b"",
}


@pytest.mark.parametrize("name", ODD)
def test_odd_arrays_arrive_and_come_back_as_they_were(pool, name):
    item = ODD[name]

    for result in pool.map(lambda got: got, [item] * 3):
        assert type(result) is type(item)
        assert getattr(result, "dtype", None) == getattr(item, "dtype", None)
        assert getattr(
            result, "shape", len(item) if isinstance(item, (bytes, bytearray)) else None
        ) == getattr(item, "shape", len(item) if isinstance(item, (bytes, bytearray)) else None)
        assert np.array_equal(np.asarray(result), np.asarray(item))
