"""What the dispatcher knows of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from nbpar.core.events import Event
from nbpar.core.outcome import Part
from nbpar.core.runstate import RunState
from nbpar.core.spread import Spread
from nbpar.wire.frames import Call, Load


class Sink(Protocol):
    """Takes what becomes of a run; called from the dispatcher's thread and never for long."""

    def deliver(self, parts: list[Part]) -> None:
        """Outcomes, in order when the run is ordered."""

    def finish(self, error: BaseException | None) -> None:
        """Nothing more will come; `error` is why, when items are missing."""

    def emit(self, event: Event) -> None:
        """Something happened."""


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

    begun: float = 0.0
    failed: int = 0

    def call(self, call_id: int, first: int, items: Any) -> Call:
        """Return the message that asks for some items."""
        return Call(
            call_id, self.state.id, self.load.digest, first, self.spread.value, self.state.chunker.timed,
            self.fail_fast and not self.state.retry.times, self.timeout, self.seed, {}, items,
        )  # fmt: skip
