"""Coalesce frequent messages; send isolated ones at once (as Nagle's algorithm does).

A message that follows another within `RARE` seconds, or in a bidirectional flow of items, waits
for others; `remind` schedules a flush, so that latency stays bounded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from nbpar.endpoint.credit import MANY, SendWindow
from nbpar.wire.messages import Items, Message

RARE = 10e-6
"""Seconds between two messages from which each is sent alone."""

LARGE = 1 << 17
"""Maximal bytes sent together."""

_clock = time.perf_counter


class Outbox:
    """Outgoing messages to one destination, in order.  Thread-safe.

    One thread at a time sends all queued messages; the others do not wait for it.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Message]], None],
        remind: Callable[[], None],
        guard: AbstractContextManager[object] | None = None,
    ) -> None:
        self._send = send
        self._remind = remind
        self._guard = guard or nullcontext()  # defers Ctrl-C while messages are in hand
        self.lock = threading.Lock()  # never held while sending
        self._messages: list[Message] = []
        self._items = self._bytes = 0
        self._room: SendWindow | None = None
        """The window whose batch is the last message."""

        self._reminded = False
        """Whether a flush was scheduled for the queued messages."""

        self._sender = 0
        """The thread that has messages in hand; 0: none."""

        self._sent = 0.0
        self._corks = 0
        self.torn = False
        """Whether an exception hit a thread with messages in hand: they may be lost, or sent partly."""

    def post(
        self, message: Message, nbytes: int = 0, *, in_flow: bool = False, room: SendWindow | None = None
    ) -> bool:
        """Send a message, at once or soon; `in_flow`: more will follow, or the sender will wait and flush.

        With `room` it is an item that consumes its credit; False if there is none.  `Items` may be
        joined by more items while they are queued.
        """
        remind = False
        with self._guard:
            with self.lock:
                self.close_batch()
                if room is not None and not room.claim(nbytes):
                    return False
                self._messages.append(message)
                self._items += 1
                self._bytes += nbytes
                now = not self._corks and (
                    self._items >= MANY
                    or self._bytes >= LARGE
                    or not (in_flow or _clock() - self._sent <= RARE)
                )
                if not now:
                    remind = not (self._reminded or self._corks)
                    self._reminded = self._reminded or remind
                    if room is not None and type(message) is Items:
                        self._room = room
                        room.open(message.values)
            if now:
                self._send_all()
        if remind:
            self._remind()
        return True

    def put(self, messages: Sequence[Message]) -> None:
        """Queue messages that are sent with the next ones, or by `flush`."""
        with self.lock:
            self.close_batch()
            self._messages += messages

    def close_batch(self, room: SendWindow | None = None) -> None:
        """Close this room's batch, the last message, to further items (with the lock held)."""
        if self._room is not None and room in (None, self._room):
            self._items += self._room.close()
            self._room = None

    def flush(self) -> None:
        """Send the queued messages."""
        if self._messages:
            with self._guard:
                self._send_all()

    @property
    def waiting(self) -> bool:
        """Whether messages are queued."""
        return bool(self._messages)

    @property
    def sending(self) -> bool:
        """Whether another thread sends."""
        return self._sender not in (0, threading.get_ident())

    def cork(self) -> None:
        """Queue all messages until `uncork` has been called as often."""
        with self.lock:
            self._corks += 1

    def uncork(self) -> None:
        """Undo one `cork`; the last one sends the queue."""
        with self.lock:
            self._corks -= 1
        self.flush()

    def clear(self) -> None:
        """Drop the queued messages."""
        with self.lock:
            self._empty()

    def _send_all(self) -> None:
        try:
            while messages := self._take():
                self._send(messages)
                self._sent = _clock()
        except BaseException:
            if self._sender == threading.get_ident():
                self._sender, self.torn = 0, True
            raise

    def _take(self) -> list[Message]:
        """Return the next messages for this thread to send; none while another one sends."""
        me = threading.get_ident()
        with self.lock:
            if self._sender == me:
                self._sender = 0  # it has sent the last ones
            if self._sender or self._corks or not self._messages:
                return []
            self._sender = me
            return self._empty()

    def _empty(self) -> list[Message]:
        self.close_batch()
        messages, self._messages = self._messages, []
        self._items = self._bytes = 0
        self._reminded = False
        return messages
