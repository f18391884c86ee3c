"""Send rare messages at once and frequent ones together.

A message that follows another within `RARE` seconds, or in a flow of items both ways, waits
for company; whoever was asked by `remind` flushes soon, so that nothing waits long.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from nbpar.wire.messages import Items, Message
from nbpar.worker.room import MANY, Room

RARE = 10e-6
"""Seconds between two messages from which each is sent by itself."""

LARGE = 1 << 17
"""Bytes that are sent together at most."""

_clock = time.perf_counter


class Outbox:
    """Messages on their way to one place, in order; for any thread.

    One thread at a time sends, all that is there; the others do not wait for it.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Message]], None],
        remind: Callable[[], None],
        guard: AbstractContextManager[object] | None = None,
    ) -> None:
        self._send = send
        self._remind = remind
        self._guard = guard or nullcontext()  # keeps Ctrl-C out while messages are in hand
        self.lock = threading.Lock()  # never held while sending
        self._messages: list[Message] = []
        self._items = self._bytes = 0
        self._room: Room | None = None
        """Whose batch is the last message."""

        self._sending = False
        self._sent = 0.0
        self._corks = 0

    def post(
        self, message: Message, nbytes: int = 0, *, in_flow: bool = False, room: Room | None = None
    ) -> bool:
        """Send a message, now or soon; `in_flow`: more will follow, or the sender will wait and flush.

        With `room` it is an item that takes a place there; False when there is none.  `Items` may be
        joined by more items while they wait.
        """
        with self._guard:
            with self.lock:
                self.close_batch()
                if room is not None and not room.claim(nbytes):
                    return False
                first = not self._messages
                self._messages.append(message)
                self._items += 1
                self._bytes += nbytes
                now = not self._corks and (
                    self._items >= MANY
                    or self._bytes >= LARGE
                    or not (in_flow or _clock() - self._sent <= RARE)
                )
                if now:
                    remind, messages = False, self._take()
                else:
                    remind, messages = first and not self._corks, None
                    if room is not None and type(message) is Items:
                        self._room = room
                        room.open(message.values)
            if messages:
                self._send_all(messages)
        if remind:
            self._remind()
        return True

    def close_batch(self, room: Room | None = None) -> None:
        """Let nothing join the last message any more, if it is this room's (with the lock held)."""
        if self._room is not None and room in (None, self._room):
            self._items += self._room.close()
            self._room = None

    def flush(self) -> None:
        """Send what is waiting now."""
        if self._messages:
            with self._guard:
                with self.lock:
                    messages = self._take()
                self._send_all(messages)

    def cork(self) -> None:
        """Keep everything back until `uncork` has been called as often."""
        with self.lock:
            self._corks += 1

    def uncork(self) -> None:
        """Take back one `cork`; after the last one everything goes."""
        with self.lock:
            self._corks -= 1
        self.flush()

    def clear(self) -> None:
        """Forget what is waiting."""
        with self.lock:
            self._empty()

    def _take(self) -> list[Message]:
        """Return what this thread has to send now (with the lock held); nothing while another one sends."""
        if self._sending or self._corks or not self._messages:
            return []
        self._sending = True
        return self._empty()

    def _send_all(self, messages: list[Message]) -> None:
        while messages:
            try:
                self._send(messages)
            except BaseException:
                self._sending = False
                raise
            self._sent = _clock()
            with self.lock:
                self._sending = False
                messages = self._take()

    def _empty(self) -> list[Message]:
        self.close_batch()
        messages, self._messages = self._messages, []
        self._items = self._bytes = 0
        return messages
