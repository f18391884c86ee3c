"""A large array that is in many items is sent once."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nbpar
from nbpar.testing import until
from nbpar.wire import common_buffers

pytestmark = pytest.mark.engines

SIZE = 1_000_000
ITEMS = 20


@pytest.fixture(scope="module", params=["auto", "controller"])
def path(request):
    return request.param


@pytest.fixture(scope="module")
def pool(path):
    with nbpar.Pool(2, progress="none", path=path) as pool:
        yield pool


@pytest.fixture
def array():
    return np.arange(SIZE, dtype=float)


NUMBERS = range(ITEMS)
FORMS = {
    "starmap": lambda pool, a: pool.starmap(lambda n, a: a[n], [(n, a) for n in NUMBERS]),
    "several inputs": lambda pool, a: pool.map(lambda n, a: a[n], NUMBERS, [a] * ITEMS),
    "a dict": lambda pool, a: pool.map(lambda d: d["a"][d["n"]], [{"a": a, "n": n} for n in NUMBERS]),
    "a table": lambda pool, a: pool.map(lambda n, t: t.a[n], NUMBERS, [pd.DataFrame({"a": a})] * ITEMS),
    "a generator": lambda pool, a: list(pool.imap(lambda t: t[1][t[0]], ((n, a) for n in NUMBERS))),
    "single items": lambda pool, a: pool.starmap(lambda n, a: a[n], [(n, a) for n in NUMBERS], chunksize=1),
}


@pytest.mark.parametrize("form", FORMS)
def test_it_is_found_in_items_of_any_form(pool, array, form):
    assert FORMS[form](pool, array) == list(range(ITEMS))


def test_it_is_not_moved_with_each_item(pool, path, array):
    pool.starmap(lambda n, a: a[n], [(n, array) for n in range(ITEMS)])

    if path == "auto":  # through the controller each item's copy counts, for the sizes of chunks
        assert nbpar.last_run.snapshot.moved <= 3 * array.nbytes


def test_different_arrays_are_not_kept_for_another_run(pool, path, memory_files):
    arrays = [np.full(SIZE, float(n)) for n in range(4)]
    until(lambda: not memory_files())

    for _ in range(3):
        assert pool.map(lambda a: a[0], arrays) == list(range(4))

    assert not memory_files()


def test_an_item_that_changes_it_changes_no_other(pool, array):
    def change(n, a):
        a[0] += 1
        return float(a[0])

    assert pool.starmap(change, [(n, array) for n in range(ITEMS)]) == [1.0] * ITEMS
    assert array[0] == 0


def test_an_item_may_return_a_view_of_it_and_keep_it(pool, array):
    def keep(n, a):
        kept = globals().setdefault("kept", [])
        kept.append(a)
        a[n] = -1
        return a[n : n + 2], [int((one == -1).sum()) for one in kept]

    results = pool.starmap(keep, [(n, array) for n in range(ITEMS)])

    assert [list(view) for view, _ in results] == [[-1, n + 1] for n in range(ITEMS)]
    assert all(set(counts) == {1} for _, counts in results)
    pool.each(lambda: globals().pop("kept", None))


def test_a_read_only_one_stays_read_only(pool, array):
    array.flags.writeable = False

    flags = pool.starmap(lambda n, a: a.flags.writeable, [(n, array) for n in range(ITEMS)])

    assert flags == [False] * ITEMS


def test_one_that_is_changed_while_input_is_read_arrives_as_it_was(pool, array):
    """One item at a time is read, computed and taken, so what each must see is known."""
    array[:] = 0

    def fill():
        for n in range(8):
            array[SIZE // 3] = n
            yield array

    seen = []
    for one in fill():
        seen += pool.map(lambda a: float(a[SIZE // 3]), iter([one]))

    assert seen == [float(n) for n in range(8)]


def test_new_arrays_in_the_place_of_old_ones_are_told_apart(pool):
    made = (np.full(SIZE, float(n)) for n in range(ITEMS))

    assert list(pool.imap(lambda a: float(a[SIZE // 3]), made, buffersize=2)) == list(range(ITEMS))


def test_calls_that_are_submitted_send_it_once_too(pool, array):
    futures = [pool.submit(lambda a, n: a[n], array, n) for n in range(ITEMS)]

    assert [future.result(60) for future in futures] == list(range(ITEMS))


def test_a_worker_that_dies_leaves_its_items_to_others(array, tmp_path):
    def die_once(n, a):
        if n == 5 and not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os.kill(os.getpid(), 9)
        return a[n]

    with nbpar.Pool(2, progress="none") as pool:
        assert pool.starmap(die_once, [(n, array) for n in range(ITEMS)]) == list(range(ITEMS))


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux can do it")
def test_a_worker_that_cannot_map_it_gets_it(array, monkeypatch):
    class Elsewhere(common_buffers.CommonBuffer):
        def __init__(self, *args):
            super().__init__(*args)
            self.lodged = self.lodged._replace(path="/nowhere")

    monkeypatch.setattr(common_buffers, "CommonBuffer", Elsewhere)
    with nbpar.Pool(2, progress="none") as pool:
        assert pool.starmap(lambda n, a: a[n], [(n, array) for n in range(ITEMS)]) == list(range(ITEMS))


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux can do it")
def test_a_worker_without_free_descriptors_gets_it(array):
    import resource

    def use_up_descriptors():
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        with suppress(OSError):
            while True:
                os.open("/dev/null", os.O_RDONLY)

    with nbpar.Pool(1, progress="none") as pool:
        pool.each(np.sum, [1])  # imports NumPy
        pool.each(use_up_descriptors)
        assert pool.starmap(lambda n, a: a[n], [(n, array) for n in range(ITEMS)]) == list(range(ITEMS))


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux can do it")
def test_its_memory_is_given_back_when_the_pool_is_idle(array, memory_files):
    until(lambda: not memory_files())
    with nbpar.Pool(2, progress="none") as pool:
        pool.starmap(lambda n, a: a[n], [(n, array) for n in range(ITEMS)])

        until(lambda: not memory_files())

        def mapped(_):
            return "memfd:nbpar-" in Path("/proc/self/maps").read_text()

        assert pool.each(mapped, 0) == [False, False]
