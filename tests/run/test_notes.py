"""Exceptions that name their item."""

from __future__ import annotations

import sys
import types

import pytest

from nbpar.core.outcome import Failure
from nbpar.errors import RemoteTraceback
from nbpar.run import notes


class Mute:
    def __repr__(self):
        raise RuntimeError("no words")


class Sealed(Exception):
    def __setattr__(self, name, value):
        raise AttributeError("sealed")


def failure(error=None, item="x", worker="engine 1", **more):
    return Failure(3, item, error or ValueError("no"), worker=worker, **more)


def test_the_note_names_index_item_worker_and_attempt():
    assert notes.note_of(failure()) == "item 3, 'x', failed on engine 1"
    assert notes.note_of(failure(worker="here")) == "item 3, 'x', failed here"
    assert notes.note_of(failure(attempts=2)) == "item 3, 'x', failed on engine 1, attempt 2"


@pytest.mark.parametrize(
    ("item", "short"),
    [
        ("a" * 1000, "..."),
        (list(range(1000)), "[0, 1, 2, 3, ...]"),
        (Mute(), "<Mute instance at"),
        (b"\0" * 10**8, "(100000000 bytes)"),
        (b"abc", "b'abc'"),
        (None, "None"),
    ],
    ids=["text", "list", "mute", "bytes", "few bytes", "none"],
)
def test_an_item_is_shown_short(item, short):
    shown = notes.short(item)

    assert short in shown
    assert len(shown) < 300


def test_items_that_failed_together_have_one_note_and_a_later_raise_another():
    error = ValueError("no")
    error.__notes__ = ["of its own"]

    notes.annotate(failure(error))
    notes.annotate(failure(error, item="y"))
    together = list(error.__notes__)
    with pytest.raises(ValueError, match="no"):
        raise error
    notes.annotate(failure(error, item="z"))

    assert together == ["of its own", "item 3, 'x', failed on engine 1"]
    assert error.__notes__ == ["of its own", "item 3, 'z', failed on engine 1"]


def test_an_exception_that_takes_no_note_is_left_as_it_is():
    error = Sealed("no")

    notes.annotate(failure(error))

    assert not hasattr(error, "__notes__")


def test_where_notes_are_not_shown_a_cause_carries_the_words(monkeypatch):
    monkeypatch.setattr(notes, "notes_are_shown", lambda: False)
    error = ValueError("no")

    notes.annotate(failure(error, traceback="Traceback: there"))

    assert isinstance(error.__cause__, RemoteTraceback)
    assert "item 3, 'x', failed on engine 1" in str(error.__cause__)
    assert "Traceback: there" in str(error.__cause__)


def test_a_cause_that_is_there_stays(monkeypatch):
    monkeypatch.setattr(notes, "notes_are_shown", lambda: False)
    error, cause = ValueError("no"), KeyError("why")
    error.__cause__ = cause

    notes.annotate(failure(error))

    assert error.__cause__ is cause


@pytest.mark.parametrize(
    ("version", "expected"), [((7, 34, 0), False), ((8, 14, 0), False), ((8, 15, 0), True)]
)
@pytest.mark.skipif(not hasattr(BaseException, "add_note"), reason="this Python shows no notes at all")
def test_old_ipythons_do_not_show_notes(monkeypatch, version, expected):
    fake = types.SimpleNamespace(get_ipython=object, version_info=version)
    monkeypatch.setitem(sys.modules, "IPython", fake)

    assert notes.notes_are_shown() is expected
