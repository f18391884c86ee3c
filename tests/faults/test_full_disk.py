"""Faults: the disk is full, simulated by a limit on file sizes."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys

import pytest

import nbpar

pytestmark = pytest.mark.engines

RESULTS = 2000


@contextlib.contextmanager
def room_for(nbytes):
    """Let files of this process grow no further in the block."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The folder of the journals."""
    monkeypatch.setenv("NBPAR_JOURNALS", str(tmp_path / "journals"))


def long_text(item):
    return f"{item:1000}"


def test_a_journal_without_room_is_told_of_and_costs_no_results(pool, caplog):
    with room_for(200_000):
        results = pool.map(long_text, range(RESULTS), resume="full")

    assert results == [long_text(item) for item in range(RESULTS)]
    assert "journal 'full' takes no more results of this run, which goes on: disk" in caplog.text


def test_a_journal_goes_on_when_there_is_room_again(pool):
    pool.map(long_text, range(10), resume="again")
    with room_for(200_000):
        pool.map(long_text, range(RESULTS), resume="again")

    assert pool.map(long_text, range(RESULTS), resume="again") == [long_text(i) for i in range(RESULTS)]
    assert 10 <= nbpar.last_run.snapshot.known < RESULTS
    assert pool.map(long_text, range(RESULTS), resume="again") == [long_text(i) for i in range(RESULTS)]
    assert nbpar.last_run.snapshot.known == RESULTS


def test_a_journal_that_cannot_be_begun_is_a_clear_error(pool):
    with room_for(0), pytest.raises(nbpar.JournalError, match=r"'none' cannot be opened at .*: disk"):
        pool.map(long_text, range(2), resume="none")


def test_an_item_that_fills_the_disk_fails_alone_and_what_items_print_arrives(pool, tmp_path):
    path = str(tmp_path / "large")

    def write(item):
        print(f"item {item} begins")
        if item == 2:
            with room_for(1000), open(path, "w") as file:  # noqa: PTH123 (a path is not imported there)
                file.write("x" * 10_000)
        os.system(f"echo item {item} ends")
        return item

    run = pool.map_async(write, range(5), errors="collect", chunksize=1)
    results = run.get(60)

    assert [failure.index for failure in results.failures] == [2]
    assert isinstance(results[2].exception, OSError)
    assert str(run.output).count("begins") == 5
    assert str(run.output).count("ends") == 4


START = """
import resource, nbpar
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
nbpar.Pool(2, progress="none").map(abs, [1])
"""


def test_a_pool_that_cannot_start_without_room_says_so_and_leaves_nothing():
    ended = subprocess.run(
        [sys.executable, "-c", START], check=False, capture_output=True, text=True, timeout=60
    )

    assert "ClusterError: no place for the cluster's runtime directory; set TMPDIR" in ended.stderr
    assert ended.returncode == 1
