"""The workers of a pool: who is here, what each has been told, who must be stopped."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbpar.backends.base import Backend, WorkerId
from nbpar.core.events import WorkerJoined
from nbpar.core.spread import Spread
from nbpar.wire.messages import INITIALIZER, Begin, Call, Cancel, Done, Load, Message

INTERRUPT_AGAIN = 0.2
"""Seconds after which an interrupt that had no effect is repeated."""

KILL_AFTER = 0.8
"""Seconds after which a worker that ignores interrupts, deep in C code, is killed."""


@dataclass
class _Worker:
    facts: dict[str, Any]
    loaded: set[bytes] = field(default_factory=set)
    begun: set[int] = field(default_factory=set)
    ready: bool = False
    leaving: bool = False


@dataclass
class _Stop:
    """A worker that must be stopped."""

    again: float
    """When to interrupt it once more."""

    until: float
    """When to kill it."""

    still: Callable[[], bool]
    """Whether it still has what it must not run."""

    runs: Callable[[], object]
    """Which part of that it runs; None or False when it runs something else."""

    seen: object = None
    """What it ran when it was looked at last: each call has its own time to end."""


class Workforce:
    """Workers between their `Ready` and their `Bye`, with the pool's initializer run on each."""

    def __init__(self, backend: Backend, initializer: tuple[Load, tuple[Any, ...]] | None) -> None:
        self._backend = backend
        self._initializer = initializer
        self._workers: dict[WorkerId, _Worker] = {}
        self._initialized: set[tuple[WorkerId, Any]] = set()
        """Workers that have run it, also when they were let go meanwhile."""

        self._outgoing: dict[WorkerId, list[Message]] = {}
        self._stopping: dict[WorkerId, list[_Stop]] = {}

    def __len__(self) -> int:
        return len(self._workers)

    def facts(self, worker: WorkerId) -> dict[str, Any]:
        """What is known of a worker's place."""
        return self._workers[worker].facts if worker in self._workers else {}

    def joined(self, worker: WorkerId, now: float) -> WorkerJoined:
        """Return the event that a worker takes part."""
        facts = self.facts(worker)
        return WorkerJoined(now, worker, str(facts.get("host", "")), int(facts.get("pid", 0)))

    @property
    def ready(self) -> list[WorkerId]:
        """Workers that take calls."""
        return [worker for worker, state in self._workers.items() if state.ready]

    def arrive(self, worker: WorkerId, facts: dict[str, Any]) -> bool:
        """Take a worker in; False when it is here already, or when its initializer has to run first."""
        if worker in self._workers:
            return False  # it greets until it hears something
        self._workers[worker] = state = _Worker(facts)
        if self._initializer is None or (worker, facts.get("pid")) in self._initialized:
            state.ready = True
            return True
        self.initialize(worker)
        return False

    def initialize(self, worker: WorkerId) -> None:
        """Have the initializer run on a worker."""
        assert self._initializer is not None
        load, arguments = self._initializer
        call = Call(
            INITIALIZER, run=INITIALIZER, digest=load.digest, first=0, spread=Spread.CALL.value, timed=True,
            stop_early=True, timeout=None, seed=None, broken={}, items=[(arguments, {})],
        )  # fmt: skip
        self._backend.send(worker, [load, call])

    def initialized(self, worker: WorkerId, done: Done) -> bool:
        """Take in the initializer's answer; whether the worker takes calls now."""
        state = self._workers.get(worker)
        if state is not None:
            state.ready = not done.faults and not done.interrupted
            if state.ready:
                self._initialized.add((worker, state.facts.get("pid")))
        return state is not None and state.ready

    def leave(self, worker: WorkerId) -> None:
        """Forget a worker that is gone."""
        self._workers.pop(worker, None)
        self._outgoing.pop(worker, None)
        self._stopping.pop(worker, None)

    def post(self, worker: WorkerId, load: Load, call: Call, begin: Begin | None = None) -> None:
        """Put a call among what is sent next, after its function if the worker does not have it.

        Before the first call of a run comes `begin`.
        """
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
        """The worker does not have this function (any more)."""
        if worker in self._workers:
            self._workers[worker].loaded.discard(digest)

    def send(self) -> None:
        """Send what was put together, one message to each worker."""
        outgoing, self._outgoing = self._outgoing, {}
        for worker, messages in outgoing.items():
            self._backend.send(worker, messages)

    def cancel(self, worker: WorkerId, calls: Sequence[int]) -> None:
        """Tell a worker not to begin calls."""
        self._backend.send(worker, [Cancel(tuple(calls))])

    def stop_item(
        self,
        worker: WorkerId,
        now: float,
        still: Callable[[], bool],
        runs: Callable[[], object] | None = None,
    ) -> bool:
        """Interrupt what a worker runs, again and again while `still` says that it has it; then kill it.

        While `runs` says that it runs something else it is left alone.  Returns whether it was interrupted.
        """
        stop = _Stop(now + INTERRUPT_AGAIN, now + KILL_AFTER, still, runs or still)
        stop.seen = stop.runs()
        if stop.seen and not self._backend.interrupt(worker):
            return False
        self._stopping.setdefault(worker, []).append(stop)
        return bool(stop.seen)

    def stop_again(self, now: float) -> None:
        """Repeat interrupts that had no effect; kill a worker that does not react to them."""
        for worker, stops in list(self._stopping.items()):
            stops[:] = [stop for stop in stops if stop.still() and self._press(worker, stop, now)]
            if not stops:
                self._stopping.pop(worker, None)

    def _press(self, worker: WorkerId, stop: _Stop, now: float) -> bool:
        """Do what is due to stop a worker; False when that cannot be done."""
        running = stop.runs()
        if not running or running is not stop.seen:  # it was just about to begin, or to answer
            stop.seen, stop.again, stop.until = running, now, now + KILL_AFTER
        elif now >= stop.until:
            stop.again = stop.until = math.inf
            return self._backend.kill(worker, "killed because it could not be stopped otherwise")
        elif now >= stop.again:
            stop.again = now + INTERRUPT_AGAIN
            return self._backend.interrupt(worker)
        return True

    @property
    def stopping(self) -> bool:
        """Whether an interrupt, or a kill, has not had its effect yet."""
        return bool(self._stopping)

    @property
    def present(self) -> list[WorkerId]:
        """Workers that have not been let go."""
        return [worker for worker, state in self._workers.items() if not state.leaving]

    def release_all(self) -> list[WorkerId]:
        """Let all workers go; return who they were."""
        released = self.present
        for worker in released:
            self.release(worker)
        return released

    def retire(self, worker: WorkerId) -> None:
        """Let a worker go for good."""
        state = self._workers.get(worker)
        if state is not None and not state.leaving:
            state.leaving, state.ready = True, False
            self._backend.retire(worker)

    def release(self, worker: WorkerId) -> None:
        """Let a worker go."""
        if (state := self._workers.get(worker)) is not None and not state.leaving:
            state.leaving, state.ready = True, False
            self._backend.release(worker)
