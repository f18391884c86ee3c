"""Functions and inputs that fail, on every kind of worker."""

from __future__ import annotations

import itertools
import sys
import traceback

import pytest

import nbpar
from nbpar import Failure, ItemExitedError
from nbpar.core.rates.retry import Retry


def picky(x):
    if x % 3 == 2:
        raise ValueError(f"{x} will not do")
    return x * 10


def notes(error):
    return "\n".join(getattr(error, "__notes__", [])) + str(error.__cause__ or "")


def test_the_first_failure_is_raised_with_its_own_type_and_names_its_item(pool):
    with pytest.raises(ValueError, match="2 will not do") as caught:
        pool.map(picky, [0, 1, 2, 3])

    assert "item 2, 2, failed " in notes(caught.value)


def test_a_failure_can_be_examined_and_replayed(pool):
    with pytest.raises(ValueError, match="2 will not do"):
        pool.map(picky, [0, 1, 2])

    [failure] = nbpar.last_run.failures
    assert (failure.index, failure.item, failure.attempts) == (2, 2, 1)
    assert "picky" in failure.traceback
    with pytest.raises(ValueError, match="2 will not do"):
        failure.replay()


def test_an_exception_of_the_users_own_class_arrives_as_itself(pool):
    class OutOfTune(Exception):
        def __init__(self, note, cents):
            super().__init__(note, cents)
            self.cents = cents

    def play(note):
        raise OutOfTune(note, 30)

    with pytest.raises(Exception, match="a4") as caught:
        pool.map(play, ["a4"])

    assert type(caught.value).__name__ == "OutOfTune"
    assert caught.value.cents == 30


def test_collect_puts_failures_in_their_place(pool):
    results = pool.map(picky, range(6), errors="collect")

    assert [r if not isinstance(r, Failure) else "failed" for r in results] == [
        0,
        10,
        "failed",
        30,
        40,
        "failed",
    ]
    assert [failure.index for failure in results.failures] == [2, 5]


def test_skip_leaves_failures_out_and_still_knows_them(pool):
    results = pool.map(picky, range(6), errors="skip")

    assert results == [0, 10, 30, 40]
    assert [failure.index for failure in results.failures] == [2, 5]


@pytest.mark.parametrize("errors", ["collect", "skip"])
def test_too_many_failures_raise_after_all(pool, errors):
    assert len(pool.map(picky, range(6), errors=errors, max_errors=2).failures) == 2

    with pytest.raises(ValueError, match="will not do"):
        pool.map(picky, range(6), errors=errors, max_errors=1, chunksize=1)


def test_imap_raises_where_the_failed_item_would_have_come(pool):
    values = pool.imap(picky, range(6))

    assert [next(values), next(values)] == [0, 10]
    with pytest.raises(ValueError, match="2 will not do"):
        next(values)


def test_imap_collects_and_skips_too(pool):
    collected = list(pool.imap(picky, range(6), errors="collect"))

    assert [type(value).__name__ for value in collected] == ["int", "int", "Failure"] * 2
    assert sorted(pool.imap_unordered(picky, range(6), errors="skip")) == [0, 10, 30, 40]


def test_a_failed_item_is_tried_again(pool, tmp_path):
    folder = str(tmp_path)

    def flaky(x):
        import pathlib

        tries = pathlib.Path(folder, str(x))
        before = len(tries.read_text()) if tries.exists() else 0
        tries.write_text("x" * (before + 1))
        if before < x:
            raise OSError(f"{x} is not there yet")
        return before + 1

    retry = Retry(2, first=0.0)
    assert pool.map(flaky, [0, 1, 2], retries=retry) == [1, 2, 3]
    with pytest.raises(OSError, match="5 is not there yet"):
        pool.map(flaky, [5], retries=retry)
    assert nbpar.last_run.failures[0].attempts == 3
    with pytest.raises(OSError, match="9 is not there yet"):
        pool.map(flaky, [9], retries=Retry(2, first=0.0, on=KeyError))
    assert nbpar.last_run.failures[0].attempts == 1


@pytest.mark.parametrize("good", [0, 1, 20])
def test_an_input_that_raises_ends_the_map_with_its_exception_and_keeps_what_was_done(pool, good):
    def items():
        yield from range(good)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        pool.map(lambda x: x + 1, items())

    assert nbpar.last_run.results() == list(range(1, good + 1))


