"""Where a run asks for things: one dispatcher, or several that work together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from nbpar.dispatch.job import Job


class Desk(Protocol):
    """What a run needs of its dispatcher."""

    @property
    def blocking(self) -> bool:
        """Whether whoever waits has to call `step`."""

    @property
    def here(self) -> bool:
        """Whether the caller is the dispatcher's own thread."""

    def start(self, job: Job) -> None:
        """Let a job begin."""

    def stop(self, job: Job, error: BaseException | None) -> None:
        """End a job; its sink is told `error`."""

    def request(self, action: Callable[[], None]) -> None:
        """Have something done in the dispatcher's thread, soon."""

    def step(self) -> None:
        """Do what can be done now, and wait for what comes next."""
