"""Streams and lines over one pair of pipes."""

import os
import socket
import threading
from contextlib import suppress

import pytest

from nbpar.cluster.remote import multiplexer
from nbpar.cluster.remote.multiplexer import HEADER, FrameError, Multiplexer
from nbpar.testing import until


class Side:
    """One end, served by a thread."""

    def __init__(self, incoming, outgoing, first, accept=True, silence=60.0):
        self.lines = []
        self.payloads = []
        self.near = []
        self.accept = accept
        self.failed = False
        self.multiplexer = Multiplexer(incoming, outgoing, self, first=first, silence=silence)
        self._bell, self._far_bell = socket.socketpair()
        self._calls = []
        self._over = False
        self.multiplexer.watch(self._bell, self._take_calls)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def line(self, text):
        self.lines.append(text)

    def opened(self, payload):
        if not self.accept:
            return None
        ours, theirs = socket.socketpair()
        self.near.append(ours)
        self.payloads.append(payload)
        return theirs

    def call(self, function, *arguments):
        """Call something in the thread."""
        self._calls.append((function, arguments))
        self._far_bell.send(b".")

    def open(self, payload, greeting=b""):
        """Open a stream and return the program's end of it."""
        ours, theirs = socket.socketpair()
        self.call(self.multiplexer.open, theirs, payload, greeting)
        return ours

    def close(self):
        self.call(setattr, self, "_over", True)
        self.thread.join(30)
        assert not self.thread.is_alive()
        for link in (*self.near, self._bell, self._far_bell):
            link.close()

    def _take_calls(self):
        for _ in self._bell.recv(4096):
            function, arguments = self._calls.pop(0)
            function(*arguments)

    def _serve(self):
        try:
            while not (self._over or self.multiplexer.ended):
                self.multiplexer.step()
        except FrameError:
            self.failed = True
        self.multiplexer.close()


@pytest.fixture
def sides():
    """Two ends, and the pipes between them."""
    (there_in, here_out), (here_in, there_out) = os.pipe(), os.pipe()
    here, there = Side(here_in, here_out, 1), Side(there_in, there_out, 2)
    yield here, there
    for side in (here, there):
        with suppress(OSError):
            side.close()
    for descriptor in (there_in, here_out, here_in, there_out):
        with suppress(OSError):
            os.close(descriptor)


def read(link, size):
    link.settimeout(60)
    parts = []
    while size:
        block = link.recv(min(size, 1 << 20))
        assert block
        parts.append(block)
        size -= len(block)
    return b"".join(parts)


def test_lines_arrive_in_order(sides):
    here, there = sides

    for number in range(100):
        here.call(here.multiplexer.send_line, str(number).encode())

    until(lambda: len(there.lines) == 100)
    assert there.lines == [str(number).encode() for number in range(100)]


def test_streams_carry_bytes_both_ways(sides):
    here, there = sides
    link = here.open(b"1234")
    until(lambda: there.near)

    with link:
        link.sendall(b"ping")
        assert read(there.near[0], 4) == b"ping"
        there.near[0].sendall(b"pong")
        assert read(link, 4) == b"pong"
    assert there.payloads == [b"1234"]


def test_large_data_on_many_streams_arrives_whole(sides):
    here, there = sides
    sent = [os.urandom(3 * multiplexer.WINDOW // 2 + number) for number in range(4)]
    links = [here.open(str(number).encode()) for number in range(4)]
    until(lambda: len(there.near) == 4)

    senders = [
        threading.Thread(target=link.sendall, args=[data]) for link, data in zip(links, sent, strict=True)
    ]
    for sender in senders:
        sender.start()
    arrived = {
        int(name): read(link, len(sent[int(name)]))
        for name, link in zip(there.payloads, there.near, strict=True)
    }

    for sender in senders:
        sender.join(60)
    for link in links:
        link.close()
    assert [arrived[number] for number in range(4)] == sent


def test_a_reader_that_does_not_read_holds_up_its_own_stream_alone(sides):
    here, there = sides
    stuck, free = here.open(b"stuck"), here.open(b"free")
    until(lambda: len(there.near) == 2)
    stuck.setblocking(False)
    total = 0

    def fill():
        nonlocal total
        with suppress(BlockingIOError):
            total += stuck.send(bytes(1 << 16))
            return False
        return True

    until(lambda: fill() and sum(fill() for _ in range(100)) == 100)
    free.sendall(b"through")

    assert read(there.near[there.payloads.index(b"free")], 7) == b"through"
    assert total < 4 * multiplexer.WINDOW
    stuck.close()
    free.close()


@pytest.mark.parametrize("closes", ["here", "there"])
def test_an_end_that_closes_closes_the_other(sides, closes):
    here, there = sides
    link = here.open(b"x")
    until(lambda: there.near)
    first, second = (link, there.near[0]) if closes == "here" else (there.near[0], link)

    first.sendall(b"last words")
    first.close()

    assert read(second, 10) == b"last words"
    second.settimeout(60)
    assert second.recv(1) == b""
    link.close()


@pytest.mark.parametrize("greeting", [b"", b"hello"])
def test_a_refused_stream_is_closed(sides, greeting):
    here, there = sides
    there.accept = False

    link = here.open(b"x", greeting)

    link.settimeout(60)
    assert link.recv(1) == b""
    link.close()


def test_an_accepted_stream_begins_with_its_greeting(sides):
    here, there = sides
    link = here.open(b"x", b"hello, ")
    until(lambda: there.near)

    there.near[0].sendall(b"world")

    link.settimeout(60)
    assert b"".join(link.recv(1) for _ in range(12)) == b"hello, world"
    link.close()


def test_the_end_of_a_pipe_ends_the_other_side(sides):
    here, there = sides
    here.close()
    os.close(here.multiplexer._outgoing)

    until(lambda: there.multiplexer.ended)

    assert there.multiplexer.ended == "it has closed the connection"


@pytest.mark.parametrize("noise", [HEADER.pack(99, 0, 0), HEADER.pack(0, 0, 1 << 31)])
def test_noise_ends_the_connection(sides, noise):
    here, there = sides

    here.call(here.multiplexer.send_raw, noise)

    until(lambda: there.failed)


def test_silence_ends_the_connection():
    (_, unused), (silent, keeps_open) = os.pipe(), os.pipe()
    side = Side(silent, unused, 1, silence=0.1)

    side.call(lambda: None)
    until(lambda: "silent" in side.multiplexer.ended or side.call(lambda: None))

    assert "it has been silent" in side.multiplexer.ended
    side.thread.join(30)
    side.close()
    for descriptor in (_, unused, silent, keeps_open):
        os.close(descriptor)


def test_what_comes_before_the_first_frame_is_taken_out():
    (incoming, outgoing), (unused, spare) = os.pipe(), os.pipe()
    lines = []

    class Events:
        def line(self, text):
            lines.append(text)

        def opened(self, _payload):
            return None

    def preamble(buffer):
        end = buffer.find(b"go\n")
        if end >= 0:
            del buffer[: end + 3]
        return end >= 0

    with os.fdopen(incoming), os.fdopen(unused), os.fdopen(outgoing, "wb") as out, os.fdopen(spare, "wb"):
        served = Multiplexer(incoming, spare, Events(), first=1, preamble=preamble)
        out.write(b"a long message\ng")
        out.flush()
        served.step(60)
        out.write(b"o\n" + HEADER.pack(0, 0, 5) + b"hello")
        out.flush()
        served.step(60)
        served.close()

    assert lines == [b"hello"]
