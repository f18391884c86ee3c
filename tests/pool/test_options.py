"""Options of a map, and the messages about invalid ones."""

from __future__ import annotations

import pytest

import nbpar
import nbpar.pool.defaults
from nbpar.core.rates.retry import Retry
from nbpar.pool.limits import WorkerLimits
from nbpar.pool.options import Options


def test_the_defaults_need_no_words():
    options = Options.of({})

    assert options.fixed_chunksize is None
    assert options.retry == Retry()
    assert options.errors == "raise"


@pytest.mark.parametrize(
    "given",
    [
        {"chunksize": 1},
        {"chunksize": "auto"},
        {"timeout": 0.5},
        {"timeout": 3},
        {"retries": 3},
        {"retries": Retry(2, on=OSError)},
        {"retries": None},
        {"errors": "skip", "max_errors": 0},
        {"seed": -5},
        {"total": 0},
        {"buffersize": 1},
    ],
    ids=repr,
)
def test_what_makes_sense_is_taken(given):
    options = Options.of(given)

    assert {name: getattr(options, name) for name in given} == given


def test_numbers_of_numpy_are_numbers():
    import numpy as np

    names = ["chunksize", "seed", "total", "buffersize", "concurrency", "workers", "max_errors"]
    numbers = dict.fromkeys(names, np.uint8(3))

    options = Options.of({**numbers, "timeout": np.float32(2.0), "errors": "skip"})

    assert {name: type(getattr(options, name)) for name in names} == dict.fromkeys(names, int)


def test_numbers_of_numpy_are_numbers_in_stages_and_limits():
    import numpy as np

    names = ["workers", "queue_size", "batch_size", "concurrency"]
    stage = nbpar.Stage(abs, **dict.fromkeys(names, np.int64(5)))
    limits = WorkerLimits(np.int64(5), np.int64(5))

    assert {name: type(getattr(stage, name)) for name in names} == dict.fromkeys(names, int)
    assert (type(limits.max_items), type(limits.max_memory)) == (int, int)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"chunksize": 0}, ValueError, "chunksize must be at least 1, was 0"),
        ({"chunksize": 2.5}, TypeError, 'chunksize must be "auto" or a whole number, was 2.5'),
        ({"chunksize": "big"}, TypeError, "whole number, was 'big'"),
        ({"timeout": 0}, ValueError, "timeout must be a number of seconds above 0, was 0"),
        ({"timeout": float("nan")}, ValueError, "above 0, was nan"),
        ({"timeout": "3"}, TypeError, "timeout must be a number of seconds, was '3'"),
        ({"timeout": True}, TypeError, "timeout must be a number of seconds, was True"),
        ({"chunksize": True}, TypeError, 'chunksize must be "auto" or a whole number, was True'),
        ({"buffersize": True}, TypeError, "buffersize must be a whole number, was True"),
        ({"max_errors": False}, TypeError, "max_errors must be None or a whole number, was False"),
        ({"total": True}, TypeError, "total must be None or a whole number, was True"),
        ({"seed": True}, TypeError, "seed must be a whole number, was True"),
        ({"retries": True}, TypeError, "retries must be a whole number or a Retry, was True"),
        ({"retries": -1}, ValueError, "retries must be at least 0"),
        ({"retries": "many"}, TypeError, "retries must be a whole number or a Retry"),
        ({"errors": "ignore"}, ValueError, 'errors must be "raise", "collect" or "skip", was \'ignore\''),
        ({"progress": "bar"}, ValueError, 'progress must be "auto", "widget", "text" or "none", was \'bar\''),
        ({"max_errors": -1}, ValueError, "max_errors must be at least 0, was -1"),
        ({"max_errors": 0.5}, TypeError, "max_errors must be None or a whole number, was 0.5"),
        ({"seed": "abc"}, TypeError, "seed must be a whole number, was 'abc'"),
        ({"buffersize": 0}, ValueError, "buffersize must be at least 1, was 0"),
        ({"chunk_size": 1}, TypeError, "unknown option 'chunk_size'; did you mean chunksize"),
        ({"zzz": 1}, TypeError, "unknown option 'zzz'; there are chunksize, timeout"),
        ({"retry": Retry()}, TypeError, "unknown option 'retry'; did you mean retries"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(given, error, message):
    with pytest.raises(error, match=message):
        Options.of(given)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nbpar.Pool(True, backend="threads"), "workers must be a whole number, was True"),
        (
            lambda: nbpar.pool.defaults.default_pool(True, "threads"),
            "workers must be a whole number, was True",
        ),
        (lambda: nbpar.Pool(1, max_items_per_worker=True), "max_items_per_worker must be None or a whole"),
        (lambda: nbpar.Pool(1, max_worker_memory=True), "max_worker_memory must be None or a whole"),
        (lambda: nbpar.Stage(abs, workers=True), "workers must be None or a whole number, was True"),
        (lambda: nbpar.Stage(abs, queue_size=True), "queue_size must be None or a whole number, was True"),
        (lambda: nbpar.Stage(abs, batch_size=True), 'batch_size must be "auto" or a whole number, was True'),
        (lambda: nbpar.Cluster(True), "the number of engines must be a whole number, was True"),
        (lambda: nbpar.advise(abs, [1], workers=True), "workers must be a whole number, was True"),
    ],
)
def test_a_truth_value_is_no_number_of_anything(make, message):
    with pytest.raises(TypeError, match=message):
        make()
