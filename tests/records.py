"""A run that keeps everything it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nbpar.core.events import Event
from nbpar.core.outcome import Failure, Part
from nbpar.core.results import assemble
from nbpar.dispatch.job import Job


@dataclass
class Record:
    """A sink that keeps everything."""

    job: Job | None = None
    parts: list[Part] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    ends: list[BaseException | None] = field(default_factory=list)

    def deliver(self, parts):
        self.parts += parts

    def emit(self, event):
        self.events.append(event)

    def finish(self, error):
        self.ends.append(error)

    @property
    def over(self) -> bool:
        assert len(self.ends) <= 1
        return bool(self.ends)

    @property
    def error(self) -> BaseException | None:
        assert self.over
        return self.ends[0]

    @property
    def results(self) -> list[Any]:
        return list(assemble(self.parts, errors="collect"))

    @property
    def failures(self) -> list[Failure]:
        return assemble(self.parts, errors="collect").failures

    def seen(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]
