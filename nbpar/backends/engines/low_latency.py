"""Low latency for channels: who waits for an item reads from the engine, on another core than the engine's.

Nothing else depends on this.  `EnginesBackend.wait` is the only way in, and without this module it would
sleep at once, until the pool's thread hands the item over.

While the pool's thread sleeps, the caller borrows its turn to read, mutes the descriptor for it (epoll(7)
heeds that in the middle of a wait), takes items of channels and leaves everything else, in order, to be
received as usual.  No thread sleeps while it has borrowed the turn, so it need not be called back.

Linux wakes a thread on the core of the one that wakes it when the other cores sleep so deeply that
they cannot be seen to be idle, as those of virtual machines do.  Two that look for each other's
answers on one core wait, each, until the other's share of it is over.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from nbpar.backends.engines.engine import EngineLoop
from nbpar.backends.engines.local_server import LocalServer
from nbpar.backends.engines.no_controller import Arrived
from nbpar.backends.engines.poller import POLLIN
from nbpar.backends.engines.sockets import ClientSockets
from nbpar.host.deferred_sigint import hold
from nbpar.wire.messages import Message
from nbpar.worker.spin import FAR, NEAR, AdaptiveSpin, clock

Taking = Callable[[list[Message]], list[Message]]
"""Handles an engine's messages; returns the rest from the first one that it leaves to others."""

APART_EVERY = 5e-3
"""Seconds after which the system may have put two together again; to look costs some 20 us."""

_PROCESSOR = 36
"""Place of the core behind the name in /proc/<pid>/stat (field 39 in proc_pid_stat(5))."""


class ReaderToken:
    """The pool's thread has it, except while it sleeps; meanwhile any thread may borrow it for a moment.

    What one has read is dealt with before another reads, so everything stays in order.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self.wanted = False
        """The pool's thread has woken: the borrowing thread gives the turn back at once."""

    def lay_down(self) -> None:
        """The pool's thread goes to sleep."""
        self.wanted = False
        self._lock.release()

    def take_up(self) -> None:
        """The pool's thread is awake."""
        self.wanted = True
        self._lock.acquire()

    def borrow(self) -> bool:
        """Take the turn, if the pool's thread sleeps and no other thread has it."""
        return not self.wanted and self._lock.acquire(blocking=False)

    def give_back(self) -> None:
        """End a loan."""
        self._lock.release()


@dataclass
class _Waits:
    """What is known of the waits for one engine."""

    spin: AdaptiveSpin
    """How soon it answers."""

    pid: int | None
    """Its process, if that is on this host."""

    _apart: float = field(default=0.0, init=False)
    """When it was made sure that it has another core than who waits for it."""

    def keep_apart(self) -> None:
        """Have this thread leave the core of the engine whose answer it is about to look for."""
        now = time.monotonic()
        if self.pid is not None and now - self._apart > APART_EVERY:
            self._apart = now
            if (core := core_of(self.pid)) is not None:
                avoid(core)


class LowLatencySockets(ClientSockets):
    """Connections to engines; while the one thread that receives sleeps, others may read for a moment."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._turn = ReaderToken()
        self._aside: Arrived = []
        """What one who listened has read, and has to be received."""

        self._waits: dict[bytes, _Waits] = {}

    def wait(
        self, engine: EngineLoop, take: Taking, ready: Callable[[], bool], sleep: Callable[[], bool]
    ) -> bool:
        """Return what `ready` does, having looked for what the engine says or slept until it says it.

        Safe from any thread.  What `take` leaves is received as usual, by the one thread that receives.
        """
        if (waits := self._waits.get(engine.identity)) is None:
            if not engine.ready:
                return ready() or sleep()
            spin = AdaptiveSpin(NEAR if engine.local else FAR)
            waits = self._waits[engine.identity] = _Waits(spin, engine.facts["pid"] if engine.local else None)
        if waits.spin.due:
            with hold:
                waits.keep_apart()
                self.listen(engine.identity, take, ready, waits.spin)
        if ready():
            return True
        began = clock()
        try:
            return sleep()
        finally:
            waits.spin.slept(clock() - began)

    def dismiss(self, identity: bytes) -> None:
        self._waits.pop(identity, None)
        super().dismiss(identity)

    def listen(self, identity: bytes, take: Taking, ready: Callable[[], bool], spin: AdaptiveSpin) -> None:
        """Look for a moment, in the caller's thread, whether what a worker says makes `ready()` true."""
        if not self._poller.at_once or not self._turn.borrow():
            return
        try:
            if not self._aside and not ready():
                self._listen(identity, take, ready, spin)
        finally:
            self._turn.give_back()

    def _listen(self, identity: bytes, take: Taking, ready: Callable[[], bool], spin: AdaptiveSpin) -> None:
        local = self._local
        connection = local.connection(identity) if local is not None else None
        if local is None or connection is None:
            if self._far.handle is None:  # its connection has just ended
                return
            handle, news = self._far.handle, self._far_news
        elif connection.handle in self._crowded or connection.incoming.ended:
            return
        else:
            handle, news = connection.handle, partial(self._near_news, local, connection)

        def look() -> bool:
            if self._turn.wanted:
                return True
            return bool(came := news()) and (self._hand_on(came, identity, take) or ready())

        self._poller.expect(handle, 0)
        try:
            spin.look_for(look)
        finally:
            self._poller.expect(handle, POLLIN)
            if self._far.there or self.cut:
                self._bell.ring()

    def _near_news(self, local: LocalServer, connection: Any) -> Arrived:
        return self._read_near(local, connection) if connection.has_news else []

    def _far_news(self) -> Arrived:
        return self._far.read() if self._far.has_news else []

    def _hand_on(self, came: Arrived, identity: bytes, take: Taking) -> bool:
        """Have what a worker said taken; whether something remains for the one who receives."""
        for who, messages in came:
            if self._aside or who != identity:
                self._aside.append((who, messages))
            elif left := take(messages):
                self._aside.append((who, left))
        if self._aside:
            self._bell.ring()
        return bool(self._aside)

    # ---- the one who receives

    def _sleep(self, timeout: float | None) -> tuple[list[tuple[int, int]], Arrived]:
        """Return the descriptors that are ready, and what others have read while none was."""
        self._turn.lay_down()
        try:
            ready, _ = super()._sleep(timeout)
        finally:
            self._turn.take_up()
        aside, self._aside = self._aside, []
        return ready, aside


def core_of(pid: int) -> int | None:
    """Return the core where the main thread of a process runs, or ran last; None if that cannot be told."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[_PROCESSOR])
    except (OSError, IndexError, ValueError):
        return None


def avoid(core: int) -> None:
    """Have this thread go on elsewhere if it is on this core; later it may be anywhere again."""
    allowed = os.sched_getaffinity(0)
    if not (others := allowed - {core}):
        return
    with suppress(OSError):  # not everybody may do it
        try:
            os.sched_setaffinity(0, others)
        finally:
            os.sched_setaffinity(0, allowed)
