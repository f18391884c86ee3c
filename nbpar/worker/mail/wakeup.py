"""Wake a thread that waits for file descriptors (a self-pipe)."""

from __future__ import annotations

import select
import socket as network
from typing import Any

from nbpar.worker.spin import AdaptiveSpin, clock


class Wakeup:
    """One thread waits, for file descriptors or the bell; any thread may ring it."""

    def __init__(self, *handles: int, spin: AdaptiveSpin | None = None) -> None:
        self._heard, self._rung = network.socketpair()
        self._heard.setblocking(False)
        self._rung.setblocking(False)
        self._handles = handles
        self._spin = spin or AdaptiveSpin()
        self.handle = self._heard.fileno()
        """A descriptor that is readable after `ring`, for other ways of waiting."""

        self._poll = select.poll() if hasattr(select, "poll") else None
        if self._poll is not None:
            for handle in (*handles, self.handle):
                self._poll.register(handle, select.POLLIN)

    def ring(self) -> None:
        """Make the current or next `wait` return at once; takes no lock."""
        try:
            self._rung.send(b"\0")
        except OSError:
            pass  # full, so it wakes anyway; or closed

    def wait(self, timeout: float) -> None:
        """Wait until a descriptor is readable, `ring` is called, or `timeout` seconds are over."""
        if self._poll is not None:
            ready = self._ready(self._poll, timeout)
            rung = len(ready) > 1 or (bool(ready) and ready[0][0] == self.handle)
        else:
            everything: list[Any] = [*self._handles, self._heard]
            readable, _, _ = select.select(everything, [], [], max(0.0, timeout))
            rung = self._heard in readable
        if rung:
            self.still()

    def _ready(self, poller: select.poll, timeout: float) -> list[tuple[int, int]]:
        if self._spin.due and (ready := self._spin.look_for(lambda: poller.poll(0))):
            return ready
        began = clock()
        ready = poller.poll(max(0.0, timeout) * 1000)
        self._spin.slept(clock() - began)
        return ready

    def still(self) -> None:
        """Reset the bell."""
        try:
            while len(self._heard.recv(4096)) == 4096:
                pass
        except OSError:
            pass

    def close(self) -> None:
        """Free the descriptors.  Idempotent."""
        self._heard.close()
        self._rung.close()
