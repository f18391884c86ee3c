"""Objects that each worker has once, however many functions and items refer to them."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import nbpar
from nbpar.testing import until

KINDS = {
    "serial": {"backend": "serial"},
    "threads": {"backend": "threads"},
    "engines": {},
    "controller": {"path": "controller"},
}


@pytest.fixture(
    scope="module",
    params=[
        "serial",
        "threads",
        *(pytest.param(k, marks=pytest.mark.engines) for k in ("engines", "controller")),
    ],
)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def pool(kind):
    with nbpar.Pool(2, progress="none", **KINDS[kind]) as pool:
        yield pool


@pytest.fixture(scope="module")
def engines():
    with nbpar.Pool(2, progress="none") as pool:
        yield pool


class Counted:
    """Notes in a folder how often it was unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __setstate__(self, state):
        self.__dict__ = state
        Path(self.folder, f"{os.getpid()}-{threading.get_ident()}-{os.urandom(4).hex()}").touch()


# ---- everywhere


def test_a_captured_handle_has_the_value(pool):
    table = pool.share({"a": 1, "b": [2, 3]})

    assert table.value == {"a": 1, "b": [2, 3]}
    assert pool.map(lambda key: table.value[key], ["a", "b", "a"]) == [1, [2, 3], 1]


def test_a_handle_may_be_an_item(pool):
    array = pool.share(np.arange(300_000))

    assert pool.starmap(lambda one, i: int(one.value[i]), [(array, i) for i in range(10)]) == list(range(10))


def test_several_functions_use_the_same(pool):
    words = pool.share(["a", "b"])

    assert pool.map(lambda i: words.value[i], [0, 1]) == ["a", "b"]
    assert pool.map(lambda i: words.value[i].upper(), [0, 1]) == ["A", "B"]
    assert pool.submit(lambda: len(words.value)).result() == 2


def test_a_handle_that_comes_back_is_the_one_that_was_sent(pool):
    shared = pool.share([1, 2, 3])

    assert pool.map(lambda _: shared, [0]) == [shared]


def test_inside_an_item_sharing_is_free(pool):
    def inner(n):
        with nbpar.Pool(2) as pool:
            shared = pool.share([n])
            return pool.map(lambda i: shared.value[0] + i, [1, 2])

    assert pool.map(inner, [10, 20]) == [[11, 12], [21, 22]]


# ---- on engines


@pytest.mark.engines
def test_it_travels_once_to_each_engine(engines, tmp_path):
    shared = engines.share(Counted(str(tmp_path)))

    for _ in range(3):
        engines.map(lambda _: shared.value.folder, range(50), chunksize=5)
    engines.map(lambda one: one.value.folder, [shared] * 50, chunksize=5)

    loaded = [path.name.split("-")[0] for path in tmp_path.iterdir()]
    assert len(loaded) == len(set(loaded)) <= 2


@pytest.mark.engines
@pytest.mark.parametrize("kind", ["engines", "controller"])
def test_arrays_arrive_read_only(kind):
    with nbpar.Pool(1, progress="none", **KINDS[kind]) as pool:
        array = pool.share(np.zeros(1000))
        large = pool.share(np.zeros(1_000_000))

        def write(shared):
            shared.value[0] = 1

        for shared in (array, large):
            with pytest.raises(ValueError, match="read-only"):
                pool.map(write, [shared])
        assert array.value.flags.writeable


@pytest.mark.engines
def test_what_cannot_travel_is_said_at_once(engines):
    with pytest.raises(nbpar.PicklingError, match=r"cannot send the object to the workers.*lock"):
        engines.share({"lock": threading.Lock()})


@pytest.mark.engines
def test_it_is_as_it_was_when_it_was_shared(engines):
    array = np.zeros(300_000)
    shared = engines.share(array)
    array[0] = 5

    assert engines.map(lambda _: float(shared.value[0]), [0, 1]) == [0.0, 0.0]


@pytest.mark.engines
def test_the_memory_is_given_back_with_the_handle(engines, memory_files):
    shared = [engines.share(np.ones(1_000_000))]
    engines.map(lambda one: float(one.value[0]), shared)
    name = shared[0]._contents.name
    assert any(name in file for file in memory_files())

    shared.clear()
    engines.map(abs, [1])  # `nbpar.last_run` knows its items
    gc.collect()

    until(lambda: not any(name in file for file in memory_files()))


@pytest.mark.engines
def test_engines_let_go_of_it_when_they_are_let_go(engines):
    shared = engines.share(np.ones(1_000_000))
    pids = engines.each(lambda: (float(shared.value[0]), os.getpid())[1])
    assert all("memfd:nbpar-" in Path(f"/proc/{pid}/maps").read_text() for pid in pids)

    until(lambda: not any("memfd:nbpar-" in Path(f"/proc/{pid}/maps").read_text() for pid in pids))


@pytest.mark.engines
def test_a_handle_that_went_too_early_is_said_to_be_gone(engines):
    with nbpar.Group(pool=engines) as group:
        channel = group[0].remote_exec(lambda channel: channel.send(float(channel.receive().value[0])))
        channel.send(engines.share(np.ones(1_000_000)))
        gc.collect()

        with pytest.raises(Exception, match="a shared object is not there any more"):
            channel.receive(timeout=60)


@pytest.mark.engines
def test_an_engine_that_comes_later_finds_it():
    with nbpar.Pool(1, progress="none") as pool:
        shared = pool.share(np.arange(1_000_000))
        assert pool.map(lambda i: int(shared.value[i]), [1, 2]) == [1, 2]

        pool.restart()

        assert pool.map(lambda i: int(shared.value[i]), [1, 2]) == [1, 2]


@pytest.mark.engines
def test_nothing_stays_behind_a_process_that_is_killed():
    program = (
        "import nbpar, numpy as np, sys, time\n"
        "pool = nbpar.Pool(2, progress='none')\n"
        "shared, captured = pool.share(np.ones(1_000_000)), np.ones(1_000_000)\n"
        "pool.map(lambda i: float(shared.value[i] + captured[i]), range(4))\n"
        "pids = pool.each(__import__('os').getpid)\n"
        "print(*pids, flush=True)\n"
        "time.sleep(100)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
        process.send_signal(signal.SIGKILL)
        process.wait()

    until(lambda: not any(_lives(pid) for pid in pids))  # and their memory, which has no other name, goes too


@pytest.mark.engines
def test_a_journal_knows_it_by_its_value(engines, tmp_path, monkeypatch):
    monkeypatch.setenv("NBPAR_JOURNALS", str(tmp_path))

    def scaled_by(factor):
        shared = engines.share(np.full(10, factor))
        return engines.map(lambda i: int(i * shared.value[0]), range(3), resume="scaled")

    assert scaled_by(2) == [0, 2, 4]
    assert scaled_by(2) == [0, 2, 4]
    assert nbpar.last_run.snapshot.known == 3
    with pytest.warns(nbpar.JournalWarning, match="`shared` changed"):
        assert scaled_by(5) == [0, 5, 10]


def _lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
