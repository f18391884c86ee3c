"""Changes of this process's environment since its workers began, and how workers follow them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from nbpar.host.world import NO_CHANGES, BorrowedWorld, World


@pytest.fixture(autouse=True)
def unharmed(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("NBPAR_OLD", "old")
    monkeypatch.delenv("NBPAR_NEW", raising=False)
    monkeypatch.chdir(tmp_path)


def test_nothing_is_told_while_nothing_has_changed():
    world = World()

    assert world.changes() == NO_CHANGES


def test_what_has_changed_is_told_as_plain_values(tmp_path):
    world = World()
    os.environ["NBPAR_NEW"] = "caf\xe9 \udce9"
    del os.environ["NBPAR_OLD"]
    (tmp_path / "sub").mkdir()
    os.chdir("sub")
    sys.path.insert(0, "/first")

    assert world.changes() == (
        {"NBPAR_NEW": "caf\xe9 \udce9", "NBPAR_OLD": None},
        str(tmp_path / "sub"),
        ("/first",),
    )


def test_what_is_put_back_is_told_no_more(tmp_path):
    world = World()
    os.environ["NBPAR_OLD"] = "new"
    (tmp_path / "sub").mkdir()
    os.chdir("sub")
    assert world.changes() != NO_CHANGES

    os.environ["NBPAR_OLD"] = "old"
    os.chdir(tmp_path)

    assert world.changes() == NO_CHANGES


def test_workers_keep_what_is_their_own(tmp_path):
    world = World(["NBPAR_NEW"], stays=True)
    os.environ["NBPAR_NEW"] = "1"
    (tmp_path / "sub").mkdir()
    os.chdir("sub")

    assert world.changes() == NO_CHANGES


def test_workers_that_are_no_forks_lack_the_users_folders_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    installed = os.path.dirname(os.__file__)  # noqa: PTH120 (as in sys.path)

    path = World(forked=False).changes().path

    assert str(tmp_path) in path
    assert installed in sys.path
    assert installed not in path


def test_a_worker_follows_and_goes_back(tmp_path):
    (tmp_path / "sub").mkdir()
    borrowed, before = BorrowedWorld(), list(sys.path)
    changes = NO_CHANGES._replace(
        environ={"NBPAR_NEW": "1", "NBPAR_OLD": None}, directory=str(tmp_path / "sub"), path=("/first",)
    )

    assert borrowed.apply(changes) == ""
    assert (os.environ["NBPAR_NEW"], os.environ.get("NBPAR_OLD")) == ("1", None)
    assert (str(Path.cwd()), sys.path) == (str(tmp_path / "sub"), ["/first", *before])

    assert borrowed.apply(NO_CHANGES) == ""
    assert (os.environ.get("NBPAR_NEW"), os.environ["NBPAR_OLD"]) == (None, "old")
    assert (str(Path.cwd()), sys.path) == (str(tmp_path), before)


def test_what_items_change_stays_as_long_as_the_client_says_nothing_new(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "own").mkdir()
    borrowed = BorrowedWorld()
    changes = NO_CHANGES._replace(environ={"NBPAR_NEW": "1"}, directory=str(tmp_path / "sub"))
    borrowed.apply(changes)
    os.environ["NBPAR_NEW"] = "own"
    os.chdir(tmp_path / "own")

    borrowed.apply(changes)

    assert (os.environ["NBPAR_NEW"], str(Path.cwd())) == ("own", str(tmp_path / "own"))


def test_a_folder_that_is_not_here_is_told_of_once(tmp_path):
    borrowed = BorrowedWorld()
    changes = NO_CHANGES._replace(directory="/no/such/folder")

    assert "'/no/such/folder' cannot be entered here (No such file or directory)" in borrowed.apply(changes)
    assert borrowed.apply(changes) == ""
    assert str(Path.cwd()) == str(tmp_path)
