"""Results of a pipeline in the journal pass all stages untouched."""

from __future__ import annotations

import itertools
import random

import pytest

import nbpar
from nbpar import Stage
from nbpar.testing import Gate, until


def figures():
    return nbpar.last_run.snapshot


def more(x):
    return x + 1


def sizes(items):
    return [(item, len(items)) for item in items]


def first(pair):
    return pair[0]


@pytest.fixture
def steps(squaring):
    return [more, squaring, Stage(sizes, batched=True), first]


EXPECTED = [(x + 1) ** 2 for x in range(60)]


@pytest.mark.parametrize("batch_size", ["auto", 1, 4])
def test_only_missing_items_run(pool, notes, steps, batch_size):
    pipeline = nbpar.Pipeline(steps, pool=pool, batch_size=batch_size)
    pipeline.map([x for x in range(40) if x % 3], resume="steps")

    results = pipeline.map(range(60), resume="steps")

    assert results == EXPECTED
    assert set(notes.counts.values()) == {1}
    assert (figures().known, figures().done) == (26, 60)
    assert [stage.done for stage in nbpar.last_run.stages] == [34] * 4


@pytest.mark.parametrize("way", ["imap", "imap_unordered", "map_async"])
def test_every_way_resumes(pool, notes, steps, way):
    pipeline = nbpar.Pipeline(steps, pool=pool, batch_size=3)
    pipeline.map(range(0, 60, 2), resume="steps")

    results = getattr(pipeline, way)(iter(range(60)), resume="steps")

    values = results.get(60) if way == "map_async" else list(results)
    assert (sorted(values) if way == "imap_unordered" else values) == EXPECTED
    assert set(notes.counts.values()) == {1}


def test_batches_are_as_they_would_be_where_nothing_is_known(pool):
    pipeline = nbpar.Pipeline([more, Stage(sizes, batched=True)], pool=pool, batch_size=4)
    pipeline.map([5], resume="batches")

    got = pipeline.map(range(10), resume="batches")

    # the known item is missing in the second batch, which therefore comes in two pieces
    assert [size for _, size in got] == [4, 4, 4, 4, 1, 1, 2, 2, 2, 2]


def test_unions_resume(pool, notes, squaring):
    branches = nbpar.Union([more, [more, squaring]], join="zip")
    pipeline = nbpar.Pipeline([more, branches, list], pool=pool, batch_size=2)
    pipeline.map(range(1, 30, 2), resume="union")

    assert pipeline.map(range(30), resume="union") == [[x + 2, (x + 2) ** 2] for x in range(30)]
    assert set(notes.counts.values()) == {1}


def test_what_failed_in_a_stage_is_tried_again_and_nothing_else(pool, notes, squaring, tmp_path):
    door = tmp_path / "door"

    def picky(x):
        if x == 16 and not door.exists():
            raise ValueError("shut")
        return x

    pipeline = nbpar.Pipeline([squaring, picky, more], pool=pool, batch_size=2)
    skipped = pipeline.map(range(8), errors="skip", resume="picky")
    door.touch()

    assert [failure.index for failure in skipped.failures] == [4]
    assert pipeline.map(range(8), resume="picky") == [x * x + 1 for x in range(8)]
    assert notes.counts == {**dict.fromkeys(map(str, range(8)), 1), "4": 2}


def test_a_change_in_any_stage_begins_anew_and_is_named(serial):
    def scaled(by):
        return lambda x: x * by

    nbpar.Pipeline([more, scaled(2)], pool=serial).map([1], resume="changed")

    with pytest.warns(nbpar.JournalWarning, match="`by` in stage 2 changed"):
        assert nbpar.Pipeline([more, scaled(3)], pool=serial).map([1], resume="changed") == [6]
    with pytest.warns(nbpar.JournalWarning, match="in stage 1 is new"):
        nbpar.Pipeline([scaled(3), more], pool=serial).map([1], resume="changed")
    with pytest.warns(nbpar.JournalWarning, match="in stage 3 is new"):
        nbpar.Pipeline([scaled(3), more, more], pool=serial).map([1], resume="changed")


def test_what_prepares_a_worker_counts(serial):
    def steps(**more_of_it):
        return nbpar.Pipeline([Stage(abs, **more_of_it)], pool=serial)

    steps(initializer=print, initargs=("a",)).map([1], resume="prepared")

    with pytest.warns(nbpar.JournalWarning, match="in the initializer of stage 1 changed"):
        steps(initializer=print, initargs=("b",)).map([1], resume="prepared")
    with pytest.warns(nbpar.JournalWarning, match="in the worker_args of stage 1 is new"):
        steps(initializer=print, worker_args=[("c",)]).map([1], resume="prepared")
    steps(initializer=print, worker_args=[("c",)]).map([1], resume="prepared")
    assert figures().known == 1


def test_how_stages_are_connected_counts(serial):
    nbpar.Pipeline([more, abs], pool=serial).map([1], resume="connected")

    with pytest.warns(nbpar.JournalWarning, match="starts anew"):
        nbpar.Union([more, abs], join="zip", pool=serial).map([1], resume="connected")


def test_what_nobody_can_compare_is_named(serial):
    numbers = (x for x in range(3))

    with pytest.raises(nbpar.JournalError, match="`numbers`"):
        nbpar.Pipeline([abs, lambda x: next(numbers)], pool=serial).map([1], resume="x")


def test_seeded_items_are_found_by_their_place(pool):
    pipeline = nbpar.Pipeline([draw, more], pool=pool, batch_size=2)
    whole = pipeline.map([7] * 6, seed=3)
    pipeline.map([7] * 3, seed=3, resume="drawn")

    assert pipeline.map([7] * 6, seed=3, resume="drawn") == whole
    assert figures().known == 3


def draw(x):
    return random.random()


def test_a_stream_of_known_results_does_not_run_ahead(pool, steps):
    pipeline = nbpar.Pipeline(steps, pool=pool)
    pipeline.map(range(60), resume="steps")
    read = []

    def items():
        for x in range(60):
            read.append(x)
            yield x

    stream = pipeline.imap(items(), resume="steps", buffersize=5)

    assert next(stream) == 1
    assert len(read) < 30
    assert list(stream) == EXPECTED[1:]


def test_endless_known_input_is_fine(pool, steps):
    pipeline = nbpar.Pipeline(steps, pool=pool)
    pipeline.map([2], resume="steps")

    stream = pipeline.imap(itertools.repeat(2), resume="steps")

    assert list(itertools.islice(stream, 4)) == [9] * 4
    stream.close()


def test_a_pipeline_that_is_stopped_keeps_what_is_done(notes, tmp_path):
    gate = Gate(str(tmp_path))

    def held(x):
        if x == 5:
            gate.wait()
        return x

    with nbpar.Pool(2, backend="threads", progress="none") as pool:
        pipeline = nbpar.Pipeline([more, held], pool=pool, batch_size=1)
        run = pipeline.map_async(range(12), resume="stopped")
        until(lambda: run.snapshot.done >= 4, 30, "nothing was done")
        run.cancel()
        gate.open()
        assert pipeline.map(range(12), resume="stopped") == list(range(1, 13))
    assert figures().known >= 4
