"""What workers have under way, and when they may have more or have to give some back."""

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


class Windows(dict[WorkerId, Window]):
    """The windows of those who take part, in the order of joining, and the calls in them."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[int, Assignment] = {}
        self._next_id = 0

    def add(self, worker: WorkerId, run: RunState, chunk: Chunk, now: float, expected: float) -> Assignment:
        """Put a chunk into a worker's window, as the call that is returned."""
        window = self[worker]
        call = Assignment(self._next_id, worker, run, chunk, now, not window.calls, expected)
        self._next_id += 1
        window.on_trial = chunk.deaths > 0
        if not window.calls:
            window.since = window.heard = now
        window.calls[call.id] = self._calls[call.id] = call
        return call

    def remove(self, call: Assignment) -> Window | None:
        """Take a call out; return the window where it was, unless its worker is gone."""
        del self._calls[call.id]
        if (window := self.get(call.worker)) is not None:
            del window.calls[call.id]
            window.on_trial = False
        return window

    def call(self, number: int) -> Assignment | None:
        """Return a call that is under way."""
        return self._calls.get(number)

    def calls_of(self, run: RunState) -> list[Assignment]:
        """Return a run's calls that are under way."""
        return [call for call in self._calls.values() if call.run is run]

    def head(self, worker: WorkerId) -> Assignment | None:
        """Return the oldest call of a worker, which is the one that runs."""
        window = self.get(worker)
        return window.head if window is not None else None

    def behind(self, worker: WorkerId) -> list[int]:
        """Return the numbers of a worker's calls behind the one that runs."""
        return list(self[worker].calls)[1:]

    def load(self, worker: WorkerId) -> int:
        """Return how many calls a worker has under way."""
        return len(self[worker].calls)

    def silence(self, worker: WorkerId, now: float) -> float:
        """Return for how many seconds a worker has not answered anything."""
        return now - self[worker].heard

    def retired(self) -> list[WorkerId]:
        """Return the retiring workers that have nothing left to do."""
        return [worker for worker, window in self.items() if window.retiring and not window.calls]

    @property
    def uneven(self) -> bool:
        """Whether a worker has calls waiting while another has nothing to do."""
        loads = [len(window.calls) for window in self.values()]
        return bool(loads) and min(loads) == 0 and max(loads) > 1

    def recall(self, now: float) -> list[Assignment]:
        """Return calls to ask back: they wait behind one that lasts, while another worker has nothing to do.

        Each is returned once.  Its worker answers that it has not begun, and it goes to another.
        """
        if not self.uneven:
            return []
        held_up = [call for window in self.values() for call in window.waiting if now >= window.held_up(now)]
        for call in held_up:
            call.recalled = True
        return held_up

    def recall_at(self, now: float) -> float | None:
        """When the next calls have to be asked back, as it stands."""
        if not self.uneven:
            return None
        return min((window.held_up(now) for window in self.values() if window.waiting), default=None)
