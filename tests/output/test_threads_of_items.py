"""What a thread prints belongs to the item that has started it."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

import nbpar
from nbpar.testing import Gate
from nbpar.worker.output.recorder import PER_ITEM

KINDS = {
    "serial": {"backend": "serial"},
    "threads": {"backend": "threads"},
    "engines": {},
    "controller": {"path": "controller"},
}


@pytest.fixture(scope="module", params=KINDS)
def one(request):
    """A pool of each kind, with one worker."""
    with nbpar.Pool(1, progress="none", **KINDS[request.param]) as pool:
        yield pool


@pytest.fixture
def gates():
    return [Gate(), Gate()]


def is_far(pool):
    return pool.backend == "engines"


def test_a_thread_that_ends_with_its_item_prints_for_it(one, capsys):
    def talk(i):
        print("before", i)
        thread = threading.Thread(target=lambda: print("meanwhile", i))
        thread.start()
        thread.join()
        print("after", i)

    one.map(talk, range(2))

    lines = [f"[{i}] {word} {i}" for i in range(2) for word in ("before", "meanwhile", "after")]
    assert capsys.readouterr().out.splitlines() == lines
    assert str(nbpar.last_run.output).splitlines() == lines


def test_threads_of_threads_and_of_an_executor_do_so_too(one, capsys):
    def talk(i):
        def outer():
            inner = threading.Thread(target=print, args=("inner", i))
            inner.start()
            inner.join()

        thread = threading.Thread(target=outer)
        thread.start()
        thread.join()
        with ThreadPoolExecutor(1) as executor:
            executor.submit(print, "pooled", i).result()

    one.map(talk, range(2))

    assert capsys.readouterr().out.splitlines() == [
        f"[{i}] {word} {i}" for i in range(2) for word in ("inner", "pooled")
    ]


def test_threads_of_an_executor_that_is_kept_print_for_the_item_that_runs(one, capsys):
    def talk(i):
        kept = vars(threading).setdefault("_kept_by_a_test", ThreadPoolExecutor(1))
        kept.submit(print, "pooled", i).result()
        if i == 2:
            vars(threading).pop("_kept_by_a_test").shutdown()

    one.map(talk, range(3), chunksize=1)

    assert capsys.readouterr().out.splitlines() == [f"[{i}] pooled {i}" for i in range(3)]


def leave_a_thread(gates, say):
    """Return a function whose item 0 leaves a thread that calls `say` while item 1 runs."""

    def late():
        gates[0].wait()
        say()
        gates[1].open()

    def talk(i):
        if i == 0:
            threading.Thread(target=late).start()
        print("begins", i)
        if i == 1:
            gates[0].open()
            gates[1].wait()
        print("ends", i)
        return i

    return talk


def test_a_thread_that_outlives_its_item_does_not_print_for_another(one, gates, capsys):
    one.map(leave_a_thread(gates, lambda: print("late")), range(3), chunksize=1)

    lines = capsys.readouterr().out.splitlines()
    assert ("[0] late" if is_far(one) else "late") in lines
    assert [line for line in lines if "late" not in line] == [
        f"[{i}] {word} {i}" for i in range(3) for word in ("begins", "ends")
    ]
    assert nbpar.last_run.output.of(1) == "begins 1\nends 1\n"
    assert ("late\n" in nbpar.last_run.output.of(0)) == is_far(one)


def test_a_stream_shows_what_comes_late_too(one, gates, capsys):
    results = list(one.imap(leave_a_thread(gates, lambda: print("late")), range(3), chunksize=1))

    assert results == [0, 1, 2]
    assert ("[0] late" if is_far(one) else "late") in capsys.readouterr().out.splitlines()


def test_errors_warnings_and_records_of_such_a_thread_are_its_items_too(one, gates, capsys, recwarn, caplog):
    if not is_far(one):
        pytest.skip("they are this process's own")

    def say():
        warnings.warn("late warning", stacklevel=1)
        logging.getLogger("late").warning("late record")
        print("late trouble", file=sys.stderr)

    one.map(leave_a_thread(gates, say), range(3), chunksize=1)

    assert "[0] late trouble" in capsys.readouterr().err.splitlines()
    assert "[0] late warning" in [str(one.message) for one in recwarn]
    assert [(record.getMessage(), record.item) for record in caplog.records] == [("late record", 0)]


def test_what_comes_late_is_bounded(one, gates):
    if not is_far(one):
        pytest.skip("it goes to the streams of this process")

    def say():
        for _ in range(30):
            print("x" * (PER_ITEM // 10))

    one.map(leave_a_thread(gates, say), range(3), chunksize=1)

    said = nbpar.last_run.output.of(0)
    assert said.count("x") <= PER_ITEM
    assert f"a thread that outlives its item printed more than {PER_ITEM} characters" in said


def test_what_comes_after_the_run_is_no_output_of_the_next(one, gates, capfd):
    def talk(i):
        def late():
            gates[0].wait()
            print("late", flush=True)
            gates[1].open()

        threading.Thread(target=late).start()
        return i

    def listen(i):
        gates[0].open()
        gates[1].wait()
        print("next", i)

    one.map(talk, [0])
    one.map(listen, [0])

    assert str(nbpar.last_run.output) == "[0] next 0"
    assert capfd.readouterr().out.splitlines() == (["[0] next 0"] if is_far(one) else ["late", "[0] next 0"])
