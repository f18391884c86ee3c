"""Frames over a stream, as the other end receives them."""

import itertools
import mmap
import os
import socket
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbpar.host.socket_buffers import enlarge
from nbpar.testing import until
from nbpar.wire import stream
from nbpar.wire.frames import FrameError
from nbpar.wire.pickling import Unreceived
from nbpar.wire.stream import (
    LONGEST_DROPPED,
    LONGEST_FRAME,
    LONGEST_NAME,
    MOST_FRAMES,
    MOST_PIECES,
    READ,
    ROUNDS,
    SMALL,
    Incoming,
    Outgoing,
)


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
def test_bytes_of_any_size_arrive(ends, size):
    frame = os.urandom(size)

    assert carried(ends, [frame]) == [frame]


@pytest.mark.parametrize("kind", [bytes, memoryview])
@pytest.mark.parametrize("size", [READ + 1, 3 << 20])
def test_what_is_large_can_be_written_to(ends, size, kind):
    frame = os.urandom(size)

    (arrived,) = carried(ends, [kind(frame)])

    assert (type(arrived), arrived) == (bytearray, frame)


def test_frames_of_all_kinds_in_one_message_keep_their_order(ends):
    frames = [os.urandom(size) for size in SIZES]
    given = [frame if place % 2 else memoryview(frame) for place, frame in enumerate(frames)]

    assert carried(ends, given) == frames


def test_a_length_that_cannot_be_is_refused(ends):
    ends[0].send((1).to_bytes(4, "little") + (LONGEST_FRAME + 1).to_bytes(8, "little"))

    with pytest.raises(FrameError):
        Incoming(ends[1]).read()


def received(ends, messages, **how):
    """Send messages and return what arrives, with the reader."""
    outgoing, incoming = Outgoing(ends[0]), Incoming(ends[1], **how)
    sending = threading.Thread(target=lambda: [_send(outgoing, frames) for frames in messages])
    sending.start()
    arrived = []
    until(lambda: arrived.extend(incoming.read()) or len(arrived) >= len(messages), 30, "nothing arrived")
    sending.join()
    return arrived


@pytest.mark.parametrize("size", [READ + 1, 3 << 20])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_a_frame_for_which_there_is_no_memory_is_dropped_and_all_others_arrive(ends, size, kind):
    large, small = kind(os.urandom(size)), os.urandom(10)

    messages = received(
        ends, [[small, large, small], [small], [large], [small]], fits=lambda wanted: wanted != size
    )

    assert [[type(frame) for frame in frames] for frames in messages] == [
        [bytes, Unreceived, bytes], [bytes], [Unreceived], [bytes],
    ]  # fmt: skip
    assert messages[0][1].size == size
    assert messages[0][2] == messages[1][0] == messages[3][0] == small


def test_memory_that_the_system_refuses_is_as_good_as_none(ends, monkeypatch):
    def refuse(size):
        if size > READ:
            raise MemoryError
        return bytearray(size)

    monkeypatch.setattr("nbpar.wire.stream.bytearray", refuse, raising=False)

    messages = received(ends, [[bytearray(READ + 1)], [b"next"]])

    assert [type(frames[0]) for frames in messages] == [Unreceived, bytes]


@pytest.mark.parametrize("fits", [True, False])
def test_what_is_on_its_way_is_counted_on_both_sides(ends, fits):
    outgoing, incoming = Outgoing(ends[0]), Incoming(ends[1], fits=lambda _: fits)
    size = 50 * READ
    assert (outgoing.unsent, incoming.missing) == (0, 0)

    outgoing.send([bytes(size)])
    unsent = outgoing.unsent
    incoming.read()
    missing = incoming.missing
    messages = []
    while not messages:
        outgoing.flush()
        messages = incoming.read()

    assert 0 < unsent < size
    assert 0 < missing < size
    assert (outgoing.unsent, incoming.missing) == (0, 0)


def test_a_length_for_which_no_machine_has_memory_is_taken_for_garbage(ends):
    ends[0].send((1).to_bytes(4, "little") + (LONGEST_DROPPED + 1).to_bytes(8, "little"))

    with pytest.raises(FrameError, match="no stream of frames"):
        Incoming(ends[1], fits=lambda _: False).read()


