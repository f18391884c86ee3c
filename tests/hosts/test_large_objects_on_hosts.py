"""Large objects cross the connection to a host once, whatever the number of its engines."""

import os
import signal

import numpy as np
import pytest

import nbpar

SIZE = 30_000_000


@pytest.fixture(scope="module")
def cluster(stage):
    """Three engines of one host, and one of another."""
    with nbpar.Cluster.ssh({"one": 3, "two": 1}, command=stage.command, start_timeout=100) as made:
        yield made


@pytest.fixture
def pool(cluster):
    """A pool on these."""
    with nbpar.Pool(cluster=cluster) as made:
        yield made


class Crossed:
    """Counts how often an object crosses to the hosts in a `with` block."""

    def __init__(self, stage):
        self._stage = stage

    def __enter__(self):
        self._before = {name: self._stage.received(name) for name in self._stage.names}
        return self

    def __exit__(self, *_):
        self.times = {
            name: (self._stage.received(name) - before) / SIZE for name, before in self._before.items()
        }


def random_bytes():
    return np.frombuffer(os.urandom(SIZE), dtype=np.uint8)


def test_a_captured_array_crosses_once_for_each_host(pool, stage):
    array = random_bytes()
    with Crossed(stage) as crossed:
        found = pool.each(lambda: int(array[-1]))
        again = pool.map(lambda i: int(array[i]), range(64), chunksize=1)

    assert found == [array[-1]] * 4
    assert again == array[:64].tolist()
    assert crossed.times["one"] == pytest.approx(2, abs=0.5)
    assert crossed.times["two"] == pytest.approx(2, abs=0.5)


def test_captured_bytes_cross_once_for_each_host(pool, stage):
    content = {"part": os.urandom(SIZE), "other": [os.urandom(100)]}
    with Crossed(stage) as crossed:
        found = pool.map(lambda i: (content["part"][i], len(content["other"][0])), range(64), chunksize=1)

    assert found == [(content["part"][i], 100) for i in range(64)]
    assert crossed.times["one"] == pytest.approx(1, abs=0.5)
    assert crossed.times["two"] == pytest.approx(1, abs=0.5)


def test_a_shared_array_crosses_once_for_each_host_whatever_uses_it(pool, stage):
    array = random_bytes()
    shared = pool.share(array)
    with Crossed(stage) as crossed:
        found = pool.each(lambda: int(shared.value[-1]))
        again = pool.map(lambda i: int(shared.value[i]), range(64), chunksize=1)
        as_items = pool.map(lambda it: int(it[0].value[it[1]]), [(shared, i) for i in range(64)])

    assert found == [array[-1]] * 4
    assert again == as_items == array[:64].tolist()
    assert crossed.times["one"] == pytest.approx(1, abs=0.5)
    assert crossed.times["two"] == pytest.approx(1, abs=0.5)


def kill_the_first(mark, size):
    """End the first engine that comes here, after it has got what is captured."""
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return size
    os.kill(os.getpid(), signal.SIGKILL)
    return None


def test_the_end_of_the_engine_that_keeps_it_is_no_loss(pool, stage):
    array = random_bytes()
    mark = stage.folder / "first"

    def size(_):
        return kill_the_first(mark, len(array))

    try:
        assert pool.map(size, range(16), chunksize=1, retries=1) == [SIZE] * 16
        assert pool.each(lambda: len(array)) == [SIZE] * len(pool.workers)
    finally:
        mark.unlink(missing_ok=True)


def test_stop_does_not_wait_until_it_has_come(pool, stage):
    array = random_bytes()
    run = pool.map_async(lambda i: int(array[i]), range(64), chunksize=1)
    run.cancel()

    assert pool.map(lambda i: int(array[i]), range(4)) == array[:4].tolist()
