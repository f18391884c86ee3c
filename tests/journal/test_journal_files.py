"""A journal file is used if it is intact and ours; others are reported and set aside."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
from contextlib import closing

import pytest

import nbpar
from nbpar.journal import database

ROWS = 200


@pytest.fixture
def journal(serial, squaring, folder, notes):
    """The file of a journal with results."""
    serial.map(squaring, range(ROWS), resume="squares")
    notes.clear()
    return folder / "squares.sqlite"


def again(serial, squaring):
    return serial.map(squaring, range(ROWS), resume="squares")


def overwrite(path):
    path.write_bytes(b"This is a letter and no journal. " * 300)


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def scramble(path):
    content = bytearray(path.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    path.write_bytes(content)


def replace_by_foreign(path):
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE results (version, key, value, sum)")


def make_later_format(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (overwrite, "is no journal, or is damaged"),
        (truncate, "is no journal, or is damaged|is damaged"),
        (scramble, "is no journal, or is damaged|is damaged"),
        (replace_by_foreign, "is a database of another program"),
        (make_later_format, "has format 99 and this nbpar reads format 1"),
    ],
)
def test_a_file_that_cannot_be_used_is_set_aside(serial, squaring, journal, notes, harm, why):
    harm(journal)
    harmed = journal.read_bytes()

    with pytest.warns(nbpar.JournalWarning, match=f"'squares' ({why}).*set aside as .*aside, and a new one"):
        results = again(serial, squaring)

    assert results == [x * x for x in range(ROWS)]
    assert len(notes.counts) == ROWS
    (aside,) = journal.parent.glob("*.aside")
    assert aside.read_bytes() == harmed
    notes.clear()
    again(serial, squaring)
    assert not notes.counts


def test_an_empty_file_is_begun(serial, squaring, folder):
    folder.mkdir()
    (folder / "squares.sqlite").touch()

    assert again(serial, squaring)[3] == 9


def test_a_damaged_result_is_computed_anew(serial, squaring, journal, notes):
    with closing(sqlite3.connect(journal)) as connection, connection:
        connection.execute("UPDATE results SET value = X'00' WHERE rowid = 5")
        other = "SELECT value FROM results WHERE rowid = 9"
        connection.execute(f"UPDATE results SET value = ({other}) WHERE rowid = 6")

    assert again(serial, squaring) == [x * x for x in range(ROWS)]
    assert len(notes.counts) == 2
    notes.clear()
    again(serial, squaring)
    assert not notes.counts


def test_a_result_of_a_type_that_is_gone_is_computed_anew(serial, monkeypatch):
    def make(x):
        return getattr(sys.modules[__name__], "Passing", Other)()

    serial.map(make, [1], resume="types")
    monkeypatch.delattr(sys.modules[__name__], "Passing")

    (value,) = serial.map(make, [1], resume="types")

    assert type(value) is Other


def test_a_journal_that_another_process_holds_is_a_clear_error(serial, squaring, journal, monkeypatch):
    monkeypatch.setattr(database, "BUSY", 0.05)
    with closing(sqlite3.connect(journal, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")

        with pytest.raises(nbpar.JournalError, match="'squares' is being written by another process"):
            again(serial, squaring)


def test_a_journal_that_cannot_be_written_costs_no_results(serial, squaring, journal, monkeypatch, caplog):
    monkeypatch.setattr(database, "BUSY", 0.05)
    other = sqlite3.connect(journal, isolation_level=None)

    def items():
        other.execute("BEGIN EXCLUSIVE")
        yield from range(ROWS, ROWS + 5)

    with caplog.at_level(logging.WARNING, "nbpar"), closing(other):
        results = list(serial.imap(squaring, items(), resume="squares"))

    assert results == [x * x for x in range(ROWS, ROWS + 5)]
    assert "takes no more results of this run" in caplog.text


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owners here")
def test_the_journal_of_another_user_is_not_read(serial, squaring, journal, monkeypatch):
    mine = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)

    with pytest.raises(nbpar.JournalError, match="belongs to another user; it is not read"):
        again(serial, squaring)


@pytest.mark.skipif(sys.platform == "win32", reason="files have no modes there")
def test_nobody_else_reads_a_journal(journal):
    assert journal.parent.stat().st_mode & 0o777 == 0o700
    assert journal.stat().st_mode & 0o777 == 0o600


def test_a_folder_in_its_place_is_a_clear_error(serial, squaring, folder):
    (folder / "squares.sqlite").mkdir(parents=True)

    with pytest.raises(nbpar.JournalError, match="'squares' cannot be opened at"):
        again(serial, squaring)


def test_no_journal_is_made_without_being_asked_for(serial, folder):
    serial.map(abs, [1])

    assert not folder.exists()


def test_journals_are_listed_the_latest_first(serial, squaring):
    serial.map(squaring, range(3), resume="one")
    serial.map(squaring, range(4), resume="two")

    listed = nbpar.journals()

    assert [(info.name, info.items, info.function) for info in listed] == [
        ("two", 4, "square"), ("one", 3, "square"),
    ]  # fmt: skip
    head, first, _ = repr(listed).splitlines()
    assert head.split() == ["name", "function", "items", "size", "last", "used"]
    assert first.split()[:3] == ["two", "square", "4"]
    assert "<td>two</td><td>square</td><td>4</td>" in listed._repr_html_()


def test_one_journal_is_deleted_by_its_name(serial, squaring, folder):
    serial.map(squaring, range(3), resume="one")
    serial.map(squaring, range(3), resume="two")

    listed = nbpar.journals()
    listed.clear("one")
    serial.map(squaring, range(3), resume="three")

    with pytest.raises(nbpar.JournalError, match=r"there are 'three', 'two'"):
        listed.clear("four")  # of those that there are, and not of those that there were
    nbpar.journals().clear("three")
    assert [info.name for info in nbpar.journals()] == ["two"]
    with pytest.raises(nbpar.JournalError, match=r"there is no journal 'one' in .*; there are 'two'"):
        nbpar.journals().clear("one")
    with pytest.raises(nbpar.JournalError, match=r"there is no journal '\.\./two'"):
        nbpar.journals().clear("../two")


def test_all_journals_are_deleted_with_what_was_set_aside(serial, squaring, journal):
    overwrite(journal)
    with pytest.warns(nbpar.JournalWarning):
        again(serial, squaring)

    nbpar.journals().clear()

    assert not list(journal.parent.iterdir())
    assert repr(nbpar.journals()) == f"no journals in {journal.parent}"


def test_a_file_that_is_no_journal_is_listed_as_that(folder):
    folder.mkdir()
    overwrite(folder / "letter.sqlite")

    assert "(cannot be read)" in repr(nbpar.journals())


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a\\b", ".hidden", "dot.", " no", "a" * 101, "nul\0"])
def test_a_name_that_is_no_files_name_is_refused(serial, name):
    with pytest.raises(ValueError, match="resume must be a name of at most 100 letters"):
        serial.map(abs, [1], resume=name)


@pytest.mark.parametrize("name", ["a", "Überblick 2.0", "my-run_3", "a" * 100])
def test_a_sensible_name_is_taken(serial, name):
    assert serial.map(abs, [-1], resume=name) == [1]


class Passing:
    pass


class Other:
    pass