def test_imap_yields_what_came_before_the_input_raised(pool):
    def items():
        yield from range(5)
        raise OSError("the disk is gone")

    values = pool.imap(lambda x: x + 1, items())

    assert list(itertools.islice(values, 5)) == [1, 2, 3, 4, 5]
    with pytest.raises(OSError, match="the disk is gone"):
        next(values)


def test_an_item_that_exits_fails_alone(pool):
    def leave(x):
        if x == 1:
            sys.exit(3)
        return x

    results = pool.map(leave, range(4), errors="collect")

    assert isinstance(results[1].exception, ItemExitedError)
    assert "sys.exit(3)" in str(results[1].exception)
    assert [results[i] for i in (0, 2, 3)] == [0, 2, 3]


def test_an_item_that_recurses_without_end_fails_alone(pool):
    def dig(x):
        return dig(x) if x == 1 else x

    results = pool.map(dig, range(4), errors="collect")

    assert isinstance(results[1].exception, RecursionError)
    assert [results[i] for i in (0, 2, 3)] == [0, 2, 3]


def test_an_item_that_raises_stop_iteration_does_not_end_the_others(pool):
    def stop(x):
        if x == 1:
            raise StopIteration(x)
        return x

    results = pool.map(stop, range(4), errors="collect")

    assert isinstance(results[1].exception, StopIteration)
    assert [results[i] for i in (0, 2, 3)] == [0, 2, 3]


def test_an_initializer_runs_before_anything_else_on_every_worker(make_pool, tmp_path, kind):
    folder = str(tmp_path)

    def note():
        import pathlib
        import uuid

        pathlib.Path(folder, uuid.uuid4().hex).touch()

    def seen(_):
        import pathlib

        return len(list(pathlib.Path(folder).iterdir()))

    pool = make_pool(initializer=note)

    assert min(pool.map(seen, range(10))) >= 1
    assert pool.each(lambda: None) == [None] * kind.workers
    assert len(list(tmp_path.iterdir())) == kind.workers


NOTEBOOK = """
model = None

def load(size):
    global model, added
    model, added = {"size": size}, 1

def use(item):
    return model["size"] + item + added
"""


def test_what_an_initializer_sets_is_seen_by_the_functions_of_the_same_notebook(make_pool):
    names = {"__name__": "__main__"}
    exec(NOTEBOOK, names)
    pool = make_pool(initializer=names["load"], initargs=(100,))

    assert pool.map(names["use"], range(4)) == [101, 102, 103, 104]


def test_an_initializer_that_fails_ends_every_map_with_its_error(make_pool):
    def broken():
        raise LookupError("no model there")

    pool = make_pool(initializer=broken)

    for _ in range(2):
        with pytest.raises(LookupError, match="no model there"):
            pool.map(abs, range(4))


def with_a_cause(item):
    try:
        {}[item]
    except KeyError as missing:
        raise ValueError("outer") from missing


def with_a_context(item):
    try:
        {}[item]
    except KeyError:
        raise ValueError("outer")  # noqa: B904 (that is the point)


def without_context(item):
    try:
        {}[item]
    except KeyError:
        raise ValueError("outer") from None


def test_the_cause_of_an_exception_arrives_with_it_and_its_line(pool):
    with pytest.raises(ValueError, match="outer") as raised:
        pool.map(with_a_cause, ["nothing"])

    cause = raised.value.__cause__
    assert type(cause) is KeyError
    assert cause.args == ("nothing",)
    names = [frame.name for frame in traceback.extract_tb(cause.__traceback__)]
    assert names[-1] == "with_a_cause"


def test_the_context_of_an_exception_arrives_unless_it_is_hidden(pool):
    with pytest.raises(ValueError, match="outer") as raised:
        pool.map(with_a_context, ["nothing"])
    with pytest.raises(ValueError, match="outer") as hidden:
        pool.map(without_context, ["nothing"])

    shown = "".join(traceback.format_exception(raised.value))
    assert "KeyError: 'nothing'" in shown
    assert "During handling of the above exception" in shown or "direct cause" in shown
    assert "During handling" not in "".join(traceback.format_exception(hidden.value))


def test_exceptions_that_lead_to_each_other_arrive(pool):
    def fails(_):
        first, second = ValueError("first"), ValueError("second")
        first.__cause__, second.__cause__ = second, first
        raise first

    with pytest.raises(ValueError, match="first") as raised:
        pool.map(fails, [0])

    assert str(raised.value.__cause__) == "second"
