"""Send rare messages at once and frequent ones together.

A message that follows another within `RARE` seconds, or in a flow of items both ways, waits
for company; whoever was asked by `remind` flushes soon, so that nothing waits long.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from nbpar.wire.messages import Message

RARE = 30e-6
"""Seconds between two messages from which each is sent by itself."""

MANY = 128
"""Messages that are sent together at most."""

LARGE = 1 << 17
"""Bytes likewise."""

_clock = time.perf_counter


class Outbox:
    """Messages on their way to one place, in order; for any thread."""

    def __init__(self, send: Callable[[Sequence[Message]], None], remind: Callable[[], None]) -> None:
        self._send = send
        self._remind = remind
        self._lock = threading.Lock()  # also holds the order while sending
        self._messages: list[Message] = []
        self._bytes = 0
        self._sent = 0.0
        self._corks = 0

    def post(self, message: Message, nbytes: int = 0, *, in_flow: bool = False) -> None:
        """Send a message, now or soon; `in_flow`: more will follow, or the sender will wait and flush."""
        with self._lock:
            self._messages.append(message)
            self._bytes += nbytes
            if self._corks:
                return
            waiting = len(self._messages)
            if waiting >= MANY or self._bytes >= LARGE or self._is_rare(in_flow):
                self._send_all()
                return
        if waiting == 1:
            self._remind()

    def _is_rare(self, in_flow: bool) -> bool:
        return not in_flow and _clock() - self._sent > RARE

    def flush(self) -> None:
        """Send what is waiting now."""
        if self._messages:
            with self._lock:
                if not self._corks and self._messages:
                    self._send_all()

    def cork(self) -> None:
        """Keep everything back until `uncork` has been called as often."""
        with self._lock:
            self._corks += 1

    def uncork(self) -> None:
        """Take back one `cork`; after the last one everything goes."""
        with self._lock:
            self._corks -= 1
            if not self._corks and self._messages:
                self._send_all()

    def clear(self) -> None:
        """Forget what is waiting."""
        with self._lock:
            self._messages, self._bytes = [], 0

    def _send_all(self) -> None:
        messages, self._messages, self._bytes = self._messages, [], 0
        self._send(messages)
        self._sent = _clock()
