"""The list of recent runs of this process."""

import gc
import threading
import xml.etree.ElementTree as ET

import pytest

import nbpar
from nbpar.run import history


@pytest.fixture(autouse=True)
def _nothing_before(monkeypatch):
    monkeypatch.setattr(history, "begun", type(history.begun)(maxlen=history.KNOWN))
    monkeypatch.setattr(history, "run", None)


@pytest.fixture
def pool():
    with nbpar.Pool(2, backend="threads", progress="none") as pool:
        yield pool


def test_there_may_be_no_runs():
    assert repr(nbpar.runs()) == "no runs yet"
    assert nbpar.runs()._repr_html_() == "<p>no runs yet</p>"


def test_runs_that_go_on_and_runs_that_are_over_are_listed_in_their_order(pool):
    gate, begun = threading.Event(), threading.Event()
    pool.map(abs, range(5), label="first")
    under_way = pool.map_async(lambda _: (begun.set(), gate.wait(30)), range(4), label="second")
    begun.wait(30)

    first, second = nbpar.runs()

    assert (first.label, first.state, first.done, first.failed) == ("first", "done", 5, 0)
    assert (second.label, second.state, second.total) == ("second", "running", 4)
    assert first.since <= second.since
    assert "second  running" in repr(nbpar.runs())
    gate.set()
    under_way.get(30)
    assert nbpar.runs()[1].state == "done"


def test_a_run_is_listed_alike_before_and_after_it_is_gone(pool):
    def fails(number):
        raise ValueError(number)

    def fail():
        with pytest.raises(ValueError, match="1"):
            nbpar.Pipeline([nbpar.Stage(fails), nbpar.Stage(abs)], pool=pool).map([1, 1, 1], progress="none")

    fail()
    _, label, state, done, failed, *_ = nbpar.runs()[0].row(0)
    pool.map(abs, [1])
    gc.collect()

    gone = nbpar.runs()[0]
    assert gone.run is None
    assert gone.row(0)[1:5] == (label, state, done, failed)
    assert gone.state == "failed"
    assert gone.failed > 0


def test_a_run_that_nothing_refers_to_is_listed_with_its_end_and_cannot_be_shown(pool):
    pool.map(lambda n: 1 / n, [1, 0, 2], errors="skip", label="<gone>")
    pool.map(abs, [1], label="kept")
    gc.collect()

    gone, kept = nbpar.runs()

    assert (gone.run, gone.state, gone.done, gone.failed) == (None, "done", 3, 1)
    assert kept.run is nbpar.last_run
    with pytest.raises(LookupError, match=r"<gone> \(done\) cannot be shown any more.*`nbpar.last_run`"):
        gone.show()
    assert repr(nbpar.runs()).endswith("show one again: `nbpar.runs()[1].show()`")


def test_a_run_is_shown_again(pool, capsys):
    pool.map(abs, range(5), label="again")

    nbpar.runs()[-1].show()

    assert "again: 5 of 5 done" in capsys.readouterr().err


def test_pipelines_and_streams_are_runs_too_and_what_is_called_once_is_none(pool):
    list(pool.imap(abs, range(3)))
    pool.submit(abs, -1).result(30)
    with nbpar.Pipeline([abs, str], pool=pool) as pipeline:
        pipeline.map(range(4), progress="none")

    assert [(info.label, info.done) for info in nbpar.runs()] == [("abs", 3), ("abs | str", 4)]


def test_only_the_latest_are_known(pool):
    for number in range(history.KNOWN + 5):
        pool.map(abs, [number], label=str(number))

    assert nbpar.runs()[0].label == "5"
    assert len(nbpar.runs()) == history.KNOWN


def test_the_table_is_well_formed_and_nothing_of_a_label_is_markup(pool):
    pool.map(abs, range(3), label="<b>")

    html = nbpar.runs()._repr_html_()

    ET.fromstring(f"<div>{html}</div>")
    assert "<bdi>&lt;b&gt;</bdi>" in html
    assert "></th>" not in html
