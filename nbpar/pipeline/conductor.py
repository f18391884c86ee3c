"""Drive the dispatchers of a pipeline together: for its run they are one."""

from __future__ import annotations

import threading
from collections.abc import Callable

from nbpar.dispatch.dispatcher import Dispatcher
from nbpar.dispatch.job import Job

BREATH = 0.05
"""Seconds after which stages in the caller's thread are looked at again in any case."""


class Conductor:
    """Every stage's job, and the dispatcher that runs it."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Dispatcher, Job]] = []
        self._happened = threading.Event()

    def add(self, dispatcher: Dispatcher, job: Job) -> None:
        """Take in a stage."""
        self.jobs.append((dispatcher, job))

    def wake(self, dispatcher: Dispatcher, wake: Callable[[], None]) -> Callable[[], None]:
        """Return what tells a dispatcher that there is something to take."""
        if dispatcher.blocking:
            return self._happened.set
        return lambda: None if dispatcher.here else wake()

    def nudge(self) -> None:
        """Something has happened: whoever waits in `step` goes on."""
        self._happened.set()

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
        self._happened.clear()
        for dispatcher in {id(each): each for each, _ in self.jobs if each.blocking}.values():
            dispatcher.step()
        self._happened.wait(BREATH)  # returns at once when a stage here has done something
