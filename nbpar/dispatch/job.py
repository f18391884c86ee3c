"""The dispatcher's record of one run, and the protocol between the two."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from nbpar.core.call_style import CallStyle, Lent
from nbpar.core.events import Event
from nbpar.core.outcome import Part
from nbpar.core.scheduling.runstate import RunState, nothing_known
from nbpar.core.scheduling.windows import Assignment
from nbpar.core.source import EndedSource
from nbpar.errors import WorkerDied
from nbpar.wire.faults import Fault
from nbpar.wire.messages import Begin, Call, Load

DEATHS = 3
"""Number of consecutive workers that may die in an initializer before its runs fail."""


ADVICE = "call it in this process to see what it does; each worker needs memory for what it loads"


class Preparation:
    """Counts the deaths since the initializer last completed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._deaths: list[str] = []

    def worked(self) -> None:
        """Handle a worker that has finished with it."""
        self._deaths.clear()

    def killed(self, worker: str, reason: str) -> WorkerDied | None:
        """Note that a worker has died in it; return an error if that was one too many."""
        self._deaths.append(f"{worker}: {reason}")
        if len(self._deaths) < DEATHS:
            return None
        deaths = "; ".join(self._deaths)
        self._deaths.clear()
        return WorkerDied(
            f"the initializer `{self.name}` killed its worker {DEATHS} times in a row ({deaths}); {ADVICE}",
            reason=reason,
        )


class Sink(Protocol):
    """Receives the outcomes of a run; called from the dispatcher's thread, must be quick."""

    def deliver(self, parts: list[Part]) -> None:
        """Outcomes, in order when the run is ordered."""

    def finish(self, error: BaseException | None) -> None:
        """The run is over; `error` is the reason for missing items."""

    def emit(self, event: Event) -> None:
        """Handle an event."""


class _NoSink:
    """Takes nothing: the run is over."""

    def deliver(self, parts: list[Part]) -> None:
        """Ignored: too late."""

    def finish(self, error: BaseException | None) -> None:
        """Do nothing: the end was reported."""

    def emit(self, event: Event) -> None:
        """Ignored: too late."""


@dataclass
class Skip:
    """An item that is to be let go."""

    worker: str = ""
    """The worker that runs it; "" for none."""

    since: float | None = None
    """When it began there, as far as is known; None: it has not."""

    fault: Fault | None = None
    """What it was busy with when it was interrupted."""

    words: str = ""
    """What else there is to say of it."""

    def begun(self, worker: str, since: float) -> None:
        """Note that a worker runs it."""
        self.worker, self.since = worker, since if self.since is None else min(self.since, since)


@dataclass(frozen=True)
class Ending:
    """The state of a stopped job."""

    error: BaseException | None
    """The reason; its sink is notified after the last answer, or at `until`."""

    until: float


class Order(NamedTuple):
    """The messages that request a chunk from a worker."""

    begin: Begin | None
    """Settings that the worker gets before its first call of the run."""

    load: Load
    """The function, which it gets once."""

    call: Call


@dataclass(eq=False)
class Job:
    """One run in progress."""

    state: RunState
    sink: Sink
    load: Load
    function: Any
    """The function itself, for `Failure.replay`."""

    label: str = ""
    total: int | None = None
    spread: CallStyle = CallStyle.ONE
    timeout: float | None = None
    seed: int | None = None
    fail_fast: bool = True
    """The first failure ends the run."""

    max_errors: int | None = None
    """More failures than this end the run."""

    everywhere: Any = None
    """An item for every worker (`Pool.each`), in place of a source."""

    loads: tuple[Load, ...] = ()
    """One function for each worker of a run with limited workers, in place of `load`."""

    keeps_packed: bool = False
    """Values stay bytes, because they are sent to workers again."""

    keep: Callable[[int, Sequence[Any], Collection[int]], None] | None = None
    """Gets values as they arrive: index of the first, values, and the positions of failed ones."""

    ending: Ending | None = None
    """Set if the job was stopped and interrupted calls may still answer."""

    begin: Begin | None = None
    """Settings that workers get before its first call."""

    preparation: Preparation | None = None
    """Preparation of a worker in its first call of this run, until one has answered."""

    said: dict[int, list[str]] = field(default_factory=dict)
    """Output so far of items that are running."""

    skips: dict[int, Skip] = field(default_factory=dict)
    """Items that users have let go of."""

    limited: bool = False
    """Whether its sink was told that it waits for its rate."""

    opens: float = 0.0
    """Until when, as was told."""

    begun: float = 0.0
    failed: int = 0

    @property
    def concurrent(self) -> bool:
        """Whether its function is async."""
        return self.state.chunker.concurrency > 0

    def release(self) -> Sink:
        """Drop all that only a current run needs, so that its record keeps nothing alive; return the sink.

        Input, function and sink are dropped here because the sink, which users hold, knows its job.
        """
        sink, self.sink = self.sink, _NO_SINK
        state = self.state
        source = state.source
        if state.gate is not None:
            state.gate.stir = lambda: None
        if state.claim is not None:
            state.claim.stir = lambda: None
        state.source = EndedSource(source.reading, source.error)
        state.known, state.within, self.keep = nothing_known, None, None
        for load in (self.load, *self.loads):
            if isinstance(load.function, Lent):
                load.function.take_back()
        self.load, self.loads, self.begin = self.load._replace(function=None), (), None
        self.function = self.everywhere = None
        self.said.clear()
        self.skips.clear()
        return sink

    def function_of(self, index: int) -> Any:  # noqa: ARG002 (the same for all)
        """Return the user's function for an item."""
        return self.function

    def lose(self, assignment: Assignment, error: BaseException) -> bool:  # noqa: ARG002 (they are one)
        """Fail the items of a call that could not be handled; False if the whole job must fail."""
        return False

    def title_of(self, assignment: Assignment) -> str:
        """Describe the work of a worker."""
        return f"{self.label}, item {assignment.chunk.first + assignment.done}"

    def said_by(self, index: int) -> str:
        """Return the output of an item whose attempt is over."""
        return "".join(self.said.pop(index, ()))

    def forget_said(self, first: int, count: int) -> None:
        """Drop the output of items that have their outcomes."""
        if self.said:
            for index in [index for index in self.said if first <= index < first + count]:
                del self.said[index]

    def order(self, assignment: Assignment) -> Order:
        """Return the messages that request a chunk."""
        chunk, state = assignment.chunk, self.state
        load = self.loads[state.members[assignment.worker]] if self.loads else self.load
        return Order(self.begin, load, Call(
            assignment.id, state.id, load.digest, chunk.first, self.spread._value_,
            state.chunker.timed, self.fail_fast and not state.retry.times, self.timeout, self.seed,
            state.chunker.concurrency, {}, chunk.items,
        ))  # fmt: skip


_NO_SINK = _NoSink()


class RunDispatcher(Protocol):
    """The part of the dispatcher that a run uses."""

    @property
    def blocking(self) -> bool:
        """Whether the waiting thread must call `step`."""

    @property
    def here(self) -> bool:
        """Whether this is the dispatcher's own thread."""

    def start(self, job: Job) -> None:
        """Start a job."""

    def stop(self, job: Job, error: BaseException | None) -> None:
        """End a job; its sink gets `error`."""

    def let_go(self, job: Job) -> bool:
        """Whether a job whose end was requested must be left alone: its thread does not come to it."""

    def skip(self, job: Job, index: int) -> None:
        """Let go of one item of a job."""

    def request(self, action: Callable[[], None]) -> None:
        """Run a function in the dispatcher's thread, soon."""

    def step(self) -> None:
        """Do all pending work, and wait for the next event."""
