"""Large items and results when a worker, the client or the system fails."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest

import nbpar
from nbpar.testing import until
from nbpar.wire import common_buffers

pytestmark = pytest.mark.engines

SIZE = 1_000_000
ITEMS = 12


@pytest.fixture
def array():
    return np.arange(SIZE, dtype=float)


def test_a_worker_that_is_killed_while_it_writes_a_result_loses_nothing(tmp_path):
    def die_in_the_middle(n):
        from nbpar.worker.mail import transports

        def write_a_part(transport, frames):
            transport._outgoing.send(frames)  # as much as fits
            assert transport._outgoing.waiting
            (tmp_path / "died").touch()
            os.kill(os.getpid(), 9)

        if n == 3 and not (tmp_path / "died").exists():
            transports.StreamTransport._write = write_a_part
        return np.full(2 * SIZE, float(n))

    with nbpar.Pool(2, progress="none") as pool:
        results = pool.map(die_in_the_middle, range(ITEMS))

    assert (tmp_path / "died").exists()
    assert [float(result.sum()) for result in results] == [2.0 * SIZE * n for n in range(ITEMS)]


def test_an_item_that_keeps_its_array_finds_it_unchanged():
    def keep(array):
        import sys

        kept = sys.modules["nbpar"].__dict__.setdefault("kept_items", [])
        kept.append(array)
        return [float(one[0]) for one in kept if not (one == one[0]).all()], float(array[0])

    arrays = [np.full(SIZE, float(n)) for n in range(ITEMS)]
    with nbpar.Pool(2, progress="none") as pool:
        for _ in range(2):
            changed, firsts = zip(*pool.map(keep, arrays), strict=True)

            assert list(changed) == [[]] * ITEMS
            assert list(firsts) == list(map(float, range(ITEMS)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_of_the_client_changes_no_item(array):
    with nbpar.Pool(2, progress="none") as pool:
        seen = []
        for value in pool.imap(lambda pair: float(pair[1].sum()), [(n, array) for n in range(ITEMS)]):
            seen.append(value)
            if len(seen) == 2:
                child = os.fork()
                if not child:
                    array[:] = -1  # its own copy
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0

        assert seen == [float(array.sum())] * ITEMS


def test_without_descriptors_here_a_common_array_is_sent_once_to_each_worker(array, monkeypatch):
    def none_left(_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(common_buffers, "SharedBuffers", none_left)
    with nbpar.Pool(2, progress="none") as pool:
        assert pool.starmap(lambda n, a: a[n], [(n, array) for n in range(ITEMS)]) == list(range(ITEMS))


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux can do it")
def test_nothing_is_left_of_a_common_array_when_its_workers_are_killed(array):
    def open_here():
        links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        return sum("memfd:nbpar-" in str(link.readlink()) for link in links)

    before = open_here()
    with nbpar.Pool(2, progress="none") as pool:
        pool.starmap(lambda n, a: a[n], [(n, array) for n in range(ITEMS)])
        for pid in pool.each(os.getpid):
            os.kill(pid, 9)
    gc.collect()

    until(lambda: open_here() == before)
