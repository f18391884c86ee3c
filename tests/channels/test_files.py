"""Files pushed to workers: only changed ones, with modes, times and links."""

import os
import stat

import pytest

import nbpar


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "source"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "a.txt").write_text("one")
    (root / "deep" / "er" / "b.bin").write_bytes(os.urandom(3 << 20))
    (root / "tool").write_text("#!/bin/sh\n")
    (root / "tool").chmod(0o755)
    (root / "empty").write_text("")
    (root / "near").symlink_to("a.txt")
    (root / "inside").symlink_to(root / "deep")
    return root


def tree(root):
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


def test_a_folder_arrives_as_it_is(gateway, source, tmp_path):
    target = tmp_path / "target"

    assert nbpar.push_files(source, target, [gateway]) == 4

    assert tree(target) == tree(source)
    assert (target / "deep/er/b.bin").read_bytes() == (source / "deep/er/b.bin").read_bytes()
    assert stat.S_IMODE((target / "tool").stat().st_mode) == 0o755
    assert (target / "near").readlink().as_posix() == "a.txt"
    assert (target / "inside").resolve() == target / "deep"
    assert (target / "a.txt").stat().st_mtime_ns == (source / "a.txt").stat().st_mtime_ns


def test_only_what_differs_travels(gateway, source, tmp_path):
    target = tmp_path / "target"
    nbpar.push_files(source, target, [gateway])
    (source / "a.txt").write_text("two")
    os.utime(source / "tool", ns=(1, 1))
    sent = []

    note = lambda path, size, to: sent.append((path, size, to))  # noqa: E731
    count = nbpar.push_files(source, target, [gateway], progress=note)

    assert (count, sent) == (1, [("a.txt", 3, gateway)])
    assert (target / "a.txt").read_text() == "two"
    assert (target / "tool").stat().st_mtime_ns == 1


def test_delete_takes_away_what_is_not_here(gateway, source, tmp_path):
    target = tmp_path / "target"
    (target / "old").mkdir(parents=True)
    (target / "old" / "file").write_text("x")

    nbpar.push_files(source, target, [gateway])
    assert (target / "old" / "file").exists()
    nbpar.push_files(source, target, [gateway], delete=True)

    assert tree(target) == tree(source)


def test_a_filter_leaves_out_files_and_folders(gateway, source, tmp_path):
    target = tmp_path / "target"

    nbpar.push_files(source, target, [gateway], filter=lambda path: path.name not in ("deep", "tool"))

    assert tree(target) == tree(source) - {"deep", "deep/er", "deep/er/b.bin", "tool"}


def test_a_file_becomes_what_was_a_folder_and_the_other_way_round(gateway, source, tmp_path):
    target = tmp_path / "target"
    (target / "a.txt").mkdir(parents=True)
    (target / "deep").write_text("a file")

    nbpar.push_files(source, target, [gateway])

    assert (target / "a.txt").read_text() == "one"
    assert (target / "deep" / "er").is_dir()


def test_one_file_goes_to_all(pool, source, tmp_path):
    target = tmp_path / "target"

    nbpar.push_files(source / "a.txt", target, pool.gateways)

    assert (target / "a.txt").read_text() == "one"
    with pytest.raises(FileNotFoundError, match="to push"):
        nbpar.push_files(source / "nothing", target, pool.gateways)


def test_what_is_no_file_is_refused_unless_it_is_left_out(gateway, source, tmp_path):
    os.mkfifo(source / "pipe")

    with pytest.raises(ValueError, match=r"cannot push .*pipe"):
        nbpar.push_files(source, tmp_path / "target", [gateway])
    nbpar.push_files(source, tmp_path / "target", [gateway], filter=lambda path: path.name != "pipe")

    assert tree(tmp_path / "target") == tree(source) - {"pipe"}


def test_a_file_that_is_deleted_meanwhile_is_left_out(gateway, source, tmp_path):
    def delete_as_it_is_sent(path, size, to):
        (source / "tool").unlink(missing_ok=True)

    nbpar.push_files(source, tmp_path / "target", [gateway], progress=delete_as_it_is_sent)

    assert tree(tmp_path / "target") == tree(source)


def test_folders_that_may_not_be_written_to_arrive_with_what_is_in_them(gateway, source, tmp_path):
    (source / "deep" / "er").chmod(0o500)

    nbpar.push_files(source, tmp_path / "target", [gateway])

    assert (tmp_path / "target" / "deep" / "er" / "b.bin").exists()
    assert stat.S_IMODE((tmp_path / "target" / "deep" / "er").stat().st_mode) == 0o500
    (source / "deep" / "er").chmod(0o700)


def test_what_goes_wrong_there_is_told(gateway, source, tmp_path):
    (tmp_path / "in the way").write_text("a file")

    with pytest.raises(nbpar.RemoteError, match=r"NotADirectoryError|FileExistsError"):
        nbpar.push_files(source, tmp_path / "in the way" / "below", [gateway])
