"""What the dispatcher knows of a run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from nbpar.core.events import Event
from nbpar.core.outcome import Part
from nbpar.core.runstate import RunState
from nbpar.core.spread import Spread
from nbpar.wire.messages import Begin, Call, Load


class Sink(Protocol):
    """Takes what becomes of a run; called from the dispatcher's thread and never for long."""

    def deliver(self, parts: list[Part]) -> None:
        """Outcomes, in order when the run is ordered."""

    def finish(self, error: BaseException | None) -> None:
        """Nothing more will come; `error` is why, when items are missing."""

    def emit(self, event: Event) -> None:
        """Something happened."""


@dataclass(frozen=True)
class Ending:
    """A job was stopped."""

    error: BaseException | None
    """Why; its sink is told when the last answer is there, or at `until`."""

    until: float


@dataclass(eq=False)
class Job:
    """One run under way."""

    state: RunState
    sink: Sink
    load: Load
    function: Any
    """The function itself, for failures that are replayed here."""

    label: str = ""
    total: int | None = None
    spread: Spread = Spread.ONE
    timeout: float | None = None
    seed: int | None = None
    fail_fast: bool = True
    """The first failure ends the run."""

    max_errors: int | None = None
    """More failures than this end the run."""

    everywhere: Any = None
    """An item that every worker gets once (`Pool.each`), in place of a source."""

    loads: tuple[Load, ...] = ()
    """One function for each worker of a run that is limited to so many, in place of `load`."""

    keeps_packed: bool = False
    """Values stay bytes: they go to workers again."""

    keep: Callable[[int, Sequence[Any], Collection[int]], None] | None = None
    """Takes values as they arrive: index of the first, values, and the places of those that failed."""

    ending: Ending | None = None
    """Set when the job was stopped and what ran then may still answer."""

    begin: Begin | None = None
    """What workers are told before its first call."""

    said: dict[int, list[str]] = field(default_factory=dict)
    """What items have put out so far that are under way."""

    begun: float = 0.0
    failed: int = 0

    def load_for(self, worker: str) -> Load:
        """Return the function that a worker runs."""
        return self.loads[self.state.members[worker]] if self.loads else self.load

    def said_by(self, index: int) -> str:
        """Return what an item has put out, whose attempt is over."""
        return "".join(self.said.pop(index, ()))

    def forget_said(self, first: int, count: int) -> None:
        """Forget what items have put out that have their outcomes."""
        if self.said:
            for index in [index for index in self.said if first <= index < first + count]:
                del self.said[index]

    def call(self, call_id: int, worker: str, first: int, items: Any) -> Call:
        """Return the message that asks for some items."""
        return Call(
            call_id, self.state.id, self.load_for(worker).digest, first, self.spread.value,
            self.state.chunker.timed, self.fail_fast and not self.state.retry.times, self.timeout, self.seed,
            {}, items,
        )  # fmt: skip
