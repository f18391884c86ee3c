"""Results in the journal are delivered, and all others are computed, on every kind of worker."""

from __future__ import annotations

import logging
import random
import threading
import uuid
from pathlib import Path

import pytest

import nbpar
from nbpar.testing import Gate, until


def test_a_second_run_computes_only_what_is_missing(pool, notes, squaring):
    pool.map(squaring, range(6), resume="squares")

    results = pool.map(squaring, range(9), resume="squares")

    assert results == [x * x for x in range(9)]
    assert set(notes.counts.values()) == {1}
    assert (figures().known, figures().done) == (6, 9)


def test_items_are_found_wherever_they_stand(pool, notes, squaring):
    pool.map(squaring, [3, 1, 4], resume="squares")

    assert pool.map(squaring, [9, 4, 8, 3, 7, 1, 6], resume="squares") == [81, 16, 64, 9, 49, 1, 36]
    assert set(notes.counts.values()) == {1}


@pytest.mark.parametrize("call", ["imap", "imap_unordered", "map_async"])
def test_every_map_resumes(pool, notes, squaring, call):
    pool.map(squaring, range(0, 20, 2), resume="squares")

    results = getattr(pool, call)(squaring, (x for x in range(20)), resume="squares")

    values = results.get() if call == "map_async" else list(results)
    assert (sorted(values) if call == "imap_unordered" else values) == [x * x for x in range(20)]
    assert set(notes.counts.values()) == {1}


def test_a_stream_keeps_its_order_where_known_and_new_results_alternate(pool, squaring):
    pool.map(squaring, [x for x in range(300) if x % 3], resume="squares")

    results = list(pool.imap(squaring, range(300), resume="squares", chunksize=1))

    assert results == [x * x for x in range(300)]


def test_a_stream_of_known_results_does_not_run_ahead(pool, squaring):
    pool.map(squaring, range(50), resume="squares")
    read = []

    def items():
        for x in range(50):
            read.append(x)
            yield x

    stream = pool.imap(squaring, items(), resume="squares", buffersize=5)

    assert next(stream) == 0
    assert len(read) <= 6
    assert list(stream) == [x * x for x in range(1, 50)]


def test_an_endless_input_of_known_items_is_fine(pool, squaring):
    pool.map(squaring, range(3), resume="squares")

    def endless():
        while True:
            yield 2

    stream = pool.imap(squaring, endless(), resume="squares")

    assert [next(stream) for _ in range(5)] == [4] * 5
    stream.close()


def test_starmap_is_not_map(pool):
    pairs = [(1, 2), (3, 4)]

    assert pool.starmap(lambda *both: both, pairs, resume="pairs") == pairs
    with pytest.warns(nbpar.JournalWarning, match="the way in which items become arguments changed"):
        assert pool.map(lambda *both: both, pairs, resume="pairs") == [((1, 2),), ((3, 4),)]


def test_equal_items_have_a_result_each(pool):
    def unique(x):
        return (x, uuid.uuid4().hex)

    before = pool.map(unique, ["a", "a", "b"], resume="unique")
    after = pool.map(unique, ["a", "b", "a", "a"], resume="unique")

    assert after[:3] == [before[0], before[2], before[1]]
    assert after[3] not in before


@pytest.fixture
def draw(pool):
    """Draws all that a seed governs on these workers: what `random` draws from, threads share."""
    if pool.backend == "threads":
        return lambda _: nbpar.rng().random()
    return lambda _: (nbpar.rng().random(), random.random())


def test_items_keep_their_random_numbers(pool, draw):
    whole = pool.map(draw, range(10), seed=7)
    pool.map(draw, range(4), seed=7, resume="draws")

    assert pool.map(draw, range(10), seed=7, resume="draws") == whole


def test_with_a_seed_an_item_that_moved_is_computed_anew(pool, draw):
    pool.map(draw, [1, 2], seed=7, resume="draws")

    assert pool.map(draw, [0, 1, 2], seed=7, resume="draws") == pool.map(draw, [0, 1, 2], seed=7)


def test_failures_are_tried_again(pool, tmp_path):
    mark = tmp_path / "mended"

    def fragile(x):
        if x == 2 and not mark.exists():
            raise ValueError("not yet")
        return -x

    first = pool.map(fragile, range(4), errors="collect", resume="fragile")
    mark.touch()

    assert [failure.index for failure in first.failures] == [2]
    assert pool.map(fragile, range(4), resume="fragile") == [0, -1, -2, -3]


def test_a_retried_item_is_kept_too(pool, notes):
    folder = Path(notes.folder)

    def second_time(x):
        with (folder / str(x)).open("a") as file:
            file.write(".")
        if (folder / str(x)).stat().st_size < 2:
            raise OSError("once")
        return x

    pool.map(second_time, range(3), retries=1, resume="retried")
    pool.map(second_time, range(3), resume="retried")

    assert set(notes.counts.values()) == {2}


def test_a_stopped_run_keeps_what_was_done(kind, pool, tmp_path):
    if kind == "serial":
        pytest.skip("items run in the test's own thread")
    (tmp_path / "gate").mkdir()
    gate = Gate(str(tmp_path / "gate"))

    def wait_at_seven(x):
        if x == 7:
            gate.wait()
        return x

    run = pool.map_async(wait_at_seven, range(8), chunksize=1, resume="stopped")
    gate.until_waiting()
    until(lambda: len(run.finished_indices) == 7)
    run.cancel()
    gate.open()

    assert pool.map(wait_at_seven, range(8), resume="stopped") == list(range(8))
    assert figures().known == 7


def test_several_runs_may_use_one_journal_at_once(pool, notes, squaring):
    first = pool.map_async(squaring, range(40), resume="squares")
    second = pool.map_async(squaring, range(40), resume="squares")

    assert first.get() == second.get() == [x * x for x in range(40)]
    notes.clear()
    pool.map(squaring, range(40), resume="squares")
    assert not notes.counts


def test_results_of_a_notebooks_type_are_of_that_type_again(pool):
    pool.map(Point, [(1, 2)], resume="points")

    (point,) = pool.map(Point, [(1, 2)], resume="points")

    assert type(point) is Point


def test_items_without_a_pickle_are_computed_each_time(serial, notes):
    folder = Path(notes.folder)

    def locked(pair):
        with (folder / "called").open("a") as file:
            file.write(".")
        return pair[0]

    generators = [(1, (x for x in "a"))]
    assert serial.map(locked, generators, resume="locked") == [1]
    assert serial.map(locked, generators, resume="locked") == [1]
    assert notes.counts["called"] == 2


def test_results_without_a_pickle_are_computed_each_time_and_that_is_logged_once(serial, caplog):
    def make(x):
        return threading.Lock() if x else x

    with caplog.at_level(logging.WARNING, "nbpar"):
        serial.map(make, range(4), resume="locks")
    serial.map(make, range(4), resume="locks")

    assert [record.getMessage() for record in caplog.records if "cannot be pickled" in record.getMessage()]
    assert figures().known == 1


def test_large_results_come_back(serial):
    import numpy as np

    def rise(x):
        return np.arange(x)

    first = serial.map(rise, [10, 100_000], resume="arrays")
    second = serial.map(rise, [10, 100_000], resume="arrays")

    assert figures().known == 2
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


class Point:
    """A type of the user's own."""

    def __init__(self, pair):
        self.x, self.y = pair


def figures():
    """The figures of the last run."""
    run = nbpar.last_run
    return run.snapshot if hasattr(run, "snapshot") else run.report
