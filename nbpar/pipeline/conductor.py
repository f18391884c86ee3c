"""Run the dispatchers of a pipeline's pools together, as one for its run."""

from __future__ import annotations

import queue
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from nbpar.core.scheduling.runstate import RunState
from nbpar.dispatch.dispatcher import Dispatcher
from nbpar.dispatch.job import Job

BREATH = 0.05
"""Seconds after which stages in the caller's thread are run again in any case."""


class Conductor:
    """Every stage's job, and the dispatcher that runs it."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Dispatcher, Job]] = []
        self._happened: queue.SimpleQueue[None] = queue.SimpleQueue()  # unlike events, Ctrl-C breaks no queue

    def add(self, dispatcher: Dispatcher, job: Job) -> None:
        """Add a stage."""
        self.jobs.append((dispatcher, job))

    def wake(self, dispatcher: Dispatcher, state: RunState) -> Callable[[], None]:
        """Return a function that tells a dispatcher that a run has new input."""
        stir = partial(dispatcher.stir, state)
        if not dispatcher.blocking:
            return stir

        def stir_here() -> None:
            stir()
            self.nudge()

        return stir_here

    def nudge(self) -> None:
        """Wake a thread that waits in `step`."""
        if self._happened.empty():  # otherwise they run again in any case
            self._happened.put(None)

    # ---- the dispatcher's interface

    @property
    def blocking(self) -> bool:
        return any(dispatcher.blocking for dispatcher, _ in self.jobs)

    @property
    def here(self) -> bool:
        return any(dispatcher.here for dispatcher, _ in self.jobs)

    def start(self, job: Job) -> None:  # noqa: ARG002 (all of them)
        """Start every stage, the last one first, so that each has a consumer."""
        for dispatcher, each in reversed(self.jobs):
            dispatcher.start(each)

    def stop(self, job: Job, error: BaseException | None) -> None:  # noqa: ARG002 (all of them)
        """End every stage."""
        for dispatcher, each in self.jobs:
            dispatcher.stop(each, error)
        self.nudge()

    def let_go(self, job: Job) -> bool:  # noqa: ARG002 (all of them)
        return any(dispatcher.let_go(each) for dispatcher, each in self.jobs)

    def skip(self, job: Job, index: int) -> None:  # noqa: ARG002 (an item may be in any stage)
        """Let go of an item in the stage where it is, or else in the next one that it comes to."""
        for dispatcher, each in self.jobs:
            dispatcher.skip(each, index)
        self.nudge()

    def request(self, action: Callable[[], None]) -> None:
        self.jobs[-1][0].request(action)
        self.nudge()

    def step(self) -> None:
        """Run the stages of this thread, or wait for the others."""
        while not self._happened.empty():
            self._happened.get()
        self.settle()
        with suppress(queue.Empty):
            self._happened.get(timeout=BREATH)  # returns at once after a step of a stage in this thread

    def settle(self) -> None:
        """Run pending steps of the stages in this thread, above all their end after an end elsewhere."""
        for dispatcher in {id(each): each for each, _ in self.jobs if each.blocking}.values():
            if not dispatcher.idle:  # it would wait for what the other stages never send
                dispatcher.step()
