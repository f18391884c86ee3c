"""Files that hosts get before a run."""

import os
import socket
from functools import partial
from pathlib import Path

import pytest

import nbpar


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder that only this host has."""
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "deep" / "words.txt").write_text("one")
    (tmp_path / "model.bin").write_bytes(b"model")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cluster(stage, here):
    hosts = {"one": 2, "two": 1}
    made = nbpar.Cluster.ssh(
        hosts, command=stage.command, start_timeout=100, cwd="/tmp", files=["data/", "model.bin"]
    )
    with made:
        yield made
        made.client[:].apply_sync(remove_all)


def remove_all():
    import shutil

    shutil.rmtree("data", ignore_errors=True)
    Path("model.bin").unlink(missing_ok=True)


def read(_):
    return socket.gethostname(), Path("data/deep/words.txt").read_text(), Path("model.bin").read_bytes()


def test_files_are_there_before_the_first_item_and_kept_up_to_date(cluster, here):
    with nbpar.Pool(cluster=cluster) as pool:
        assert sorted(pool.each(read, 0)) == [
            ("one", "one", b"model"),
            ("one", "one", b"model"),
            ("two", "one", b"model"),
        ]

        (here / "data" / "deep" / "words.txt").write_text("another")
        (here / "data" / "more.txt").touch()

        assert {word for _, word, _ in pool.map(read, range(6))} == {"another"}
        assert pool.submit(lambda: Path("data/more.txt").exists()).result()


def remember():
    import builtins

    builtins.words_at_first = Path("data/deep/words.txt").read_text()


def remembered(_):
    import builtins

    return builtins.words_at_first


def test_an_initializer_finds_them(cluster):
    with nbpar.Pool(cluster=cluster, initializer=remember) as pool:
        assert pool.each(remembered, 0) == ["one"] * 3


def die_once(shared):
    """On the host `two`: delete what there is and die, and the next time tell; elsewhere wait for that."""
    import shutil
    import signal
    import time

    if socket.gethostname() != "two":
        while not (shared / "told").exists():
            time.sleep(0.05)
        return None
    if not (shared / "died").exists():
        (shared / "died").touch()
        shutil.rmtree("data")
        os.kill(os.getpid(), signal.SIGKILL)
    words = Path("data/deep/words.txt").read_text()
    (shared / "told").touch()
    return words


def test_an_engine_that_comes_in_the_middle_of_a_run_has_them_before_its_first_item(
    cluster, stage, monkeypatch
):
    from nbpar.channels import host_files

    monkeypatch.setattr(host_files, "LOOK_THERE", 0.0)
    shared = stage.folder / "engine-that-comes"
    shared.mkdir()
    with nbpar.Pool(cluster=cluster) as pool:
        told = pool.map(die_once, [shared] * 4, chunksize=1)

    assert set(told) == {"one", None}


def test_each_host_gets_them_once(cluster, here, monkeypatch):
    from nbpar.channels import host_files

    copied = []
    copy = host_files._copy
    monkeypatch.setattr(
        host_files,
        "_copy",
        lambda source, there, targets: [copied.append(len(targets)), copy(source, there, targets)],
    )

    with nbpar.Pool(cluster=cluster) as pool:
        pool.map(read, range(6))
        pool.map(read, range(6))

    assert copied == [2, 2]  # two files or folders, to two hosts


def test_what_is_deleted_there_comes_again(cluster, monkeypatch):
    from nbpar.channels import host_files

    monkeypatch.setattr(host_files, "LOOK_THERE", 0.0)
    with nbpar.Pool(cluster=cluster) as pool:
        pool.each(read, 0)
        cluster.client[:].apply_sync(remove_all)

        assert {word for _, word, _ in pool.map(read, range(6))} == {"one"}


def test_a_pool_that_joins_the_cluster_may_have_files_of_its_own(cluster, here):
    (here / "own.txt").write_text("own")

    with nbpar.Pool(cluster=cluster, files=["own.txt"]) as pool:
        found = pool.each(lambda: Path("own.txt").read_text())
        pool.each(lambda: Path("own.txt").unlink(missing_ok=True))

    assert found == ["own"] * 3


def test_a_host_that_cannot_take_them_is_named_and_asked_again(cluster, here):
    top = Path("/", *here.parts[1:3])  # a file there, and a folder with the data here
    block, clear = partial(Path.touch, top), partial(Path.unlink, top, missing_ok=True)
    view = cluster.client[:]
    with nbpar.Pool(cluster=cluster, files=[here / "data"]) as pool:
        view.apply_sync(block)

        with pytest.raises(nbpar.ClusterError, match=r"data' of files= to one: Not.*; two: Not"):
            pool.map(abs, range(6))

    view.apply_sync(clear)
    with nbpar.Pool(cluster=cluster, files=[here / "data"]) as pool:
        words = pool.each(Path.read_text, here / "data" / "deep" / "words.txt")
        pool.each(remove_tree, top)
    assert words == ["one"] * 3


def remove_tree(top):
    import shutil

    shutil.rmtree(top, ignore_errors=True)
