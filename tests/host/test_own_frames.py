"""A user's traceback shows no frames of nbpar, unless the error is nbpar's own bug."""

from __future__ import annotations

import sys
import traceback

import pytest

from nbpar.host.frames import entrance, first_foreign_frame


def _in_nbpar(source):
    """Define functions whose frames look like nbpar's own."""
    space = {"__name__": "nbpar.made_up", "entrance": entrance, "first_foreign_frame": first_foreign_frame}
    exec(compile(source, "made_up.py", "exec"), space)
    return space


def _names(error):
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


OWN = _in_nbpar("""
@entrance
def public(act):
    return inner(act)

def inner(act):
    return act()

@entrance
def refuse():
    raise ValueError("no")

@entrance
def outer():
    return refuse()

@entrance
def bug():
    return [][1]

def where():
    return first_foreign_frame()

def further():
    return where()
""")


def test_an_error_of_the_users_code_keeps_its_frames_and_loses_ours():
    def divide():
        return 1 / 0

    with pytest.raises(ZeroDivisionError) as caught:
        OWN["public"](divide)

    assert _names(caught.value)[1:] == ["enter", "divide"]


def test_an_error_that_is_raised_on_purpose_shows_no_line_of_ours_but_the_entrance():
    with pytest.raises(ValueError, match="no") as caught:
        OWN["outer"]()

    assert _names(caught.value)[1:] == ["enter"]


def test_a_bug_keeps_every_frame():
    with pytest.raises(IndexError) as caught:
        OWN["bug"]()

    assert _names(caught.value)[1:] == ["enter", "enter", "bug"]


def test_under_a_shell_the_last_frame_is_the_line_that_called(monkeypatch):
    shell = {"__name__": "IPython.core.made_up", "OWN": OWN}
    exec(compile("def run(cell):\n    return cell()", "shell.py", "exec"), shell)

    def cell():
        OWN["outer"]()

    with pytest.raises(ValueError, match="no") as caught:
        shell["run"](cell)

    assert _names(caught.value)[1:] == ["run", "cell", "enter", "cell"]


def test_an_interrupt_is_raised_like_any_other_error():
    def strike():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        OWN["public"](strike)

    assert _names(caught.value)[-1] == "strike"


def test_the_first_foreign_frame_is_found_with_its_distance():
    frame, distance = OWN["further"]()

    assert frame is sys._getframe()
    assert distance == 2
