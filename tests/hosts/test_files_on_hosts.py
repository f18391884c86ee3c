"""Files that hosts get before a run."""

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
