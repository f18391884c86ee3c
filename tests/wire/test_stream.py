"""Frames over a stream: how they come out at the other end."""

import os
import socket
import threading

import pytest

from nbpar.wire import fresh
from nbpar.wire.frames import FrameError
from nbpar.wire.fresh import unwritten_bytes
from nbpar.wire.stream import CONSTANT, LONGEST_FRAME, READ, Incoming, Outgoing, enlarge


@pytest.fixture
def ends():
    here, there = socket.socketpair()
    for end in (here, there):
        enlarge(end)
    yield here, there
    here.close()
    there.close()


def carried(ends, frames):
    """Send one message and return what arrives."""
    outgoing, incoming = Outgoing(ends[0]), Incoming(ends[1])
    sending = threading.Thread(target=_send, args=(outgoing, frames))
    sending.start()
    messages = []
    while not messages:
        messages = incoming.read()
    sending.join()
    (message,) = messages
    return message


def _send(outgoing, frames):
    outgoing.send(frames)
    while outgoing.waiting:
        outgoing.flush()


SIZES = (0, 1, 100, READ - 1, READ, READ + 1, 5 * READ + 3, 3 << 20)


@pytest.mark.parametrize("size", SIZES)
def test_bytes_arrive_as_bytes(ends, size):
    frame = os.urandom(size)

    (arrived,) = carried(ends, [frame])

    assert (type(arrived), arrived) == (bytes, frame)
    assert hash(arrived) == hash(frame)


@pytest.mark.parametrize("size", [READ + 1, 3 << 20])
def test_everything_else_that_is_large_can_be_written_to(ends, size):
    frame = os.urandom(size)

    (arrived,) = carried(ends, [memoryview(frame)])

    assert (type(arrived), arrived) == (bytearray, frame)


def test_frames_of_all_kinds_in_one_message_keep_their_order(ends):
    frames = [os.urandom(size) for size in SIZES]
    given = [frame if place % 2 else memoryview(frame) for place, frame in enumerate(frames)]

    assert carried(ends, given) == frames


def test_bytes_are_read_into_something_else_where_they_cannot_be_made(ends, monkeypatch):
    monkeypatch.setattr(fresh, "_make", None)
    frame = os.urandom(3 << 20)

    assert carried(ends, [frame]) == [frame]


def test_a_length_that_cannot_be_is_refused(ends):
    ends[0].send((1).to_bytes(4, "little") + ((LONGEST_FRAME + 1) | CONSTANT).to_bytes(8, "little"))

    with pytest.raises(FrameError):
        Incoming(ends[1]).read()


def test_unwritten_bytes_hold_what_is_written():
    made, room = unwritten_bytes(1000)
    room[:] = bytes(range(250)) * 4

    assert made == bytes(range(250)) * 4
