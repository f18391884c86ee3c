"""Workers on ipyparallel engines: enter their loops, carry messages, detect lost engines.

An engine is entered by one long `apply` that runs the worker loop; all messages pass over streams of ours,
to engines on this host and to those that are reached through ssh, or over one socket through the controller.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nbpar.backends.base import WorkerId
from nbpar.backends.engines import liveness
from nbpar.backends.engines.access import access_to
from nbpar.backends.engines.care import NO_CARE, ClusterCare
from nbpar.backends.engines.engine import (
    CUT,
    GARBLED,
    GONE,
    SPOKEN,
    AnswerTimes,
    EngineLoop,
    LostEngine,
    LostEngines,
    any_leaving,
    interrupt,
    reason_of,
    settings_of_loop,
)
from nbpar.backends.engines.host_copies import HostCopies
from nbpar.backends.engines.liveness import Liveness
from nbpar.backends.engines.low_latency import LowLatencySockets
from nbpar.backends.engines.own_modules import own_modules_of_this_process
from nbpar.backends.engines.packing import Packing, SharedBufferCache
from nbpar.errors import ClusterError
from nbpar.host.error_log import log_warning
from nbpar.host.machine import is_here
from nbpar.host.processes import ProcessWatch
from nbpar.wire.messages import (
    Answering,
    Bye,
    Item,
    Items,
    KeptBuffers,
    Lost,
    Message,
    Ping,
    Pong,
    Ready,
    Release,
    SeekBuffers,
    SeekModule,
    Silent,
)
from nbpar.wire.pickling import Packed
from nbpar.wire.shipping import bootstrap
from nbpar.worker.mail.mailbox import UNANSWERED

CHANCES = 3
"""Maximal restarts of a loop after an exception, and failed starts before its engine is killed."""

ENTER_WITHIN = 60.0
"""Seconds that an engine may take to start its loop: other code may run there, or the machine may be slow."""


class EnginesBackend:
    """The engines of one ipyparallel cluster.

    Args:
        client: an ipyparallel Client for exclusive use, or the access to workers without a controller.
        directory: for the socket that streams lead to; None to use the controller's queue for all.
        care: what their owner does for them.
        fits: returns whether a large message of a given size fits into memory.
    """

    in_process = False
    interrupts = None
    blocking = False

    def __init__(
        self,
        client: Any,
        directory: Path | None = None,
        *,
        care: ClusterCare = NO_CARE,
        fits: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self.access = access_to(client)
        self._directory = directory
        self._care = care
        self._fits = fits
        self._sockets: LowLatencySockets | None = None
        self._watch = ProcessWatch()
        self._engines: dict[WorkerId, EngineLoop] = {}
        self._by_identity: dict[bytes, EngineLoop] = {}
        self._notes: deque[tuple[bytes, str]] = deque()
        self._ends = LostEngines()
        self._liveness = Liveness(
            lambda engine: self.send(engine.worker, [Ping(0)]),
            lambda engine: self._sockets.feel(engine.identity) if self._sockets is not None else None,
        )
        self._entered = 0
        self._kept_packed: set[int] = set()
        self._pickled: list[tuple[int, Packed]] = []
        self._lodgings = SharedBufferCache(fits)
        self._copies = HostCopies(self.send)
        self._take_item: Callable[[WorkerId, Item | Items], None] = lambda *_: None
        """Handles items of channels, which bypass `receive` because they may be numerous."""

        self._closing = False
        self._answer_times = AnswerTimes()
        self._failures = 0
        """Number of consecutive loops that ended before they had started."""

        self._reentries: Counter[str] = Counter()
        """Number of restarts of the loop in an engine, by its identity, after an exception had ended it."""

        self._spoiled_by = ""
        """The latest such exception."""

        self._left_out: dict[str, str] = {}
        """Engines in which no loop could begin, by identity, with the reason."""

    # ---- from the dispatcher's thread

    def acquire(self) -> None:
        self._care.want()
        if self._sockets is None:
            self._sockets = LowLatencySockets(
                self.access.client, self._directory, self._watch.handle, self._fits
            )
        held = {engine.uuid for engine in self._engines.values()}
        self._ends.keep(set((listed := self._listed()).values()))
        self._ends.take_back(listed)
        for engine_id, uuid in listed.items():
            if uuid not in held and uuid not in self._ends.unfit:
                self._enter(engine_id, uuid)

    def _listed(self) -> dict[int, str]:
        """Return the engines in the cluster's list; thread-safe."""
        return self.access.listed()

    def spoiled(self) -> str:
        """The reason why no engine is usable; "" if one is.  Thread-safe."""
        if not self._ends.spoiled or not (listed := set(self._listed().values())):
            return ""
        if not listed <= self._ends.spoiled:
            return ""
        return f"an exception has ended what nbpar ran on each of its engines ({self._spoiled_by})"

    def any_ready(self) -> bool:
        """Whether a loop runs in some engine.  Thread-safe."""
        return any(engine.ready for engine in list(self._engines.values()))

    def mourning(self) -> bool:
        """Whether the cluster still lists engines that have ended.  Thread-safe."""
        return bool(self._ends.dead) and not self._ends.dead.isdisjoint(self._listed().values())

    def coming(self) -> Sequence[WorkerId]:
        since = time.monotonic() - ENTER_WITHIN
        return [name for name, engine in self._engines.items() if not engine.ready and engine.asked > since]

    def send(self, worker: WorkerId, messages: Sequence[Message]) -> None:
        engine = self._engines.get(worker)
        if engine is None or self._sockets is None:
            return
        ready = engine.packing.packed(messages, local=engine.local, shares=bool(engine.shares_on))
        self._sockets.send(engine.identity, ready, stream=engine.streams)

    def keep_packed(self, call: int) -> None:
        self._kept_packed.add(call)

    def take_pickled(self) -> Sequence[tuple[int, Packed]]:
        if not self._pickled:
            return ()
        taken = list(self._pickled)
        self._pickled.clear()  # the same list is every engine's
        return taken

    def in_transit(self, worker: WorkerId) -> tuple[int, int]:
        engine, sockets = self._engines.get(worker), self._sockets
        return sockets.in_transit(engine.identity) if engine and sockets else (0, 0)

    def receive(self, timeout: float | None) -> list[tuple[WorkerId, Message]]:
        if (sockets := self._sockets) is None:
            time.sleep(0.001 if timeout is None else min(timeout, 0.001))
            return self._lost()
        silent = self._liveness.look(self._engines.values(), time.monotonic())
        self._copies.pass_over(silent)
        arrived: list[tuple[WorkerId, Message]] = [(engine.worker, Silent()) for engine in silent]
        if arrived:
            timeout = 0.0
        if len(self._ends):
            timeout = 0.02
        elif timeout is None and self._engines:
            timeout = liveness.PING_EVERY
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._receive_into(arrived, sockets, timeout):
            if deadline is not None and (timeout := deadline - time.monotonic()) <= 0:
                break
        arrived += self._take_beats(sockets)
        for worker in self._watch.gone():
            self._end(worker, "its process ended")
        while sockets.cut:
            identity = sockets.cut.pop()
            if (engine := self._by_identity.get(identity)) is not None:
                self._end(engine.worker, sockets.why.get(identity, CUT), lives=True)
        return arrived + self._lost()

    def _receive_into(
        self, arrived: list[tuple[WorkerId, Message]], sockets: LowLatencySockets, timeout: float | None
    ) -> bool:
        """Receive once; return False if only items of channels arrived, which have been handled."""
        handed_on = False
        said = sockets.receive(timeout)
        now = time.monotonic()
        for identity, messages in said:
            if (engine := self._by_identity.get(identity)) is None:
                continue
            engine.heard = now
            arrived += self._answers(engine)
            try:
                for message in messages:
                    if isinstance(message, (Item, Items)) and not arrived:  # earlier messages come first
                        self._take_item(engine.worker, message)
                        handed_on = True
                    elif isinstance(message, SeekModule):
                        self.send(engine.worker, [own_modules_of_this_process().answer(message)])
                        handed_on = True
                    elif isinstance(message, (SeekBuffers, KeptBuffers)):
                        self._copies.take(engine, message)
                        handed_on = True
                    else:
                        arrived.append((engine.worker, self._unpacked(engine, message)))
            except Exception as error:  # noqa: BLE001 (an invalid message in a valid form)
                log_warning(f"{engine.worker} said what could not be understood", error)
                self._end(engine.worker, GARBLED, lives=True)
        return bool(arrived) or not handed_on or not sockets.only_messages

    def wake(self) -> None:
        if self._sockets is not None:
            self._sockets.wake()

    def interrupt(self, worker: WorkerId, *, skip: bool = False) -> bool:  # noqa: ARG002 (it is the same)
        engine = self._engines.get(worker)
        if engine is None or not engine.ready:
            return False
        ask = self._care.interrupt
        if ask is not None and not is_here(engine.facts) and ask(engine.uuid):
            return True
        return interrupt(self.access.client, engine.uuid, engine.facts)

    def kill(self, worker: WorkerId, reason: str) -> bool:
        engine = self._engines.get(worker)
        if engine is None or (kill := self._care.kill) is None:
            return False
        self._ends.note(engine.uuid, reason, surely=True)
        with suppress(ClusterError):  # it has ended meanwhile
            kill(engine.uuid, reason)
        return True

    def release(self, worker: WorkerId) -> None:
        self.send(worker, [Release()])

    def retire(self, worker: WorkerId) -> None:
        if (engine := self._engines.get(worker)) is not None:
            self._ends.unfit.add(engine.uuid)
        self.release(worker)

    def describe(self) -> list[dict[str, object]]:
        known = {engine.engine_id: engine.described for engine in list(self._engines.values())}
        left_out = {
            number: {"problem": self._left_out[uuid]}
            for number, uuid in (self._listed() if self._left_out else {}).items()
            if uuid in self._left_out
        }
        return [
            {"worker": f"engine {number}", **known.get(number, {}), **left_out.get(number, {})}
            for number in self._listed()
        ]

    def close(self) -> None:
        if self._sockets is None:
            self._watch.close()
            return
        self._closing = True
        try:
            self._part()
        finally:
            self._sockets.close()
            self._sockets = None
            self._watch.close()
            self._engines.clear()
            self._by_identity.clear()

    def _part(self) -> None:
        """Release the workers, and wait a moment until they have left."""
        for worker in list(self._engines):
            self.release(worker)
        taken_back = self.access.take_back(self._engines.values())
        began = time.monotonic()
        while any_leaving(self._engines.values(), taken_back, time.monotonic() - began):
            self.receive(0.05)

    # ---- from any thread

    def forget_owner(self) -> None:
        """Keep no reference to the owner of the engines: it does nothing for them any more."""
        self._care = NO_CARE

    def note_death(self, uuid: str, reason: str) -> None:
        """Record why an engine died.  Thread-safe."""
        self._ends.note(uuid, reason)
        self.wake()

    def deliver_to(
        self, take: Callable[[WorkerId, Item | Items], None]
    ) -> Callable[[WorkerId, Callable[[], bool], Callable[[], bool]], bool]:
        """Pass items of channels to this function from now on; return `wait`."""
        self._take_item = take
        return self.wait

    def wait(self, worker: WorkerId, ready: Callable[[], bool], sleep: Callable[[], bool]) -> bool:
        """Wait for an item of a channel: return what `ready` does; safe from any thread.

        Args:
            worker: who is to say what makes `ready()` true.
            ready: whether it has come.
            sleep: waits until it has, and returns whether it did.
        """
        engine, sockets = self._engines.get(worker), self._sockets
        if engine is None or sockets is None:
            return ready() or sleep()
        return sockets.wait(engine, lambda messages: self._take_items(worker, messages), ready, sleep)

    def _take_items(self, worker: WorkerId, messages: list[Message]) -> list[Message]:
        """Handle the items at the beginning; return the other messages."""
        if (engine := self._engines.get(worker)) is not None:
            engine.heard = time.monotonic()
        for place, message in enumerate(messages):
            if not isinstance(message, (Item, Items)):
                return messages[place:]
            self._take_item(worker, message)
        return []

    # ---- entering and leaving

    def _enter(self, engine_id: int, uuid: str) -> None:
        assert self._sockets is not None
        self._entered += 1
        identity = f"{uuid}.{self._entered}.{os.urandom(16).hex()}".encode()
        worker = f"engine {engine_id}"
        settings = settings_of_loop(
            identity,
            client=self._sockets.identity,
            address=self._sockets.address,
            answers_within=self._answer_times.of(uuid),
            trusted=self._care.on_this_host,
        )
        packing = Packing(self._kept_packed, self._pickled, self._lodgings, self._copies.offer)
        engine = EngineLoop(worker, engine_id, uuid, identity, packing)
        self._sockets.admit(identity)
        try:
            result = self.access.enter(engine_id, uuid, bootstrap(), settings | self.access.outfit)
        except LookupError:  # it was removed since its id was read
            self._sockets.dismiss(identity)
            return
        engine.loop = result
        self._engines[worker] = self._by_identity[identity] = engine
        result.add_done_callback(lambda done: self._note_end(identity, done))

    def _note_end(self, identity: bytes, done: Any) -> None:
        """Handle the end of a loop's `apply` (called in the client's own thread)."""
        self._notes.append((identity, reason_of(done)))
        self.wake()

    def _lost(self) -> list[tuple[WorkerId, Message]]:
        """Return the workers that have ended without a good-bye."""
        while self._notes:
            identity, reason = self._notes.popleft()
            if (engine := self._by_identity.get(identity)) is None:
                continue
            if self._closing:
                self._forget(engine.worker)
                continue
            lives = not reason and (engine.ready or self._answer_times.missed(engine.uuid))
            stray = not (lives or reason.startswith(GONE))
            self._end(engine.worker, reason or "its loop ended", lives=lives, stray=stray)
        lost: list[tuple[WorkerId, Message]] = []
        for end in self._ends.due():
            if not self._usable(end):
                self._ends.unfit.add(end.uuid)
            self._forget(end.worker)
            lost.append((end.worker, Lost(end.reason)))
        return lost

    def _end(self, worker: WorkerId, reason: str, *, lives: bool = False, stray: bool = False) -> None:
        if (engine := self._engines.get(worker)) is not None:
            self._ends.number(engine.uuid, engine.engine_id)
            end = LostEngine(worker, engine.uuid, reason, lives, stray)
            self._ends.begin(end, wait=lives or (self._care.explains_deaths and not stray))

    def _usable(self, end: LostEngine) -> bool:
        """Whether a new loop may start in an engine; an untrustworthy one is killed if that helps."""
        if end.stray:
            return self._tame(end)
        if end.lives and self._leave_alive(end):
            return True
        self._ends.dead.add(end.uuid)
        return False

    def _tame(self, end: LostEngine) -> bool:
        """Handle an engine whose loop was ended by an exception, for example of an earlier item's timer.

        It is replaced, or if that is impossible its loop is restarted a few times.
        """
        engine = self._engines.get(end.worker)
        begun = engine is not None and engine.ready
        self._failures += not begun
        if not self._care.heals:
            self._reentries[end.uuid] += 1
            if begun and self._reentries[end.uuid] <= CHANCES:
                return True
        killed = self._care.heals and self._failures <= CHANCES and self.kill(end.worker, end.reason)
        (self._ends.dead if killed else self._ends.spoiled).add(end.uuid)
        self._spoiled_by = end.reason
        if not (begun or killed):
            self._leave_out(end)
        return False

    def _leave_out(self, end: LostEngine) -> None:
        """Tell, once for each reason, that an engine is not used though it is there."""
        reason = end.reason.removeprefix("RuntimeError: ")
        if reason not in self._left_out.values():
            log_warning(f"{end.worker} is left out, and others with the same problem: {reason}")
        here = set(self._listed().values())
        self._left_out = {uuid: why for uuid, why in self._left_out.items() if uuid in here}
        self._left_out[end.uuid] = reason

    def _leave_alive(self, end: LostEngine) -> bool:
        """Whether a living engine may be entered again; its abandoned work is interrupted."""
        if end.reason in SPOKEN:
            if self._care.heals and self.kill(end.worker, end.reason):
                return False
            self.interrupt(end.worker)
        return True

    def _forget(self, worker: WorkerId) -> None:
        self._watch.forget(worker)
        self._ends.forget(worker)
        if (engine := self._engines.pop(worker, None)) is not None:
            self._by_identity.pop(engine.identity, None)
            self._copies.lose(engine)
            if self._sockets is not None:
                self._sockets.dismiss(engine.identity)
        if not self._engines:
            self._lodgings.clear()  # the pool is idle
            self._copies.clear()

    # ---- messages

    def _unpacked(self, engine: EngineLoop, message: Message) -> Message:
        if isinstance(message, Ready):
            engine.facts = {"worker": engine.worker, **message.facts}
            if not engine.ready and is_here(engine.facts):
                self._watch.add(engine.worker, message.facts["pid"])
            engine.ready, engine.local = True, message.facts["local"]
            engine.streams = message.facts["streams"]
            self._failures = 0
            if self._closing or not engine.streams:
                self.send(engine.worker, [Release() if self._closing else Ping(0)])  # it waits for an answer
            return Ready(engine.facts)
        if isinstance(message, Pong):
            self._answer_times.met(engine.uuid)
        if isinstance(message, Bye):
            if message.reason == UNANSWERED:
                self._answer_times.missed(engine.uuid)
            self._forget(engine.worker)
        return engine.packing.unpacked(message)

    def _take_beats(self, sockets: LowLatencySockets) -> list[tuple[WorkerId, Message]]:
        """Note the echoes from beside loops."""
        answers: list[tuple[WorkerId, Message]] = []
        for identity in sockets.take_beats():
            if (engine := self._by_identity.get(identity)) is not None:
                engine.beaten = time.monotonic()
                answers += self._answers(engine)
        return answers

    def _answers(self, engine: EngineLoop) -> list[tuple[WorkerId, Message]]:
        """Note that an engine has answered; tell it if it was silent."""
        if not engine.silent:
            return []
        engine.silent = False
        return [(engine.worker, Answering())]
