"""Incoming messages, without a kernel: which are handled, which are passed on, and robustness."""

from types import SimpleNamespace

import pytest
from jupyter_client.session import Session

from nbpar.views.buttons import StopSource, stop_source


class Stream:
    """A stream that receives messages, like the main thread's stream of ipykernel 6."""

    def __init__(self):
        self.passed_on, self.waiting = [], []
        self._recv_copy = True
        self._recv_callback = self.passed_on.append

    def on_recv(self, callback, copy):
        self._recv_callback, self._recv_copy = callback, copy

    def flush(self, flag):
        waiting, self.waiting = self.waiting, []
        for frames in waiting:
            self._recv_callback(frames)


class Kernel:
    def __init__(self):
        import logging

        self.session = Session(key=b"secret")
        self.shell_stream = Stream()
        self.msg_queue = object()
        self.log = logging.getLogger("kernel")

    def arrive(self, comm, content, kind="comm_msg"):
        data = {"comm_id": comm, "data": {"method": "custom", "content": content}}
        self.shell_stream.waiting.append(self.session.serialize(self.session.msg(kind, data), ident=b"me"))


@pytest.fixture
def kernel():
    return Kernel()


def test_a_press_is_heard_and_passed_on_unchanged(kernel):
    source, heard = StopSource(kernel), []
    source.listen("a", heard.append)
    kernel.arrive("a", {"event": "stop"})
    frames = kernel.shell_stream.waiting[0]

    source.poll()

    assert heard == [{"event": "stop"}]
    assert kernel.shell_stream.passed_on == [frames]
    _, rest = kernel.session.feed_identities(frames)
    assert kernel.session.deserialize(rest)["content"]["comm_id"] == "a"  # not taken for a copy


def test_what_is_meant_for_others_is_only_passed_on(kernel):
    source, heard = StopSource(kernel), []
    source.listen("a", heard.append)

    kernel.arrive("b", {"event": "stop"})
    kernel.arrive("a", {"event": "stop"}, kind="execute_request")
    source.poll()

    assert heard == []
    assert len(kernel.shell_stream.passed_on) == 2


@pytest.mark.parametrize("frames", [[], [b"rubbish"], [b"<IDS|MSG>", b"", b"{", b"{", b"{", b"{"]])
def test_whatever_arrives_reaches_the_kernel(kernel, frames):
    source = StopSource(kernel)
    source.listen("a", lambda content: None)
    kernel.shell_stream.waiting.append(frames)

    source.poll()

    assert kernel.shell_stream.passed_on == [frames]


def test_a_listener_that_raises_does_not_keep_the_message_from_the_kernel(kernel):
    source = StopSource(kernel)
    source.listen("a", lambda content: 1 / 0)
    kernel.arrive("a", {"event": "stop"})

    source.poll()

    assert len(kernel.shell_stream.passed_on) == 1


def test_the_hook_stays_until_the_last_listener_has_left(kernel):
    source, original = StopSource(kernel), kernel.shell_stream._recv_callback
    source.listen("a", print)
    source.listen("b", print)

    source.forget("a")
    source.forget("a")
    assert kernel.shell_stream._recv_callback is not original

    source.forget("b")
    assert kernel.shell_stream._recv_callback is original


def test_a_kernel_has_one_source(kernel):
    assert stop_source(kernel) is stop_source(kernel)
    assert stop_source(kernel) is not stop_source(Kernel())


@pytest.mark.parametrize("kernel", [SimpleNamespace(), object(), SimpleNamespace(shell_stream=object())])
def test_kernels_that_are_made_otherwise_are_left_alone(kernel):
    source = stop_source(kernel)

    source.listen("a", print)
    source.poll()
    source.forget("a")

    assert not source.hears
