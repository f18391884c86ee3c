"""Chunks in flight per worker: when to send the next one, when to recall one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush

from nbpar.core.chunking import Chunk
from nbpar.core.scheduling.needs import ANYWHERE, Host
from nbpar.core.scheduling.runstate import RunState

WorkerId = str

EARLY = 0.004
"""Send the next chunk this many seconds before the current one is expected to end, plus the round trip.

A chunk sent earlier would only wait there, while another worker may be idle.
"""

SUSPECT = 1e-3
"""Calls shorter than this are answered together: any of them may have been running when their worker died."""

LASTS = 0.05
"""Seconds after which a call delays those behind it, if another worker is idle."""

MOVED = 1e8
"""Bytes per second, cautiously: a call is recalled only if it waits for longer than moving it takes."""


@dataclass(slots=True)
class Assignment:
    """A chunk for one worker, from being sent to being answered."""

    id: int
    worker: WorkerId
    run: RunState
    chunk: Chunk
    sent: float
    """When it was sent, on the driver's clock."""

    alone: bool
    """Whether the worker was idle then."""

    expected: float
    """Expected seconds of work."""

    done: int = 0
    """Number of its items with an outcome."""

    nbytes: int = 0
    """Size of its items in transit, if they are large."""

    permits: int = 0
    """Number of its items, from the first on, that have had permits, at a limited rate."""

    begun: int = 0
    """Number of these that are known to have begun."""

    limited_since: float | None = None
    """When a function with a time limit started, as its worker reported; of a coroutine when that time was
    over; None: neither."""

    recalled: bool = False
    """Whether it was recalled because its worker is blocked."""

    cut: bool = False
    """Whether its worker was asked to end it with the item at hand."""

    overdue: bool = False
    """Whether its worker was killed because its item did not stop at the time limit."""

    superseded: bool = False
    """Whether its answer is not wanted: others have finished its items, or it was given up."""

    def condemn(self) -> None:
        """Do not retry an overdue item if its worker dies, if it is certainly the running one."""
        if len(self.chunk.items) - self.done == 1:
            self.overdue = True
            self.chunk = replace(self.chunk, deaths=max(self.chunk.deaths, 1))

    def supersede(self) -> None:
        """Go on without its answer; from now on it does not count as running."""
        self.superseded = True
        self.run.running -= 1

    @property
    def divisible(self) -> bool:
        """Whether its worker may have items of it that it has not begun, and was not asked for."""
        several = len(self.chunk.items) - self.done > 1 and not self.run.chunker.concurrency
        return several and not (self.cut or self.superseded) and self.run.pinned is None

    @property
    def next(self) -> int:
        """Index of its first item without an outcome."""
        return self.chunk.first + self.done

    @property
    def unanswered(self) -> range:
        """Indices of its items without an outcome."""
        return self.chunk.indices[self.done :]

    @property
    def base(self) -> int:
        """Difference between indices of its items here and on the worker."""
        return self.chunk.first if self.run.singly else 0


@dataclass(slots=True)
class Window:
    """The calls of one worker, oldest first."""

    calls: dict[int, Assignment] = field(default_factory=dict)
    host: Host = ANYWHERE

    since: float = 0.0
    """Time when the worker started the oldest of them."""

    heard: float = 0.0
    """Time of its last answer, or of the start of the oldest."""

    retiring: bool = False
    """It gets no more work."""

    held: bool = False
    """It is reserved and gets no new work."""

    silent: bool = False
    """It does not answer and gets no new work."""

    coroutines: int = 0
    """How many of the calls are of async functions: they are under way at once, beside one of the others."""

    on_trial: bool = False
    """It runs a chunk that killed another worker, alone."""

    @property
    def open(self) -> bool:
        """Whether the worker may get calls at all."""
        return not (self.held or self.retiring or self.silent)

    @property
    def head(self) -> Assignment | None:
        """The oldest call, which is running."""
        return next(iter(self.calls.values()), None)

    @property
    def behind(self) -> list[Assignment]:
        """The calls queued behind the running one, which can be recalled."""
        calls = list(self.calls.values())[1:]
        return [call for call in calls if not call.run.chunker.concurrency] if self.coroutines else calls

    @property
    def limited(self) -> Assignment | None:
        """The call whose function is known to run under a time limit."""
        return next((call for call in self.calls.values() if call.limited_since is not None), None)

    @property
    def suspects(self) -> set[int]:
        """Numbers of the calls that may have killed the worker: an overdue one, if it was killed for that."""
        calls = list(self.calls.values())
        if overdue := {call.id for call in calls if call.overdue}:
            return overdue
        first = next((call.id for call in calls if not call.run.chunker.concurrency), None)
        return {call.id for call in calls if call.id == first or call.expected < SUSPECT}

    @property
    def opens(self) -> float:
        """Time to send the next call, shortly before the current one ends; there must be one."""
        chunker = (first := self._first).run.chunker
        work = first.expected or (chunker.seconds_per_item or 0.0) * len(first.chunk.items)
        return self.since + work - EARLY - 2 * chunker.round_trip

    @property
    def waiting(self) -> list[Assignment]:
        """The calls that could go to another worker, the first in part, and have not been asked back."""
        head = self.head
        waiting = [head] if head is not None and head.divisible else []
        if len(self.calls) > 1:
            waiting += [call for call in self.behind if not call.recalled and call.run.pinned is None]
        return waiting

    def held_up(self, now: float) -> float:
        """Time when the running call delays the others, by the current estimate.

        They were sent because it seemed nearly finished; it gets a little more time.
        """
        lasts = self.since + LASTS
        return lasts if now < self.opens else max(lasts, self._over + EARLY)

    def worth(self, call: Assignment, now: float) -> bool:
        """Whether a call is delayed for longer than it takes to move it, and what is before it."""
        return not call.nbytes or now >= self.held_up(now) + (call.nbytes + self._first.nbytes) / MOVED

    @property
    def _over(self) -> float:
        """Estimated end of the oldest call, from when the next was sent, or else from now."""
        first = self._first
        each = first.run.chunker.seconds_per_item or 0.0
        return self.since + (first.expected or each * len(first.chunk.items))

    @property
    def _first(self) -> Assignment:
        return next(iter(self.calls.values()))


