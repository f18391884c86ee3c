"""The private directory: its place, its permissions, and when it is removed."""

import os
import stat
from pathlib import Path

import pytest

from nbpar.cluster.directory import (
    LONGEST,
    RuntimeDirectory,
    create_directory,
    hold,
    ipython_folder,
    remove_directory,
    sweep,
)
from nbpar.errors import ClusterError


@pytest.fixture
def base():
    import tempfile

    with tempfile.TemporaryDirectory(prefix="b", dir="/tmp") as folder:
        yield Path(folder)


def test_only_the_user_can_enter(base):
    directory = create_directory([base])

    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert directory.parent == base


def test_its_path_leaves_room_for_the_names_of_sockets(base):
    assert len(str(create_directory([base]))) <= LONGEST


def test_a_base_with_a_long_path_is_passed_over(base):
    deep = base / ("d" * 100)
    deep.mkdir()

    assert create_directory([deep, base]).parent == base


def test_no_place_at_all_is_explained(base):
    deep = base / ("d" * 100)
    deep.mkdir()

    with pytest.raises(
        ClusterError, match=r"set TMPDIR to a writable directory.*too many for a socket's name"
    ):
        create_directory([deep])


def test_a_missing_or_unwritable_base_is_named(base):
    with pytest.raises(ClusterError, match="/gone: No such file or directory"):
        create_directory([base / "gone"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_base_is_refused_and_left_clean(base, monkeypatch):
    def full(_path, _content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)

    with pytest.raises(ClusterError, match="No space left on device"):
        create_directory([base])
    assert list(base.iterdir()) == []


def test_a_directory_that_nobody_holds_is_swept_away(base):
    directory = create_directory([base])
    os.close(hold(directory))

    sweep(base)

    assert not directory.exists()


def test_a_directory_in_use_stays(base):
    directory = create_directory([base])
    held = hold(directory)

    sweep(base)

    assert directory.exists()
    os.close(held)


def test_the_lock_appears_only_when_it_is_held(base, monkeypatch):
    directory = create_directory([base])
    replace = Path.replace

    def sweep_then_replace(path, target):
        sweep(base)  # as another kernel may at this very moment
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", sweep_then_replace)
    held = hold(directory)

    assert (directory / "lock").exists()
    os.close(held)


def test_a_directory_of_something_else_stays(base):
    other = base / "nbpar-a1b2c3d4"
    other.mkdir()
    os.utime(other, (0, 0))

    sweep(base)

    assert other.exists()


def test_a_directory_may_be_held_twice(base):
    directory = create_directory([base])
    first, second = hold(directory), hold(directory)
    os.close(first)

    sweep(base)

    assert directory.exists()
    os.close(second)


def test_a_directory_just_made_stays(base):
    directory = create_directory([base])

    sweep(base)

    assert directory.exists()


def test_a_directory_may_be_removed_twice(base):
    directory = create_directory([base])
    remove_directory(directory)
    remove_directory(directory)


def test_a_directory_in_use_is_made_again_and_one_that_was_removed_is_not(base, monkeypatch):
    monkeypatch.setattr("nbpar.cluster.directory._bases", lambda: [base])
    runtime = RuntimeDirectory()
    remove_directory(runtime.path)

    runtime.restore()
    assert (runtime.path / "lock").exists()

    runtime.remove()
    other = os.open(base, os.O_RDONLY)  # takes the number of the descriptor that was closed
    try:
        with pytest.raises(FileNotFoundError, match="was removed"):
            runtime.restore()
        runtime.remove()
        os.fstat(other)
    finally:
        os.close(other)
    assert not runtime.path.exists()


def test_a_user_without_a_home_gets_a_private_ipython_folder(base, monkeypatch):
    for variable in ("HOME", "IPYTHONDIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 2)  # not in the list of users

    assert ipython_folder(base) == base / "ipython"
