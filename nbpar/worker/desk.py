"""One transport for all threads of a worker: any may send, and whoever waits reads for all.

While the worker's main thread computes, a thread that waits for its channel reads; what it
reads for others it puts where they find it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from nbpar.wire.messages import Message
from nbpar.worker.shielding import Shield

SLICE = 0.05
"""Seconds until a signal is noticed by a thread for which another one reads."""

GATHER = 0.001
"""Seconds that frequent messages wait for company."""


class Transport(Protocol):
    """One way to the client.  Any thread may send and wake; one at a time polls and receives."""

    @property
    def ended(self) -> bool:
        """Whether the client has gone."""

    def poll(self, timeout: float) -> None:
        """Wait up to `timeout` seconds until something may have arrived, or somebody calls `wake`."""

    def receive(self, timeout: float) -> Sequence[Message]:
        """Return what has arrived; wait up to `timeout` seconds for something."""

    def send(self, messages: Sequence[Message]) -> None:
        """Send messages together."""

    def wake(self) -> None:
        """Make `poll` return; takes no lock."""


class Desk:
    """Where messages are sent from, and where each thread finds what is for it."""

    def __init__(self, transport: Transport, shield: Shield, *, silence: float) -> None:
        self._transport = transport
        self._shield = shield
        self._silence = silence
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiting = 0
        """Threads that wait while another one reads."""

        self._reader = 0
        """The thread that reads; 0: none."""

        self._loop: deque[Message] = deque()
        self._heard = time.monotonic()
        self._flusher: threading.Thread | None = None
        self._unflushed = threading.Event()
        self.closed = False
        self.take: Callable[[Message], bool] = lambda _: False
        """Takes a message that is for a channel; False when it is for the loop."""

        self.idle: Callable[[], None] = lambda: None
        """Called before somebody waits: what has been kept back goes now."""

    # ---- for the loop (this is a `Transport` for it)

    def send(self, messages: Sequence[Message]) -> None:
        """Send messages together, after what has been kept back."""
        self.idle()
        self._transport.send(messages)

    def receive(self, timeout: float) -> list[Message]:
        """Return what has arrived for the loop; nothing when the client was silent for so long."""
        if timeout:
            self.wait(lambda: bool(self._loop), timeout)
        elif not self._reader:
            self._read(0.0)
        messages: list[Message] = []
        while self._loop:
            messages.append(self._loop.popleft())
        return messages

    # ---- for channels

    def post(self, messages: Sequence[Message]) -> None:
        """Send messages together, at once."""
        self._transport.send(messages)

    def wait(self, ready: Callable[[], bool], timeout: float | None) -> bool:
        """Read until `ready()`, or for `timeout` seconds; whether it is ready.

        Returns also when the client is gone.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not ready():
            left = self._left(deadline)
            if left <= 0 or self.closed or self._transport.ended:
                return ready()
            self.idle()
            self._read(left, ready)
        return True

    def notify(self) -> None:
        """Have those who wait look again."""
        if self._reader == threading.get_ident():
            return  # it does that when it is through with what has come
        with self._lock:
            self._tell()
            reading = self._reader
        if reading:
            self._transport.wake()

    def wake(self) -> None:
        """Have whoever reads look around; takes no lock."""
        self._transport.wake()

    def flush_soon(self) -> None:
        """Have `idle` called in a moment, whatever this thread does then."""
        if self._flusher is None:
            self._flusher = threading.Thread(target=self._flush_now_and_then, name="nbpar flush", daemon=True)
            self._flusher.start()
        self._unflushed.set()

    @property
    def ended(self) -> bool:
        """Whether the client is gone."""
        return self._transport.ended

    @property
    def lost(self) -> bool:
        """Whether the client is gone, or has been silent for too long."""
        return self._transport.ended or time.monotonic() - self._heard >= self._silence

    def close(self) -> None:
        """Nobody reads any more."""
        self.closed = True
        self._unflushed.set()
        with self._lock:
            self._tell()
            while self._reader:
                self._transport.wake()
                self._wait(SLICE)

    # ---- inside

    def _left(self, deadline: float | None) -> float:
        silent = self._heard + self._silence
        return (silent if deadline is None else min(silent, deadline)) - time.monotonic()

    def _read(self, timeout: float, ready: Callable[[], bool] = lambda: False) -> None:
        """Read for everybody, or wait while another thread does."""
        with self._lock:
            if self._reader:
                if not ready():
                    self._wait(min(timeout, SLICE) if self._shield.up else timeout)
                if self._shield.up:
                    self._shield.wait(lambda _: None, 0.0)  # a signal that came meanwhile raises here
                return
            if ready():
                return
            self._reader = threading.get_ident()
        try:
            if timeout:
                self._shield.wait(self._transport.poll, timeout)
            messages = self._transport.receive(0.0)
            if messages:
                self._heard = time.monotonic()
            for message in messages:
                if not self.take(message):
                    self._loop.append(message)
        finally:
            with self._lock:
                self._reader = 0
                self._tell()

    def _wait(self, timeout: float) -> None:
        self._waiting += 1
        try:
            self._changed.wait(timeout)
        finally:
            self._waiting -= 1

    def _tell(self) -> None:
        if self._waiting:
            self._changed.notify_all()

    def _flush_now_and_then(self) -> None:
        while not self.closed:
            self._unflushed.wait()
            self._unflushed.clear()
            time.sleep(GATHER)
            self.idle()
