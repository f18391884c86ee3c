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

RARE = 30e-6
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
    ) -> None:
        """Send a message, now or soon; `in_flow`: more will follow, or the sender will wait and flush.

        With `room` the message is `Items`, which more items may join while it waits.
        """
        with self.lock:
            self.close_batch()
            first = not self._messages
            self._messages.append(message)
            self._items += 1
            self._bytes += nbytes
            now = not self._corks and (self._items >= MANY or self._bytes >= LARGE or self._is_rare(in_flow))
            if room is not None and not now and type(message) is Items:
                self._room = room
                room.open(message.values)
            wait = self._corks or not first
        if now:
            self._send_all()
        elif not wait:
            self._remind()

    def close_batch(self, room: Room | None = None) -> None:
        """Let nothing join the last message any more, if it is this room's (with the lock held)."""
        if self._room is not None and room in (None, self._room):
            self._items += self._room.close()
            self._room = None

    def flush(self) -> None:
        """Send what is waiting now."""
        if self._messages:
            self._send_all()

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
            self._taken()

    def _is_rare(self, in_flow: bool) -> bool:
        return not in_flow and _clock() - self._sent > RARE

    def _send_all(self) -> None:
        with self._guard:
            with self.lock:
                if self._sending:
                    return  # whoever sends takes what has come meanwhile
                self._sending = True
            while messages := self._take_or_stop():
                try:
                    self._send(messages)
                except BaseException:
                    self._sending = False
                    raise
                self._sent = _clock()

    def _take_or_stop(self) -> list[Message]:
        with self.lock:
            if self._corks or not self._messages:
                self._sending = False
                return []
            return self._taken()

    def _taken(self) -> list[Message]:
        self.close_batch()
        messages, self._messages = self._messages, []
        self._items = self._bytes = 0
        return messages
