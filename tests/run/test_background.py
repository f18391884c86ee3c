"""Runs that no caller waits for display themselves, and do not disturb other threads."""

from __future__ import annotations

import logging
import threading

import pytest

import nbpar
from nbpar.run import display as background
from nbpar.run.display import shown
from nbpar.views.base import Silent


class Looks:
    """A view that notes what it is told, and in which thread."""

    def __init__(self, trouble: Exception | None = None):
        self.states, self.threads = [], set()
        self.moved, self.closed = threading.Event(), threading.Event()
        self.trouble = trouble

    def show(self, look):
        self._note(look())
        if self.trouble is not None:
            raise self.trouble
        self.moved.set()

    def close(self, look):
        self._note(look())
        self.closed.set()

    def _note(self, snapshot):
        self.states.append(snapshot.state)
        self.threads.add(threading.current_thread())


@pytest.fixture
def pool():
    with nbpar.Pool(2, backend="threads") as pool:
        yield pool


@pytest.fixture
def chosen(monkeypatch):
    """The views that runs are given, in the order in which they ask for them."""
    views = []
    monkeypatch.setattr(background, "choose", lambda *_, **asked: views.pop(0))
    return views


def test_a_run_without_progress_is_shown_when_that_is_asked_for(pool, chosen):
    gate, looks = threading.Event(), Looks()
    chosen.append(looks)
    run = pool.map_async(lambda _: gate.wait(30), range(2), progress="none")

    run.show()

    assert looks.moved.wait(30)
    gate.set()
    assert looks.closed.wait(30)
    assert looks.states[-1] == "done"


def test_a_run_that_is_shown_moves_on_until_it_is_over(pool, chosen):
    gate, looks = threading.Event(), Looks()
    chosen.append(looks)
    run = pool.map_async(lambda _: gate.wait(30), range(2))

    run.show()
    assert looks.moved.wait(30)
    gate.set()

    assert looks.closed.wait(30)
    assert (looks.states[0], looks.states[-1]) == ("running", "done")
    assert threading.current_thread() not in looks.threads


def test_two_views_of_a_run_are_kept_fresh_by_one_thread(pool, chosen):
    gate, first, second = threading.Event(), Looks(), Looks()
    chosen += [first, second]
    run = pool.map_async(lambda _: gate.wait(30), range(2))

    run.show()
    run.show()
    assert second.moved.wait(30)
    gate.set()

    assert first.closed.wait(30)
    assert second.closed.wait(30)
    assert len(first.threads | second.threads) == 1


def test_a_view_that_fails_is_given_up_and_costs_nobody_else(pool, chosen, caplog):
    gate, broken, good = threading.Event(), Looks(trouble=RuntimeError("no front end")), Looks()
    chosen += [broken, good]
    run = pool.map_async(lambda x: gate.wait(30) and x, range(2), label="count")
    run.show()
    run.show()

    with caplog.at_level(logging.WARNING, "nbpar"):
        assert good.moved.wait(30)
        gate.set()
        assert good.closed.wait(30)

    assert run.get() == [0, 1]
    assert len(broken.states) == 1
    assert caplog.messages == ["a view of count is given up"]


def test_a_run_that_is_over_is_shown_as_it_ended(pool, chosen):
    looks = Looks()
    run = pool.map_async(abs, [-1])
    run.get(timeout=30)
    chosen.append(looks)

    run.show()

    assert looks.states == ["done"]


def test_what_is_asked_for_is_shown_at_once(pool, chosen):
    looks = Looks()
    chosen.append(looks)

    run = pool.map_async(abs, [-1], progress="text")

    assert looks.closed.wait(30)
    assert not run.show_in_cell()


def test_without_a_front_end_a_run_is_text(pool):
    run = pool.map_async(abs, [-1])

    with pytest.raises(NotImplementedError):
        run._ipython_display_()

    run.show()
    assert run.get(timeout=30) == [1]


def test_inside_an_item_nothing_is_shown(pool, monkeypatch):
    asked = []
    monkeypatch.setattr("nbpar.run.display.choose", lambda word, *_, **__: asked.append(word) or Silent())

    def nested(n):
        with nbpar.Pool(backend="serial", progress="text") as inner:
            return inner.map(abs, [-n])

    assert pool.map(nested, [1], progress="none") == [[1]]
    assert asked == ["none", "none"]


def test_stopping_a_serial_run_from_another_thread_only_asks_for_it():
    drivers = set()

    def work(n):
        drivers.add(threading.current_thread())
        if n == 3:
            stopper = threading.Thread(target=nbpar.last_run.cancel)
            stopper.start()
            stopper.join()
        return n

    with (
        nbpar.Pool(backend="serial", progress="none") as pool,
        pytest.raises(KeyboardInterrupt, match="was stopped"),
    ):
        pool.map(work, range(1000), chunksize=1)

    run = nbpar.last_run
    assert drivers == {threading.current_thread()}
    assert run.results() == [0, 1, 2, 3]


def test_a_view_is_told_now_and_then_also_while_results_keep_flowing(pool, monkeypatch):
    looks = Looks()
    monkeypatch.setattr("nbpar.run.display.choose", lambda *_, **__: looks)

    values = pool.imap(abs, range(20_000), chunksize=1)
    while not looks.moved.is_set():
        next(values)

    assert len(looks.states) < 100
    values.close()


def test_a_shown_block_asks_only_to_stop(pool, monkeypatch):
    controls = []
    monkeypatch.setattr("nbpar.run.display.choose", lambda _, given, **__: controls.append(given) or Silent())
    gate = threading.Event()
    run = pool.map_async(lambda _: gate.wait(30), range(100), chunksize=1)

    with shown(run, "auto", total=100):
        controls[0].stop()
    gate.set()

    with pytest.raises(KeyboardInterrupt):
        run.get(timeout=30)
