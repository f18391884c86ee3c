"""What a worker has under way, and when it may have more."""

from __future__ import annotations

from dataclasses import dataclass, field

from nbpar.core.chunk import Chunk
from nbpar.core.runstate import RunState

WorkerId = str

EARLY = 0.004
"""Seconds, beside the round trip, before a worker is through at which its next chunk is sent.

What is sent sooner would only wait there, while another worker may have nothing to do.
"""

LASTS = 0.05
"""Seconds after which a call holds up those behind it, if another worker has nothing to do."""


@dataclass(slots=True)
class Assignment:
    """A chunk for one worker, from being sent to being answered."""

    id: int
    worker: WorkerId
    run: RunState
    chunk: Chunk
    sent: float
    """When it was handed out, on the driver's clock."""

    alone: bool
    """Whether the worker had nothing else to do then."""

    expected: float
    """Seconds of work it was thought to be."""

    done: int = 0
    """How many of its items have been answered."""

    recalled: bool = False
    """Whether it was asked back because its worker is held up."""


@dataclass(slots=True)
class Window:
    """The calls of one worker, oldest first."""

    calls: dict[int, Assignment] = field(default_factory=dict)

    since: float = 0.0
    """When the worker began with the oldest of them."""

    heard: float = 0.0
    """When it last answered something, or began with the oldest."""

    retiring: bool = False
    """It gets nothing more to do."""

    held: bool = False
    """It is wanted for something else and gets nothing new."""

    on_trial: bool = False
    """It runs what killed another worker, with nothing before or behind it."""

    @property
    def head(self) -> Assignment | None:
        """The oldest call, which is the one that runs."""
        return next(iter(self.calls.values()), None)

    @property
    def behind(self) -> list[Assignment]:
        """The calls that wait behind the one that runs."""
        return list(self.calls.values())[1:]

    @property
    def opens(self) -> float:
        """When a second call may follow the first, shortly before it is through with that."""
        head = self.head
        return self._over - EARLY - 2 * head.run.chunker.round_trip if head is not None else self.since

    @property
    def waiting(self) -> list[Assignment]:
        """The calls that could go to another worker and have not been asked back."""
        if len(self.calls) < 2:
            return []
        return [call for call in self.behind if not call.recalled and call.run.pinned is None]

    def held_up(self, now: float) -> float:
        """When the one that runs holds up the others, as it stands.

        They were sent because it seemed to be nearly over; then it has a little more time.
        """
        lasts = self.since + LASTS
        return lasts if now < self.opens else max(lasts, self._over + EARLY)

    @property
    def _over(self) -> float:
        """When it is through with the oldest call, as was thought when that was sent, or else as is now."""
        if (head := self.head) is None:
            return self.since
        each = head.run.chunker.seconds_per_item or 0.0
        return self.since + (head.expected or each * len(head.chunk.items))
