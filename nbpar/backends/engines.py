"""Workers on ipyparallel engines: enter their loops, carry messages, notice who is gone.

An engine is entered by one long `apply` that runs the worker loop; everything else passes
over two sockets of ours, one for engines on this host, one through the controller.
"""

from __future__ import annotations

import os
import socket as network
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nbpar.backends.base import WorkerId
from nbpar.backends.client_sockets import ClientSockets
from nbpar.backends.ends import CUT, End, Ends, reason_of
from nbpar.backends.engine import Engine
from nbpar.backends.holding import hold
from nbpar.backends.interrupting import interrupt
from nbpar.backends.lodgings import Lodgings
from nbpar.backends.packing import Packing
from nbpar.backends.watching import ProcessWatch
from nbpar.errors import ClusterError
from nbpar.version import __version__
from nbpar.wire.messages import Bye, Item, Items, Lost, Message, Ping, Ready, Release
from nbpar.wire.shipping import bootstrap, shipment
from nbpar.worker.spin import FAR, NEAR, Spin

PING_EVERY = 5.0
"""Seconds between two signs of life to workers; an answer that is missing is noticed by the next."""

ENTER_WITHIN = 60.0
"""Seconds that an engine may take to begin its loop: something else may run there, or everything is slow."""


class EnginesBackend:
    """The engines of one ipyparallel cluster.

    Args:
        client: an ipyparallel Client that nobody else uses at the same time.
        directory: where a socket for engines on this host may be; None to use the controller's queue for all.
    """

    in_process = False
    blocking = False

    def __init__(self, client: Any, directory: Path | None = None) -> None:
        self._client = client
        self._directory = directory
        self._sockets: ClientSockets | None = None
        self._watch = ProcessWatch()
        self._engines: dict[WorkerId, Engine] = {}
        self._by_identity: dict[bytes, Engine] = {}
        self._notes: deque[tuple[bytes, str]] = deque()
        self._ends = Ends()
        self._pinged = time.monotonic()
        self._entered = 0
        self._kept_packed: set[int] = set()
        self._lodgings = Lodgings()
        self.take_item: Callable[[WorkerId, Item | Items], None] = lambda *_: None
        """Takes items of channels, which do not go through `receive`: there may be very many."""

        self.killer: Callable[[str, str], None] | None = None
        """Ends an engine, by its identity and with a reason, where another will take its place."""

        self.explains_deaths = False
        """Whether somebody calls `note_death` with the reason when an engine dies."""

    # ---- from the dispatcher's thread

    def acquire(self) -> None:
        if self._sockets is None:
            self._sockets = ClientSockets(self._client, self._directory, self._watch.handle)
        held = {engine.uuid for engine in self._engines.values()}
        for engine_id in self._client.ids:
            uuid = self._client._engines.get(engine_id)  # noqa: SLF001 (there is no public way)
            if uuid is not None and uuid not in held and uuid not in self._ends.unfit:
                self._enter(engine_id, uuid)

    def coming(self) -> Sequence[WorkerId]:
        since = time.monotonic() - ENTER_WITHIN
        return [name for name, engine in self._engines.items() if not engine.ready and engine.asked > since]

    def send(self, worker: WorkerId, messages: Sequence[Message]) -> None:
        engine = self._engines.get(worker)
        if engine is None or self._sockets is None:
            return
        ready = [engine.packing.packed(message, local=engine.local) for message in messages]
        self._sockets.send(engine.identity, ready, local=engine.local)

    def keep_packed(self, call: int) -> None:
        self._kept_packed.add(call)

    def receive(self, timeout: float | None) -> list[tuple[WorkerId, Message]]:
        if self._sockets is None:
            time.sleep(0.001 if timeout is None else min(timeout, 0.001))
            return self._lost()
        self._ping_idle()
        if len(self._ends):
            timeout = 0.02
        deadline = None if timeout is None else time.monotonic() + timeout
        arrived: list[tuple[WorkerId, Message]] = []
        while not self._receive_into(arrived, self._sockets, timeout):
            if deadline is not None and (timeout := deadline - time.monotonic()) <= 0:
                break
        for worker in self._watch.gone():
            self._end(worker, "its process ended")
        while self._sockets.cut:
            if (engine := self._by_identity.get(self._sockets.cut.pop())) is not None:
                self._end(engine.worker, CUT, lives=True)
        return arrived + self._lost()

    def _receive_into(
        self, arrived: list[tuple[WorkerId, Message]], sockets: ClientSockets, timeout: float | None
    ) -> bool:
        """Receive once; False when nothing came but items of channels, which have been handed on."""
        handed_on = False
        for identity, messages in sockets.receive(timeout):
            if (engine := self._by_identity.get(identity)) is None:
                continue
            for message in messages:
                if isinstance(message, (Item, Items)) and not arrived:  # what came before comes first
                    self.take_item(engine.worker, message)
                    handed_on = True
                else:
                    arrived.append((engine.worker, self._unpacked(engine, message)))
        return bool(arrived) or not handed_on or not sockets.only_messages

    def wake(self) -> None:
        if self._sockets is not None:
            self._sockets.wake()

    def interrupt(self, worker: WorkerId) -> bool:
        engine = self._engines.get(worker)
        return engine is not None and engine.ready and interrupt(self._client, engine.uuid, engine.facts)

    def kill(self, worker: WorkerId, reason: str) -> bool:
        engine = self._engines.get(worker)
        if engine is None or self.killer is None:
            return False
        self._ends.note(engine.uuid, reason, surely=True)
        with suppress(ClusterError):  # it has ended meanwhile
            self.killer(engine.uuid, reason)
        return True

    def release(self, worker: WorkerId) -> None:
        self.send(worker, [Release()])

    def retire(self, worker: WorkerId) -> None:
        if (engine := self._engines.get(worker)) is not None:
            self._ends.unfit.add(engine.uuid)
        self.release(worker)

    def describe(self) -> list[dict[str, object]]:
        known = {engine.engine_id: engine.facts for engine in list(self._engines.values())}
        return [{"worker": f"engine {number}", **known.get(number, {})} for number in self._client.ids]

    def close(self) -> None:
        if self._sockets is None:
            return
        for worker in list(self._engines):
            self.release(worker)
        deadline = time.monotonic() + 1.0
        while any(engine.ready for engine in self._engines.values()) and time.monotonic() < deadline:
            self.receive(0.05)
        self._sockets.close()
        self._sockets = None
        self._watch.close()
        self._engines.clear()
        self._by_identity.clear()

    # ---- from any thread

    def note_death(self, uuid: str, reason: str) -> None:
        """Take in why an engine died; safe from any thread."""
        self._ends.note(uuid, reason)
        self.wake()

    def listen(self, worker: WorkerId, ready: Callable[[], bool]) -> None:
        """Take items of channels from a worker that answers quickly, for a moment; safe from any thread."""
        engine, sockets = self._engines.get(worker), self._sockets
        if engine is not None and engine.spin.due and sockets is not None:
            with hold:
                engine.keep_apart()
                sockets.listen(
                    engine.identity, lambda messages: self._take_items(worker, messages), ready, engine.spin
                )

    def slept(self, worker: WorkerId, seconds: float) -> None:
        """Somebody has slept so long until the worker said something; safe from any thread."""
        if (engine := self._engines.get(worker)) is not None:
            engine.spin.slept(seconds)

    def _take_items(self, worker: WorkerId, messages: list[Message]) -> list[Message]:
        """Hand on the items at the beginning; return what follows."""
        for place, message in enumerate(messages):
            if not isinstance(message, (Item, Items)):
                return messages[place:]
            self.take_item(worker, message)
        return []

    # ---- entering and leaving

    def _enter(self, engine_id: int, uuid: str) -> None:
        from ipyparallel.error import NoEnginesRegistered

        assert self._sockets is not None
        self._entered += 1
        identity = f"{uuid}.{self._entered}.{os.urandom(4).hex()}".encode()
        worker = f"engine {engine_id}"
        settings = {
            "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
            "version": __version__,
            "sources": shipment(),
            "host": network.gethostname(),
            "address": self._sockets.address,
            "client": self._sockets.identity,
            "identity": identity,
        }
        engine = Engine(worker, engine_id, uuid, identity, Packing(self._kept_packed, self._lodgings))
        try:
            result = self._client[engine_id].apply_async(exec, bootstrap(), {"settings": settings})
        except (LookupError, NoEnginesRegistered):
            return  # it was struck off since its id was read, in the client's own thread
        self._engines[worker] = self._by_identity[identity] = engine
        self._sockets.admit(identity)
        result.add_done_callback(lambda done: self._note_end(identity, done))

    def _note_end(self, identity: bytes, done: Any) -> None:
        """Take in that a loop's `apply` ended (called in the client's own thread)."""
        self._notes.append((identity, reason_of(done)))
        self.wake()

    def _lost(self) -> list[tuple[WorkerId, Message]]:
        """Return the workers that are gone without a good-bye."""
        while self._notes:
            identity, reason = self._notes.popleft()
            if (engine := self._by_identity.get(identity)) is not None:
                lives = engine.ready and not reason
                self._end(engine.worker, reason or "its loop ended", lives=lives)
        lost: list[tuple[WorkerId, Message]] = []
        for end in self._ends.due():
            if not (end.lives and self._leave_alive(end)):
                self._ends.unfit.add(end.uuid)
            self._forget(end.worker)
            lost.append((end.worker, Lost(end.reason)))
        return lost

    def _end(self, worker: WorkerId, reason: str, *, lives: bool = False) -> None:
        if (engine := self._engines.get(worker)) is not None:
            self._ends.begin(worker, engine.uuid, reason, wait=self.explains_deaths or lives, lives=lives)

    def _leave_alive(self, end: End) -> bool:
        """Whether a living engine may be entered again; what it still runs for nobody is ended."""
        if end.reason == CUT:
            if self.kill(end.worker, CUT):
                return False
            self.interrupt(end.worker)
        return True

    def _forget(self, worker: WorkerId) -> None:
        self._watch.forget(worker)
        self._ends.forget(worker)
        if (engine := self._engines.pop(worker, None)) is not None:
            self._by_identity.pop(engine.identity, None)
            if self._sockets is not None:
                self._sockets.dismiss(engine.identity)
        if not self._engines:
            self._lodgings.clear()  # the pool is idle

    # ---- messages

    def _unpacked(self, engine: Engine, message: Message) -> Message:
        if isinstance(message, Ready):
            engine.facts = {"worker": engine.worker, **message.facts}
            if not engine.ready and engine.facts["host"] == network.gethostname():
                self._watch.add(engine.worker, message.facts["pid"])
            engine.ready, engine.local = True, message.facts["local"]
            engine.spin = Spin(NEAR if engine.local else FAR)
            return Ready(engine.facts)
        if isinstance(message, Bye):
            self._forget(engine.worker)
        return engine.packing.unpacked(message)

    def _ping_idle(self) -> None:
        now = time.monotonic()
        if now - self._pinged > PING_EVERY:
            self._pinged = now
            for worker, engine in self._engines.items():
                if engine.ready:
                    self.send(worker, [Ping(0)])
