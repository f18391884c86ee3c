"""Printed output of items, labeled by item."""

from __future__ import annotations

from nbpar.core.transcript import Piece
from nbpar.run.printing import TOTAL, Printer


def shown(capsys, *pieces):
    printer = Printer()
    printer.show([Piece(*piece) for piece in pieces])
    printer.close()
    printer.close()
    return capsys.readouterr()


def test_every_line_names_its_item(capsys):
    out = shown(capsys, (0, "stdout", "one\ntwo\n"), (3, "stdout", "three\n")).out

    assert out == "[0] one\n[0] two\n[3] three\n"


def test_a_line_that_comes_in_pieces_is_labelled_once(capsys):
    out = shown(capsys, (0, "stdout", "half "), (0, "stdout", "and half\n"), (0, "stdout", "next\n")).out

    assert out == "[0] half and half\n[0] next\n"


def test_an_open_line_is_ended_before_another_item_speaks_and_at_the_end(capsys):
    out = shown(capsys, (0, "stdout", "open"), (1, "stdout", "other")).out

    assert out == "[0] open\n[1] other\n"


def test_streams_are_kept_apart(capsys):
    printed = shown(capsys, (0, "stdout", "open"), (0, "stderr", "warning\n"), (0, "stdout", " and on\n"))

    assert printed.out == "[0] open and on\n"
    assert printed.err == "[0] warning\n"


def test_nothing_is_nothing(capsys):
    assert shown(capsys, (0, "stdout", "")) == ("", "")


def test_what_is_too_much_is_counted(capsys):
    printed = shown(capsys, (0, "stdout", "x" * TOTAL + "\n"), (1, "stdout", "y" * 30))

    assert "y" not in printed.out
    assert printed.err == "... 30 more characters of output were left out\n"