def test_nothing_of_a_stranger_is_read_but_its_name_until_it_is_trusted(ends):
    incoming = Incoming(ends[1], stranger=True)
    for frames in ([b"name"], [b"one", b"two"], [b"three"]):
        Outgoing(ends[0]).send(frames)

    before = incoming.read()
    still = incoming.read()
    after = incoming.trust()

    assert (before, still, after) == ([[b"name"]], [], [[b"one", b"two"], [b"three"]])


@pytest.mark.parametrize(
    "header",
    [
        (1).to_bytes(4, "little") + (1 << 43).to_bytes(8, "little"),
        (1).to_bytes(4, "little") + (LONGEST_NAME + 1).to_bytes(8, "little"),
        (2).to_bytes(4, "little") + (1).to_bytes(8, "little"),
    ],
    ids=["absurd", "long", "many"],
)
def test_a_stranger_that_sends_more_than_a_name_is_refused_before_anything_of_it_is_read(ends, header):
    ends[0].send(header)

    with pytest.raises(FrameError, match="this is no name"):
        Incoming(ends[1], stranger=True).read()


# ---- ends and faults of the connection


class Scripted:
    """A socket whose reads and writes are what a test says."""

    def __init__(self, *steps):
        self.steps = list(steps)
        self.sent = bytearray()
        self.calls = 0

    def recv_into(self, room):
        step = self._next()
        room[: len(step)] = step
        return len(step)

    def send(self, data):
        return self._accept(bytes(data))

    def sendmsg(self, pieces):
        return self._accept(b"".join(map(bytes, pieces)))

    def _accept(self, data):
        number = min(self._next(), len(data))
        self.sent += data[:number]
        return number

    def _next(self):
        self.calls += 1
        step = self.steps.pop(0)
        if isinstance(step, BaseException):
            raise step
        return step


def on_the_wire(*messages):
    """Return the bytes of messages."""
    socket = Scripted(*[1 << 40] * len(messages))
    outgoing = Outgoing(socket)
    for frames in messages:
        outgoing.send(frames)
    assert not outgoing.waiting
    return bytes(socket.sent)


@given(
    st.lists(st.lists(st.integers(0, 3 * READ), min_size=1, max_size=4), min_size=1, max_size=3), st.data()
)
@settings(max_examples=40)
def test_messages_arrive_whole_however_their_bytes_are_cut(sizes, data):
    messages = [[bytes([at % 251]) * size for at, size in enumerate(row)] for row in sizes]
    wire = on_the_wire(*messages)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(wire)), max_size=5)) | {0, len(wire)})
    here, there = socket.socketpair()
    enlarge(here)
    incoming, arrived = Incoming(here), []

    with here, there:
        for first, stop in itertools.pairwise(cuts):
            sending = threading.Thread(target=there.sendall, args=(wire[first:stop],))
            sending.start()
            while sending.is_alive():
                arrived += incoming.read()
            sending.join()
            arrived += incoming.read()
        until(
            lambda: arrived.extend(incoming.read()) or len(arrived) >= len(messages), 30, "it did not arrive"
        )

    assert arrived == messages


@given(
    st.lists(st.lists(st.binary(max_size=READ), min_size=1, max_size=3), min_size=1, max_size=3), st.data()
)
@settings(max_examples=40)
def test_messages_leave_whole_however_few_bytes_the_system_takes(messages, data):
    expected = on_the_wire(*messages)
    steps = data.draw(st.lists(st.one_of(st.integers(0, 2 * READ), st.just(BlockingIOError())), max_size=9))
    slow = Scripted(*steps, *[1 << 40] * (len(messages) + len(steps) + 1))
    outgoing = Outgoing(slow)

    for frames in messages:
        outgoing.send(frames)
    while outgoing.waiting:
        outgoing.flush()

    assert slow.sent == expected


def test_a_message_of_very_many_frames_is_written_in_several_calls():
    frames = [b"%d" % at for at in range(3 * MOST_PIECES)]
    steps = Scripted(*[1 << 40] * 9)

    Outgoing(steps).send(frames)

    assert steps.calls == 4  # one of its sizes, with the first of the frames
    incoming = Incoming(Scripted(bytes(steps.sent), BlockingIOError()))
    assert incoming.read() == [frames]


