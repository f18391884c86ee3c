"""A worker asks for large buffers, and keeps them for the others of its host."""

import pytest

from nbpar.wire import shared_memory
from nbpar.wire.messages import FoundBuffers, KeptBuffers, Load, SeekBuffers
from nbpar.wire.pickling import Packed, Unreceived
from nbpar.wire.shared_memory import CAN_LODGE, Mapped, NotMappedError, SharedBuffers
from nbpar.worker import host_buffers
from nbpar.worker.host_buffers import KEPT, HostBuffers

pytestmark = pytest.mark.skipif(not CAN_LODGE, reason="only Linux can do it")


class Client:
    """A mailbox at whose other end a client answers at once, as the table says."""

    is_abandoned = False

    def __init__(self, answers=(), default=None):
        self.answers = list(answers)
        self.default = default
        self.said = []

    def put(self, messages):
        self.said += messages
        for message in messages:
            if isinstance(message, SeekBuffers):
                answer = self.answers.pop(0) if self.answers else self.default
                if answer is not None:
                    self.take_buffers(answer(message.name))

    def wait(self, ready, timeout):
        assert ready() or self.is_abandoned


def whole(name, *, keep=False, content=b"content"):
    return FoundBuffers(name, keep, Packed(b"", None, [bytearray(b"head"), bytearray(content)]))


def to_keep(name):
    return whole(name, keep=True)


def nothing(name):
    return FoundBuffers(name, False, None)


def at(memory):
    return lambda name: FoundBuffers(name, False, Packed(b"", None, memory.lodged))


def sought(name=b"f"):
    return Load(name, "f", Packed(b"", ((4, 1),), Mapped("", "", ())))


def test_a_function_that_is_whole_is_not_asked_for():
    client = Client()
    load = Load(b"f", "f", Packed(b"head", ((4, 1),), [b"x"]))

    assert HostBuffers(client).complete(load) is load
    assert not client.said


def test_what_is_to_be_kept_is_mapped_by_others():
    client = Client(default=to_keep)
    buffers = HostBuffers(client)

    load = buffers.complete(sought())
    again = buffers.complete(sought())
    kept = client.said[-1]

    assert client.said == [SeekBuffers(b"f", ""), KeptBuffers(b"f", kept.place)]
    assert load.function.buffers == again.function.buffers
    assert bytes(load.function.head) == b"head"
    assert [bytes(part) for part in load.function.buffers.buffers(writable=True)] == [b"content"]
    buffers.clear()
    with pytest.raises(NotMappedError):
        Mapped(*kept.place).buffers(writable=False)


@pytest.mark.parametrize("lack", ["memfd", "disk", "received"])
def test_who_cannot_keep_it_says_so_and_uses_it(monkeypatch, lack):
    def full(*_):
        raise OSError(28, "No space left on device")

    content = [b"head", Unreceived.of(10) if lack == "received" else b"content"]
    client = Client([lambda name: FoundBuffers(name, True, Packed(b"", None, content))])
    if lack == "memfd":
        monkeypatch.setattr(host_buffers, "CAN_LODGE", False)
    if lack == "disk":
        monkeypatch.setattr(shared_memory.os, "memfd_create", full)

    load = HostBuffers(client).complete(sought())

    assert client.said[-1] == KeptBuffers(b"f", ())
    assert [load.function.head, *load.function.buffers] == content


def test_what_the_client_has_no_more_is_asked_for_again_the_next_time():
    client = Client([nothing, whole])
    buffers = HostBuffers(client)

    assert buffers.complete(sought()) is None
    assert buffers.complete(sought()).function.buffers == [b"content"]


def test_a_call_that_is_given_up_waits_for_nothing():
    client = Client()
    client.is_abandoned = True

    assert HostBuffers(client).complete(sought()) is None


def test_what_is_gone_is_asked_for_with_its_place():
    memory = SharedBuffers([b"head"])
    client = Client([at(memory), whole])
    buffers = HostBuffers(client)
    first = buffers.complete(sought())
    memory.close()
    with pytest.raises(NotMappedError):
        buffers.complete(sought())
    buffers.forget(b"f")

    load = buffers.complete(sought())

    assert (bytes(first.function.head), first.function.buffers) == (b"head", [])
    assert client.said[-1] == SeekBuffers(b"f", memory.lodged.name)
    assert load.function.buffers == [b"content"]


def test_the_latest_are_kept():
    client = Client(default=to_keep)
    buffers = HostBuffers(client)
    for number in range(KEPT + 1):
        buffers.complete(sought(b"%d" % number))
    places = [message.place for message in client.said if isinstance(message, KeptBuffers)]

    with pytest.raises(NotMappedError):
        Mapped(*places[0]).buffers(writable=False)
    assert Mapped(*places[1]).buffers(writable=False)
    buffers.clear()


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_parts_of_a_shared_object_are_asked_for_twice(gone):
    memories = [SharedBuffers([b"content"]) for _ in range(2)]
    for memory in memories[:gone]:
        memory.close()

    parts = HostBuffers(Client(map(at, memories))).parts(b"name")

    assert parts is None if gone == 2 else bytes(parts[0]) == b"content"
    for memory in memories:
        memory.close()


def test_parts_that_came_by_themselves():
    assert HostBuffers(Client([whole])).parts(b"name") == [b"head", b"content"]
    assert HostBuffers(Client([nothing])).parts(b"name") is None
