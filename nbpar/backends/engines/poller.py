"""Wait for many file descriptors with the best call of this system."""

from __future__ import annotations

import math
import select
from typing import Any

POLLIN = getattr(select, "POLLIN", 1)
POLLOUT = getattr(select, "POLLOUT", 4)


class Poller:
    """Reports which descriptors are readable, or writable if requested."""

    at_once = hasattr(select, "epoll")
    """Whether changes take effect while a thread waits (as documented in epoll(7))."""

    def __init__(self) -> None:
        if self.at_once:
            self._poll: Any = select.epoll()
        elif hasattr(select, "poll"):
            self._poll = select.poll()
        else:
            import zmq

            self._poll = zmq.Poller()
        self.add = self._poll.register
        self.remove = self._poll.unregister
        self.expect = self._poll.modify

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        """Return ready descriptors with their events; waits `timeout` seconds at most."""
        if self.at_once:
            return self._poll.poll(timeout)  # type: ignore[no-any-return]
        return self._poll.poll(None if timeout is None else math.ceil(timeout * 1000))  # type: ignore[no-any-return]

    def close(self) -> None:
        """Free the system's resources."""
        if self.at_once:
            self._poll.close()
