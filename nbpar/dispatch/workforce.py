"""The workers of a pool: which are present, which functions they have, which must be stopped."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nbpar.backends.base import Backend, WorkerId
from nbpar.core.call_style import CallStyle
from nbpar.core.events import WorkerJoined
from nbpar.dispatch.job import Order, Preparation
from nbpar.errors import WorkerDied
from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.host.machine import is_here
from nbpar.wire.messages import INITIALIZER, Begin, Call, Cancel, Cut, Done, Load, Message, Stop

INTERRUPT_AGAIN = 0.2
"""Seconds after which an interrupt that had no effect is repeated."""

KILL_AFTER = 0.8
"""Seconds after which a worker that ignores interrupts, deep in C code, is killed."""

KILL_ELSEWHERE_AFTER = 3.0
"""The same on another machine: its network may be slow, or interrupted for a moment."""

MOVED = 3
"""Times as long it may take while large data is moved to it, or from it."""


@dataclass
class _Worker:
    facts: dict[str, Any]
    loaded: set[bytes] = field(default_factory=set)
    begun: set[int] = field(default_factory=set)
    ready: bool = False
    leaving: bool = False
    lacks_files: bool = False


@dataclass
class _Stop:
    """A worker that must be stopped."""

    again: float
    """Time of the next interrupt."""

    until: float
    """Time when it is killed."""

    patience: float
    """Seconds of ignored interrupts after which it is killed."""

    still: Callable[[], bool]
    """Whether it still has the work that must stop."""

    runs: Callable[[], object]
    """The part of that work it runs now; None or False if it runs something else."""

    seen: object = None
    """The part it ran at the last check: each call has its own deadline."""

    skip: bool = False
    """Whether its run goes on without that work."""

    give_up: Callable[[], None] = lambda: None
    """Called when it can neither be interrupted nor killed."""

    transit: tuple[int, int] = (0, 0)
    """Bytes on their way to the worker and from it at the last check."""


class Initializer(NamedTuple):
    """What runs on a worker before everything else."""

    load: Load
    arguments: tuple[Any, ...]
    waits: bool = False
    """Whether it is async."""


class Workforce:
    """The workers between `Ready` and `Bye`, with the pool's initializer run on each.

    Args:
        backend: where they are.
        initializer: what runs on them first.
        bring_files: is called when one on another host lacks the pool's files; None if there are none.
    """

    def __init__(
        self,
        backend: Backend,
        initializer: Initializer | None,
        bring_files: Callable[[], None] | None = None,
    ) -> None:
        self._backend = backend
        self._initializer = initializer
        self._bring_files = bring_files
        self._with_files: set[tuple[WorkerId, Any]] = set()
        """Workers whose hosts have got them, also if they were released meanwhile."""

        self._workers: dict[WorkerId, _Worker] = {}
        self._initialized: set[tuple[WorkerId, Any]] = set()
        """Workers that have run it, also if they were released meanwhile."""

        self._preparation = Preparation("" if initializer is None else initializer[0].name)
        self._outgoing: dict[WorkerId, list[Message]] = {}
        self._stopping: dict[WorkerId, list[_Stop]] = {}
        self._interrupts: Counter[WorkerId] = Counter()
        """Number of interrupts sent without an observed effect on an item."""

        self.silent: set[WorkerId] = set()
        """Workers that do not answer."""

    def __len__(self) -> int:
        return len(self._workers)

    def facts(self, worker: WorkerId) -> dict[str, Any]:
        """Known facts of a worker."""
        return self._workers[worker].facts if worker in self._workers else {}

    def joined(self, worker: WorkerId, now: float) -> WorkerJoined:
        """Return the event of a worker that has joined."""
        facts = self.facts(worker)
        host, machine = str(facts.get("host", "")), str(facts.get("machine", ""))
        device = str(facts.get("device", ""))
        return WorkerJoined(now, worker, host, int(facts.get("pid", 0)), machine, device)

    @property
    def _waits(self) -> bool:
        return self._initializer is not None and self._initializer.waits

    @property
    def any_ready(self) -> bool:
        """Whether a worker takes calls."""
        return any(state.ready for state in self._workers.values())

    @property
    def ready(self) -> list[WorkerId]:
        """Workers that take calls."""
        return [worker for worker, state in self._workers.items() if state.ready]

    def arrive(self, worker: WorkerId, facts: dict[str, Any]) -> bool:
        """Add a worker; False if it is present, or if its files or its initializer come first."""
        if worker in self._workers:
            return False  # it repeats its greeting until it gets a message
        self._workers[worker] = state = _Worker(facts)
        known = (worker, facts.get("pid")) in self._with_files
        if self._bring_files is not None and not known and not is_here(facts):
            state.lacks_files = True
            self._bring_files()
            return False
        return self._prepare(worker, state)

    def _prepare(self, worker: WorkerId, state: _Worker) -> bool:
        """Have the initializer run on a worker; True if it takes calls already."""
        if self._initializer is None or (worker, state.facts.get("pid")) in self._initialized:
            state.ready = True
            return True
        self.initialize(worker)
        return False

    @property
    def without_files(self) -> list[WorkerId]:
        """Workers that wait for the pool's files; for any thread."""
        workers = list(self._workers.items())
        return [worker for worker, state in workers if state.lacks_files and not state.leaving]

    def got_files(self, worker: WorkerId) -> bool:
        """Note that a worker's host has the pool's files; return whether it takes calls from now on."""
        state = self._workers.get(worker)
        if state is None or not state.lacks_files:
            return False
        self._with_files.add((worker, state.facts.get("pid")))
        state.lacks_files = False
        return not state.leaving and self._prepare(worker, state)

    def initialize(self, worker: WorkerId) -> None:
        """Run the initializer on a worker."""
        assert self._initializer is not None
        load, arguments, waits = self._initializer
        call = Call(
            INITIALIZER, run=INITIALIZER, digest=load.digest, first=0, spread=CallStyle.CALL.value,
            timed=True, stop_early=True, timeout=None, seed=None, concurrency=int(waits), broken={},
            items=[(arguments, {})],
        )  # fmt: skip
        self._backend.send(worker, [load, call])

    def initialized(self, worker: WorkerId, done: Done) -> bool:
        """Handle the initializer's answer; return whether the worker takes calls now."""
        state = self._workers.get(worker)
        if state is not None:
            state.ready = not done.faults and not done.interrupted and len(done.values) > 0
            if state.ready:
                if not self._waits:  # what an event loop keeps open ends with it
                    self._initialized.add((worker, state.facts.get("pid")))
                self._preparation.worked()
        return state is not None and state.ready

    @property
    def preparing(self) -> list[WorkerId]:
        """Workers that run the initializer."""
        return [
            worker
            for worker, state in self._workers.items()
            if not (state.ready or state.leaving or state.lacks_files)
        ]

    def stop_initializers(self, now: float) -> None:
        """Interrupt the initializer wherever it runs: nothing waits for it."""
        for worker in self.preparing:
            if worker not in self._stopping:
                if self._waits:
                    self.cancel(worker, [INITIALIZER], running=True)
                self.stop_item(worker, now, lambda worker=worker: worker in self.preparing)  # type: ignore[misc]

    def mourn(self, worker: WorkerId, reason: str) -> WorkerDied | None:
        """Handle the death of a worker; return an error if the initializer has killed too many."""
        if worker not in self.preparing or self._initializer is None:
            return None
        return self._preparation.killed(worker, reason)

    def leave(self, worker: WorkerId) -> None:
        """Delete a worker that is gone."""
        self._workers.pop(worker, None)
        self._outgoing.pop(worker, None)
        self._stopping.pop(worker, None)
        self._interrupts.pop(worker, None)
        self.silent.discard(worker)

    def post(self, worker: WorkerId, order: Order) -> None:
        """Queue a call to be sent, behind its run's settings and its function if the worker lacks them."""
        begin, load, call = order
        state = self._workers[worker]
        messages = self._outgoing.setdefault(worker, [])
        if begin is not None and begin.run not in state.begun:
            state.begun.add(begin.run)
            messages.append(begin)
        if load.digest not in state.loaded:
            state.loaded.add(load.digest)
            messages.append(load)
        messages.append(call)

    def forget_function(self, worker: WorkerId, digest: bytes) -> None:
        """Note that the worker does not have this function (any more)."""
        if worker in self._workers:
            self._workers[worker].loaded.discard(digest)

    def send(self) -> list[tuple[list[Message], BaseException]]:
        """Send the queued messages, one combined message per worker; return the failed ones, with errors."""
        outgoing, self._outgoing = self._outgoing, {}
        return [failed for worker, messages in outgoing.items() for failed in self._send(worker, messages)]

    def _send(self, worker: WorkerId, messages: list[Message]) -> list[tuple[list[Message], BaseException]]:
        try:
            self._backend.send(worker, messages)
        except BaseException as bug:  # noqa: BLE001 (the others must be sent as well)
            parts = [] if may_be_ctrl_c(bug) else _by_call(messages)
            if len(parts) > 1:  # any of them may be the reason
                return [failed for part in parts for failed in self._send(worker, part)]
            self._forget_sent(worker, messages)
            return [(messages, bug)]
        return []

    def _forget_sent(self, worker: WorkerId, messages: list[Message]) -> None:
        """Note that a worker did not get these messages."""
        if (state := self._workers.get(worker)) is not None:
            state.loaded -= {message.digest for message in messages if isinstance(message, Load)}
            state.begun -= {message.run for message in messages if isinstance(message, Begin)}

    def cancel(self, worker: WorkerId, calls: Sequence[int], *, running: bool = False) -> None:
        """Tell a worker not to start calls; `running`: to cancel those of async functions as well."""
        self._backend.send(worker, [Stop(tuple(calls)) if running else Cancel(tuple(calls))])

    def cut(self, worker: WorkerId, call: int) -> None:
        """Tell a worker to end a call with the item at hand."""
        self._backend.send(worker, [Cut(call)])

    def stop_item(
        self,
        worker: WorkerId,
        now: float,
        still: Callable[[], bool],
        runs: Callable[[], object] | None = None,
        *,
        kill: bool = True,
        at_once: bool = True,
    ) -> bool:
        """Interrupt a worker's work repeatedly, while `still` returns true; then `kill` it.

        It is not interrupted while, by `runs`, it runs something else, nor `at_once` what was told to end.
        Returns whether it was interrupted, or will be.
        """
        patience = self._patience_with(worker) if kill else math.inf
        stop = _Stop(now + INTERRUPT_AGAIN, now + patience, patience, still, runs or still)
        stop.seen = stop.runs()
        if stop.seen and at_once and not self._interrupt(worker):
            return False
        self._stopping.setdefault(worker, []).append(stop)
        return bool(stop.seen)

    def skip_item(
        self,
        worker: WorkerId,
        now: float,
        still: Callable[[], bool],
        runs: Callable[[], object],
        give_up: Callable[[], None],
        *,
        at_once: bool = True,
    ) -> None:
        """Do the same for an item whose run goes on; `give_up` is called if it cannot be stopped at all."""
        again = now if at_once else now + INTERRUPT_AGAIN
        patience = self._patience_with(worker)
        stop = _Stop(again, now + patience, patience, still, runs, runs(), skip=True, give_up=give_up)
        self._stopping.setdefault(worker, []).append(stop)

    def stop_again(self, now: float) -> None:
        """Repeat interrupts that had no effect; kill a worker that does not react to them."""
        for worker, stops in list(self._stopping.items()):
            stops[:] = [stop for stop in stops if stop.still() and self._press(worker, stop, now)]
            if not stops:
                self._stopping.pop(worker, None)

    def _press(self, worker: WorkerId, stop: _Stop, now: float) -> bool:
        """Take the next step to stop a worker; False if that is impossible."""
        moves = self._is_moving(worker, stop)
        patience = stop.patience * (MOVED if moves else 1)
        if moves:  # the last of it may be in relays between here and there
            stop.until = max(stop.until, now + patience)
        running = stop.runs()
        if not running or running is not stop.seen:  # it was just about to start, or to answer
            stop.seen, stop.again, stop.until = running, now, now + patience
        elif now >= stop.until:
            stop.again = stop.until = math.inf
            killed = self._backend.kill(worker, "killed because it could not be stopped otherwise")
            if not killed:
                stop.give_up()
            return killed
        elif now >= stop.again:
            stop.again = now + INTERRUPT_AGAIN
            return self._interrupt(worker, skip=stop.skip) or stop.skip
        return True

    def _patience_with(self, worker: WorkerId) -> float:
        """Seconds of ignored interrupts after which a worker is killed."""
        facts = self._workers[worker].facts if worker in self._workers else {}
        return KILL_ELSEWHERE_AFTER if facts.get("machine") and not is_here(facts) else KILL_AFTER

    def _is_moving(self, worker: WorkerId, stop: _Stop) -> bool:
        """Whether large data goes to a worker, or comes: what it is to stop may be waiting behind that."""
        before, stop.transit = stop.transit, self._backend.in_transit(worker)
        return stop.transit != before

    def _interrupt(self, worker: WorkerId, *, skip: bool = False) -> bool:
        self._interrupts[worker] += 1
        return self._backend.interrupt(worker, skip=skip)

    def has_interrupted(self, worker: WorkerId) -> bool:
        """Whether an interrupt from here explains an item's interruption; each explains one.

        It may arrive late, and so hit another item than intended.
        """
        sent = self._interrupts[worker] > 0
        self._interrupts[worker] -= sent
        return sent

    @property
    def stopping(self) -> bool:
        """Whether an interrupt, or a kill, is still pending."""
        return bool(self._stopping)

    @property
    def present(self) -> list[WorkerId]:
        """Workers that have not been released."""
        return [worker for worker, state in self._workers.items() if not state.leaving]

    def release_all(self) -> list[WorkerId]:
        """Release all workers; return their names."""
        released = self.present
        for worker in released:
            self.release(worker)
        return released

    def retire(self, worker: WorkerId) -> None:
        """Release a worker permanently."""
        state = self._workers.get(worker)
        if state is not None and not state.leaving:
            state.leaving, state.ready = True, False
            self._backend.retire(worker)

    def release(self, worker: WorkerId) -> None:
        """Release a worker."""
        if (state := self._workers.get(worker)) is not None and not state.leaving:
            state.leaving, state.ready = True, False
            self._backend.release(worker)


def _by_call(messages: list[Message]) -> list[list[Message]]:
    """Divide messages after each call."""
    parts: list[list[Message]] = [[]]
    for message in messages:
        parts[-1].append(message)
        if isinstance(message, Call):
            parts.append([])
    return [part for part in parts if part]


PATIENCE = 3.0
"""Seconds without a present or starting worker after which runs fail."""

LOOKS = 4
"""Failed checks that are needed as well: after the whole machine stood still one proves nothing."""


class WorkerWait:
    """Counts from the first check that finds no present or starting worker."""

    def __init__(self) -> None:
        self._since = 0.0
        self._looks = 0

    def restore(self) -> None:
        """Reset: there is a worker, or one is starting, or nothing waits for one."""
        self._looks = 0

    def is_over(self, now: float) -> bool:
        """Note a failed check; return whether it is time to give up."""
        if not self._looks:
            self._since = now
        self._looks += 1
        return self._looks >= LOOKS and now - self._since >= PATIENCE