def _never(worker: WorkerId) -> bool:  # noqa: ARG001 (whatever it is)
    return False


class Windows(dict[WorkerId, Window]):
    """The windows of the present workers, in order of joining, and their calls."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[int, Assignment] = {}
        self._next_id = 0
        self._idle: dict[WorkerId, None] = {}
        """Workers without calls in flight."""

        self.claims: Counter[WorkerId] = Counter()
        """How many of the runs limited to some of the workers have each of them."""

        self._crowded: dict[WorkerId, Window] = {}
        """Those who have several calls under way, or one of several items."""

        self._watched: set[WorkerId] = set()
        """Those with an entry in the next heap."""

        self._held_up: list[tuple[float, int, WorkerId]] = []
        """Earliest times at which calls are delayed by the one before them: a heap."""

        self._number = 0

    def __setitem__(self, worker: WorkerId, window: Window) -> None:
        super().__setitem__(worker, window)
        self._idle[worker] = None

    def beside(self, run: RunState) -> list[WorkerId]:
        """Return the open workers that calls of the other kind, async or not, do not fill up for a run."""
        concurrent = run.chunker.concurrency
        return [worker for worker, at in self.items() if at.open and (concurrent or at.coroutines)]

    def lose(self, worker: WorkerId) -> Window | None:
        """Remove a worker; return its window."""
        self._idle.pop(worker, None)
        self._crowded.pop(worker, None)
        self.claims.pop(worker, None)
        return super().pop(worker, None)

    @property
    def busy(self) -> bool:
        """Whether any worker has calls in flight."""
        return len(self._idle) < len(self)

    def add(self, worker: WorkerId, run: RunState, chunk: Chunk, now: float, expected: float) -> Assignment:
        """Put a chunk into a worker's window, as the call that is returned."""
        window = self[worker]
        call = Assignment(self._next_id, worker, run, chunk, now, not window.calls, expected)
        self._next_id += 1
        window.on_trial = chunk.deaths > 0
        if not window.calls:
            window.since = window.heard = now
        window.calls[call.id] = self._calls[call.id] = call
        if run.chunker.concurrency:
            window.coroutines += 1
        if len(window.calls) == 1:
            self._idle.pop(worker, None)
        if len(window.calls) > 1 or len(chunk.items) > 1:
            self._crowded[worker] = window
            if worker not in self._watched:
                self._watch(worker, window.since + LASTS)
        return call

    def remove(self, call: Assignment) -> Window | None:
        """Remove a call; return its window, unless its worker is gone."""
        del self._calls[call.id]
        if (window := self.get(call.worker)) is not None:
            del window.calls[call.id]
            window.on_trial = False
            if call.run.chunker.concurrency:
                window.coroutines -= 1
            if not window.calls:
                self._idle[call.worker] = None
            if len(window.calls) < 2 and ((head := window.head) is None or not head.divisible):
                self._crowded.pop(call.worker, None)
            elif call.worker not in self._watched:
                self._watch(call.worker, window.since + LASTS)
        return window

    def move_back(self, call: Assignment, now: float) -> None:
        """Put a call behind the others of its worker, which has it again as the last."""
        window = self.get(call.worker)
        if window is None or window.calls.get(call.id) is not call:
            return
        if window.head is call:
            window.since = window.heard = now
        window.calls[call.id] = window.calls.pop(call.id)
        if len(window.calls) > 1 and call.worker not in self._watched:
            self._watch(call.worker, window.since + LASTS)

    def call(self, number: int) -> Assignment | None:
        """Return a call in flight."""
        return self._calls.get(number)

    def calls_of(self, run: RunState) -> list[Assignment]:
        """Return a run's calls in flight whose answers are wanted."""
        return [call for call in self._calls.values() if call.run is run and not call.superseded]

    def head(self, worker: WorkerId) -> Assignment | None:
        """Return the oldest call of a worker, which is running."""
        window = self.get(worker)
        return window.head if window is not None else None

    def behind(self, worker: WorkerId) -> list[int]:
        """Return the numbers of a worker's calls behind the running one, which can be recalled."""
        return [call.id for call in self[worker].behind]

    def load(self, worker: WorkerId) -> int:
        """Return the number of a worker's calls in flight."""
        return len(self[worker].calls)

    def silence(self, worker: WorkerId, now: float) -> float:
        """Return the seconds since a worker's last answer."""
        return now - self[worker].heard

    def retired(self) -> list[WorkerId]:
        """Return the retiring workers without remaining calls."""
        return [worker for worker, window in self.items() if window.retiring and not window.calls]

    @property
    def idle(self) -> int:
        """How many workers have nothing to do."""
        return len(self._idle)

    def free(self) -> list[WorkerId]:
        """Return the workers that have nothing to do and may get work."""
        return [worker for worker in self._idle if self[worker].open]

    @property
    def uneven(self) -> bool:
        """Whether a worker has something waiting while another has nothing to do."""
        return bool(self._idle and self._crowded)

    def shared(self, run: RunState) -> list[WorkerId]:
        """Return the workers of a limited run that another limited run has as well."""
        return [worker for worker in run.members if self.claims[worker] > 1]

    def relieves(self, worker: WorkerId, run: RunState) -> bool:
        """Whether a worker that no limited run has could replace one that this run shares with another."""
        return not self.claims[worker] and bool(self.shared(run))

    def left_by(self, run: RunState) -> WorkerId | None:
        """Return a worker that a run shares with another and has no call on."""
        return next((
            worker for worker in self.shared(run)
            if all(call.run is not run for call in self[worker].calls.values())
        ), None)  # fmt: skip

    @property
    def spare(self) -> bool:
        """Whether a worker that no limited run has has nothing to do."""
        return any(not self.claims[worker] and self[worker].open for worker in self._idle)

    def recall(self, now: float, is_sending: Callable[[WorkerId], bool] = _never) -> list[Assignment]:
        """Return calls to recall (work stealing): they wait behind a long one, while another worker is idle.

        Of the one that lasts, which is `cut`, what comes after the item at hand is asked back.  Each is
        returned once.  Its worker answers that it has not begun, and it goes to another.

        Nothing is recalled that `is_sending` says is still on its way to its worker, and large calls only
        when they have waited for longer than it takes to move them.
        """
        asked: list[Assignment] = []
        while (at := self.recall_at(now)) is not None and at <= now:
            _, _, worker = heappop(self._held_up)
            self._watched.remove(worker)
            window = self[worker]
            if is_sending(worker):
                self._watch(worker, now + LASTS)
                continue
            waiting = window.waiting
            wanted = [call for call in waiting if window.worth(call, now) and self._is_wanted(call.run)]
            for call in wanted:
                if call is window.head:
                    call.cut = True
                else:
                    call.recalled = True
            if len(wanted) < len(waiting):
                self._watch(worker, now + LASTS)
            asked += wanted
        return asked

    def recall_at(self, now: float) -> float | None:
        """Time when the next calls must be recalled, by the current estimate."""
        if not self.uneven:
            return None
        while self._held_up:
            at, _, worker = self._held_up[0]
            window = self._crowded.get(worker)
            if window is None or not window.waiting:
                heappop(self._held_up)
                self._watched.remove(worker)
                continue
            if (held_up := window.held_up(now)) <= at:
                return at
            heappop(self._held_up)
            self._watch(worker, held_up)
        return None

    def _is_wanted(self, run: RunState) -> bool:
        """Whether a worker that has nothing to do may take part in a run."""
        if run.paused:
            return False
        return any(
            (run.admits(worker) or self.relieves(worker, run))
            and self[worker].open
            and self[worker].host.has_room(run.claim)
            for worker in self._idle
        )

    def leave_lines(self, needing: Mapping[int, RunState], host: Host) -> None:
        """Let runs wait no more for room at a host where no worker has nothing to do and may get work."""
        for run in needing.values() if needing else ():
            if run.claim is None or host not in run.claim.lines:
                continue
            if not any(self[worker].host is host and self[worker].open for worker in self._idle):
                run.claim.leave(host)

    def _watch(self, worker: WorkerId, at: float) -> None:
        """Check a worker's calls at that time; it must have no entry in the heap."""
        self._number += 1
        self._watched.add(worker)
        heappush(self._held_up, (at, self._number, worker))
