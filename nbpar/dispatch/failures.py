"""What the dispatcher says of an item that failed."""

from __future__ import annotations

from typing import Any

from nbpar.core.outcome import Failure
from nbpar.core.windows import Assignment
from nbpar.dispatch.job import Job
from nbpar.errors import ItemTimeoutError, WorkerDied
from nbpar.wire.faults import restore
from nbpar.wire.messages import Done

OVERDUE = "killed because its item did not stop at its time limit"


def failure_of(job: Job, assignment: Assignment, done: Done, place: int) -> Failure:
    """Return the failure at a place of an answer."""
    fault = done.faults[place]
    index = done.first + place
    item = assignment.chunk.items[index - assignment.chunk.first]
    return Failure(
        index, item, restore(fault), fault.text,
        output=job.said_by(index), worker=assignment.worker,
        seconds=done.each[place] if place < len(done.each) else 0.0,
        attempts=assignment.chunk.attempt, function=job.function, spread=job.spread,
    )  # fmt: skip


def death_of(job: Job, assignment: Assignment, reason: str, memory: int | None) -> Failure:
    """Return the failure of an item whose worker died, for a reason; `memory` is what it held then."""
    chunk, worker = assignment.chunk, assignment.worker
    item: Any = chunk.items[0]
    if job.state.pinned is None:
        what = f"item {chunk.first} killed its worker twice (the second time {worker}: {reason})"
    else:
        what = f"{worker} was gone before it had answered ({reason})"
    if memory is not None:
        what += f"; it held {memory / 1e6:,.0f} MB of memory when it was last seen"
    error: Exception = WorkerDied(what, chunk.first, item, reason, memory)
    if reason == OVERDUE:
        error = ItemTimeoutError(
            f"it took longer than timeout={job.timeout:g} s and did not stop, so its worker was killed"
        )
    return Failure(
        chunk.first, item, error, output=job.said_by(chunk.first), worker=worker,
        attempts=chunk.deaths + 1, function=job.function, spread=job.spread,
    )  # fmt: skip
