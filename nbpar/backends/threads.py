"""Threads of this process: for code that releases the GIL, and for free-threaded Python.

Nothing is pickled.  A running item is not stopped by Stop or a time limit, because Python cannot stop threads
in code that waits; one that the user skips is interrupted when it comes back to Python.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count, islice

from nbpar.backends.base import WorkerId
from nbpar.host.machine import this_process
from nbpar.host.queues import move, take
from nbpar.wire.messages import Bye, Lost, Message, Release
from nbpar.wire.pickling import Packed
from nbpar.worker.cleanup import ItemCleanup, Leftovers
from nbpar.worker.codec import ByReference
from nbpar.worker.loop import Loop
from nbpar.worker.nesting import inside
from nbpar.worker.output.streams import caught, renew
from nbpar.worker.run_setup import WorkerHooks
from nbpar.worker.thread_interrupts import ThreadInterrupts

Inbox = queue.SimpleQueue[tuple[WorkerId, Message] | None]


class ThreadsBackend:
    """A worker loop in each of a number of daemon threads."""

    in_process = True
    interrupts = None
    blocking = False

    def __init__(self, workers: int) -> None:
        self._number = workers
        self._arrived: Inbox = queue.SimpleQueue()
        self._ways: dict[WorkerId, _ThreadTransport] = {}

    def resize(self, workers: int) -> None:
        """Change the number of threads at the next `acquire`; surplus ones must be retired."""
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
        """Do nothing: no values are packed."""

    def take_pickled(self) -> Sequence[tuple[int, Packed]]:
        return ()

    def in_transit(self, worker: WorkerId) -> tuple[int, int]:  # noqa: ARG002 (a queue takes all at once)
        return 0, 0

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

    def interrupt(self, worker: WorkerId, *, skip: bool = False) -> bool:
        """Raise into a thread's item, between two of its steps in Python, but only to `skip` it."""
        way = self._ways.get(worker)
        return skip and way is not None and way.interrupts.strike()

    def kill(self, worker: WorkerId, reason: str) -> bool:  # noqa: ARG002
        """Do nothing: there is no replacement."""
        return False

    def release(self, worker: WorkerId) -> None:
        self.send(worker, [Release()])

    def retire(self, worker: WorkerId) -> None:
        self.release(worker)

    def describe(self) -> list[dict[str, object]]:
        return [{"worker": worker, **this_process()} for worker in self._names()]

    def close(self) -> None:
        for worker in list(self._ways):
            self.release(worker)
        self._ways.clear()

    def _names(self) -> list[WorkerId]:
        """Return the workers, and those to start at the next `acquire`; a returning worker keeps its name."""
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
        self.interrupts = ThreadInterrupts()
        self.inbox: queue.SimpleQueue[list[Message]] = queue.SimpleQueue()
        self._outbox = outbox
        self._arrived: list[list[Message]] = []

    ended = False

    def poll(self, timeout: float) -> None:
        if not self._arrived:
            move(self.inbox, self._arrived, timeout)

    def receive(self, timeout: float) -> list[Message]:
        if timeout:
            self.poll(timeout)
        while not self.inbox.empty():
            move(self.inbox, self._arrived, 0.0)
        lots, self._arrived = self._arrived, []
        return [message for lot in lots for message in lot]

    def wake(self) -> None:
        self.inbox.put([])

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._outbox.put((self.worker, message))


def _serve(way: _ThreadTransport) -> None:
    facts = {"worker": way.worker, **this_process()}
    interrupts = way.interrupts
    loop = Loop(way, ByReference(), interrupts=interrupts, facts=facts, silence=threading.TIMEOUT_MAX)
    hooks = WorkerHooks(ItemCleanup(Leftovers(whole_process=False)), _prepared)
    try:
        with interrupts, inside(whole_process=False), caught(loop.recorder, whole_process=False):
            loop.serve(hooks)
    except BaseException as error:
        way.send([Lost(f"{way.worker} ended with {error!r}")])
        raise


@contextmanager
def _prepared(*_: object) -> Iterator[None]:
    renew()  # a test runner, or `redirect_stdout`, may have replaced the streams
    yield
