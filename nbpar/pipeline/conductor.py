"""Drive the dispatchers of a pipeline together: for its run they are one."""

from __future__ import annotations

import queue
from collections.abc import Callable
from contextlib import suppress

from nbpar.dispatch.dispatcher import Dispatcher
from nbpar.dispatch.job import Job

BREATH = 0.05
"""Seconds after which stages in the caller's thread are looked at again in any case."""


class Conductor:
    """Every stage's job, and the dispatcher that runs it."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Dispatcher, Job]] = []
        self._happened: queue.SimpleQueue[None] = queue.SimpleQueue()  # Ctrl-C breaks no queue, unlike events

    def add(self, dispatcher: Dispatcher, job: Job) -> None:
        """Take in a stage."""
        self.jobs.append((dispatcher, job))

    def wake(self, dispatcher: Dispatcher, wake: Callable[[], None]) -> Callable[[], None]:
        """Return what tells a dispatcher that there is something to take."""
        if dispatcher.blocking:
            return self.nudge
        return lambda: None if dispatcher.here else wake()

    def nudge(self) -> None:
        """Something has happened: whoever waits in `step` goes on."""
        if self._happened.empty():  # else they go on in any case
            self._happened.put(None)

    # ---- a desk

    @property
    def blocking(self) -> bool:
        return any(dispatcher.blocking for dispatcher, _ in self.jobs)

    @property
    def here(self) -> bool:
        return any(dispatcher.here for dispatcher, _ in self.jobs)

    def start(self, job: Job) -> None:  # noqa: ARG002 (all of them)
        """Let every stage begin, the last one first, so that nothing is delivered to nobody."""
        for dispatcher, each in reversed(self.jobs):
            dispatcher.start(each)

    def stop(self, job: Job, error: BaseException | None) -> None:  # noqa: ARG002 (all of them)
        """End every stage."""
        for dispatcher, each in self.jobs:
            dispatcher.stop(each, error)
        self.nudge()

    def request(self, action: Callable[[], None]) -> None:
        self.jobs[-1][0].request(action)
        self.nudge()

    def step(self) -> None:
        """Run what the stages in this thread have to do, or wait for the others."""
        while not self._happened.empty():
            self._happened.get()
        self.settle()
        with suppress(queue.Empty):
            self._happened.get(timeout=BREATH)  # returns at once when a stage here has done something

    def settle(self) -> None:
        """Let the stages in this thread do what they have to, above all end when it is over elsewhere."""
        for dispatcher in {id(each): each for each, _ in self.jobs if each.blocking}.values():
            dispatcher.step()