@pytest.mark.parametrize(
    "end", [b"", ConnectionResetError(), TimeoutError()], ids=["closed", "reset", "gone"]
)
def test_the_end_of_the_other_side_is_seen_after_what_it_has_sent(end):
    incoming = Incoming(Scripted(on_the_wire([b"last"]), end))

    first, ended_then = incoming.read(), incoming.ended
    second = incoming.read()

    assert (first, ended_then) == ([[b"last"]], False)
    assert (second, incoming.ended) == ([], True)


@pytest.mark.parametrize("nothing", [BlockingIOError(), InterruptedError()])
def test_no_data_now_is_no_end(nothing):
    incoming = Incoming(Scripted(nothing, on_the_wire([b"later"])))

    assert incoming.read() == []
    assert not incoming.ended
    assert incoming.read() == [[b"later"]]


@pytest.mark.parametrize("at", [3, 8, 13, 19, 20, 22])
def test_a_message_goes_on_wherever_it_was_interrupted(at):
    wire = on_the_wire([b"ab", b"cde"])
    incoming = Incoming(Scripted(wire[:at], wire[at:], BlockingIOError()))

    assert incoming.read() == []
    assert incoming.read() == [[b"ab", b"cde"]]


def test_a_large_frame_that_comes_slowly_leaves_others_their_turn():
    wire = on_the_wire([b"x" * (READ + 5 * ROUNDS)])
    chunks = [wire[:READ], *(wire[at : at + 1] for at in range(READ, len(wire)))]
    slow = Scripted(*chunks, BlockingIOError())
    incoming = Incoming(slow)

    messages, turns = [], 0
    while not messages:
        messages, turns = incoming.read(), turns + 1

    assert turns == -(-len(chunks) // ROUNDS)
    assert messages == [[b"x" * (READ + 5 * ROUNDS)]]


@pytest.mark.parametrize("count", [0, MOST_FRAMES, 1 << 31])
def test_a_number_of_frames_that_cannot_be_is_refused(count):
    with pytest.raises(FrameError, match="no stream of frames"):
        Incoming(Scripted(count.to_bytes(4, "little") + bytes(8))).read()


def test_more_frames_than_there_is_room_for_their_sizes_are_refused():
    count = READ // 8

    with pytest.raises(FrameError, match="too many frames in one message"):
        Incoming(Scripted(count.to_bytes(4, "little") + bytes(8))).read()


@pytest.mark.parametrize("message", [[b"small"], [b"x" * SMALL], [b"two", b"frames"]])
def test_what_is_sent_to_a_side_that_has_gone_is_dropped(message):
    gone = Scripted(BrokenPipeError(), BrokenPipeError())
    outgoing = Outgoing(gone)

    outgoing.send(message)
    outgoing.send(message)
    outgoing.flush()

    assert not outgoing.waiting
    assert not gone.sent


def test_what_still_waits_when_the_other_side_goes_is_dropped():
    outgoing = Outgoing(Scripted(3, BrokenPipeError(), BrokenPipeError()))
    outgoing.send([b"a message"])
    assert outgoing.waiting

    outgoing.flush()

    assert not outgoing.waiting


@pytest.mark.parametrize("pages", ["huge", "small", "none"])
def test_a_very_long_frame_gets_pages_of_its_own(ends, monkeypatch, pages):
    class Refusing(mmap.mmap):
        def madvise(self, *_):
            raise OSError("no huge pages")

    monkeypatch.setattr(stream, "MAPPED", 1 << 20)
    if pages == "small":
        monkeypatch.setattr(stream.mmap, "mmap", Refusing)
    elif pages == "none":
        monkeypatch.delattr(stream.mmap, "MADV_HUGEPAGE", raising=False)
    content = os.urandom(3 << 20)

    small, frame = carried(ends, [b"small", content])

    assert bytes(frame) == content
    assert bytes(small) == b"small"
    memoryview(frame)[0] = 0  # it can be written to


def test_a_very_long_frame_without_memory_is_dropped(ends, monkeypatch):
    def full(*_, **__):
        raise OSError("cannot allocate memory")

    monkeypatch.setattr(stream, "MAPPED", 1 << 20)
    monkeypatch.setattr(stream.mmap, "MADV_HUGEPAGE", 14, raising=False)
    monkeypatch.setattr(stream.mmap, "mmap", full)

    small, frame = carried(ends, [b"small", bytes(3 << 20)])

    assert type(frame) is Unreceived
    assert frame.size == 3 << 20
    assert small == b"small"
