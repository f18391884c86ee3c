"""Where the near side of an ssh connection connects engines to."""

import os
import socket
from pathlib import Path

import pytest

import nbpar
from nbpar.cluster.directory import RuntimeDirectory
from nbpar.cluster.remote.near import NearSide


@pytest.mark.engines
def test_a_host_that_goes_before_it_has_read_all_says_why(tmp_path):
    stand_in = tmp_path / "ssh"
    stand_in.write_text('#!/bin/sh\nfor command; do :; done\nexec sh -c "$command"\n')
    stand_in.chmod(0o700)

    with pytest.raises(nbpar.ClusterError, match="there is no '/nosuch' there; name another one"):
        nbpar.Cluster.ssh(["one:1"], command=[stand_in], python="/nosuch").start()


@pytest.fixture
def near():
    ours, theirs = socket.socketpair()
    yield NearSide({"host": "one", "python": "", "install": None}, ours)
    ours.close()
    theirs.close()


@pytest.fixture
def runtime():
    """A folder as clusters and pools have it."""
    directory = RuntimeDirectory()
    yield directory.path
    directory.remove()


@pytest.fixture
def listens():
    """Make a socket that listens."""
    opened = []

    def listen(path: Path) -> bytes:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        opened.append(listener)
        listener.bind(str(path))
        listener.listen(1)
        return os.fsencode(path)

    yield listen
    for listener in opened:
        listener.close()


def test_a_pool_is_reached(near, runtime, listens):
    link = near.opened(listens(runtime / "pool-0123abcd"))

    assert link is not None
    link.close()


@pytest.mark.parametrize("name", ["agent.1", "pool-0123abcd-not", "pool-", "pool-0123ABCD"])
def test_no_other_socket_is_reached(near, runtime, listens, name):
    assert near.opened(listens(runtime / name)) is None


def test_no_socket_elsewhere_is_reached(near, listens, tmp_path):
    folder = tmp_path / "nbpar-run-x"
    folder.mkdir(mode=0o755)

    assert near.opened(listens(folder / "pool-0123abcd")) is None


def test_a_link_into_a_private_folder_is_not_followed(near, listens, tmp_path):
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (tmp_path / "nbpar-run-x").symlink_to(private)
    listens(private / "pool-0123abcd")

    assert near.opened(os.fsencode(tmp_path / "nbpar-run-x" / "pool-0123abcd")) is None


@pytest.mark.parametrize(
    "payload", [b"", b"22", b"99999999", b"/", b"\0", b"pool-0123abcd", b"/no/nbpar-run-x/pool-0123abcd"]
)
def test_nothing_else_is_reached(near, payload):
    assert near.opened(payload) is None
