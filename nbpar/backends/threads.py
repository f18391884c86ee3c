"""Threads of this process: for code that releases the GIL, and for free-threaded Python.

Nothing is pickled, and an item that runs cannot be stopped: Python has no way to.
"""

from __future__ import annotations

import os
import platform
import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count, islice

from nbpar.backends.base import WorkerId
from nbpar.wire.messages import Bye, Lost, Message, Release
from nbpar.worker.catching import caught, renew
from nbpar.worker.codec import ByReference
from nbpar.worker.inside import inside
from nbpar.worker.interrupting import Interrupts
from nbpar.worker.output import OutputRecorder
from nbpar.worker.queues import take
from nbpar.worker.serve import Loop

Inbox = queue.SimpleQueue[tuple[WorkerId, Message] | None]


class ThreadsBackend:
    """A worker loop in each of a number of daemon threads."""

    in_process = True
    blocking = False

    def __init__(self, workers: int) -> None:
        self._number = workers
        self._arrived: Inbox = queue.SimpleQueue()
        self._ways: dict[WorkerId, _ThreadTransport] = {}

    def resize(self, workers: int) -> None:
        """Have so many threads from the next `acquire` on; those that are too many have to be retired."""
        self._number = workers

    def acquire(self) -> None:
        for worker in self._names():
            if worker in self._ways:
                continue
            self._ways[worker] = way = _ThreadTransport(worker, self._arrived)
            threading.Thread(target=_serve, args=(way,), name=f"nbpar {worker}", daemon=True).start()

    def coming(self) -> Sequence[WorkerId]:
        return ()

    def send(self, worker: WorkerId, messages: Sequence[Message]) -> None:
        if (way := self._ways.get(worker)) is not None:
            way.inbox.put(list(messages))

    def keep_packed(self, call: int) -> None:
        """Nothing is packed here."""

    def receive(self, timeout: float | None) -> list[tuple[WorkerId, Message]]:
        arrived: list[tuple[WorkerId, Message]] = []
        try:
            first = take(self._arrived, timeout)
            while True:
                if first is not None:
                    arrived.append(first)
                    self._forget_if_gone(*first)
                first = self._arrived.get_nowait()
        except queue.Empty:
            return arrived

    def wake(self) -> None:
        self._arrived.put(None)

    def interrupt(self, worker: WorkerId) -> bool:  # noqa: ARG002
        """Threads cannot be stopped from outside."""
        return False

    def kill(self, worker: WorkerId, reason: str) -> bool:  # noqa: ARG002
        """Nothing here could take its place."""
        return False

    def release(self, worker: WorkerId) -> None:
        self.send(worker, [Release()])

    def retire(self, worker: WorkerId) -> None:
        self.release(worker)

    def describe(self) -> list[dict[str, object]]:
        return [{"worker": worker, "host": platform.node(), "pid": os.getpid()} for worker in self._names()]

    def close(self) -> None:
        for worker in list(self._ways):
            self.release(worker)
        self._ways.clear()

    def _names(self) -> list[WorkerId]:
        """Return who is here, and who comes at the next `acquire`: a worker that comes back has its name."""
        here = list(self._ways)
        free = (name for number in count() if (name := f"thread {number}") not in self._ways)
        coming = islice(free, max(0, self._number - len(here)))
        return sorted([*here, *coming], key=lambda name: int(name.split()[1]))

    def _forget_if_gone(self, worker: WorkerId, message: Message) -> None:
        if isinstance(message, (Bye, Lost)):
            self._ways.pop(worker, None)


class _ThreadTransport:
    """Queues to and from one thread."""

    def __init__(self, worker: WorkerId, outbox: Inbox) -> None:
        self.worker = worker
        self.inbox: queue.SimpleQueue[list[Message]] = queue.SimpleQueue()
        self._outbox = outbox
        self._arrived: list[Message] = []

    ended = False

    def poll(self, timeout: float) -> None:
        if not self._arrived:
            with suppress(queue.Empty):
                messages = take(self.inbox, timeout)
                self._arrived += messages

    def receive(self, timeout: float) -> list[Message]:
        if timeout:
            self.poll(timeout)
        messages, self._arrived = self._arrived, []
        with suppress(queue.Empty):
            while True:
                messages += self.inbox.get_nowait()
        return messages

    def wake(self) -> None:
        self.inbox.put([])

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._outbox.put((self.worker, message))


def _serve(way: _ThreadTransport) -> None:
    facts = {"worker": way.worker, "host": platform.node(), "pid": os.getpid()}
    loop = Loop(way, ByReference(), interrupts=Interrupts(), facts=facts, silence=threading.TIMEOUT_MAX)
    recorder = OutputRecorder(lambda: loop.index, loop.send_output)
    loop.channels.printed, loop.prepared = recorder.take, _prepared
    try:
        with inside(whole_process=False), caught(recorder, whole_process=False):
            loop.serve()
    except BaseException as error:
        way.send([Lost(f"{way.worker} ended with {error!r}")])
        raise


@contextmanager
def _prepared(*_: object) -> Iterator[None]:
    renew()  # a test runner, or `redirect_stdout`, may have put streams of its own in place
    yield
