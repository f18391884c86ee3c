"""The client resumes a send that did not fit at once, and polls no other connection for that."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace

import pytest

from nbpar.backends.engines.poller import POLLIN, POLLOUT
from nbpar.backends.engines.sockets import ClientSockets


class Connection:
    """Has some messages left, one of which goes with each flush."""

    def __init__(self, handle, left=0):
        self.handle = handle
        self.left = left
        self.looks = 0

    @property
    def waiting(self):
        self.looks += 1
        return self.left > 0

    def flush(self):
        self.left -= 1


@pytest.fixture
def expected():
    return []


@pytest.fixture
def sockets(expected):
    sockets = ClientSockets.__new__(ClientSockets)
    sockets._crowded, sockets._behind = set(), deque()
    sockets._poller = SimpleNamespace(expect=lambda handle, kinds: expected.append((handle, kinds)))
    return sockets


def server(*connections):
    return SimpleNamespace(connections={one.handle: one for one in connections})


def test_connections_to_which_all_has_gone_are_not_looked_at(sockets, expected):
    idle = [Connection(handle) for handle in range(100)]

    sockets._await_room(server(*idle))

    assert sum(one.looks for one in idle) == 0
    assert expected == []


def test_what_is_left_goes_when_there_is_room(sockets, expected):
    crowded = Connection(1, left=3)
    local = server(crowded, Connection(2))
    sockets._behind.append(crowded)

    for _ in range(4):
        sockets._await_room(local)

    assert crowded.left == 0
    assert expected == [(1, POLLIN | POLLOUT), (1, POLLIN | POLLOUT), (1, POLLIN)]


def test_one_that_was_cut_meanwhile_is_left_alone(sockets, expected):
    cut, new = Connection(1, left=3), Connection(1)
    sockets._behind.append(cut)

    sockets._await_room(server(new))

    assert (cut.left, expected) == (3, [])
