"""Failures reported by the dispatcher itself: invalid answers, lost workers, bugs."""

from __future__ import annotations

import traceback
from collections.abc import Sequence

from nbpar.core.call_style import CallStyle
from nbpar.core.outcome import Failure
from nbpar.core.scheduling.windows import Assignment
from nbpar.core.text import text_of
from nbpar.dispatch.job import ADVICE, Job
from nbpar.errors import InternalError, ItemTimeoutError, SkippedError, WorkerDied
from nbpar.wire.faults import restore
from nbpar.wire.messages import (
    Begun,
    Done,
    Imported,
    MemoryPeaks,
    Message,
    Missing,
    Output,
    Running,
    Shortened,
)
from nbpar.wire.packed_items import PackedItems, chain_items
from nbpar.wire.pickling import pack_one

OVERDUE = "killed because its item did not stop at its time limit"


def judged(done: Done, *, stopped: bool) -> Done:
    """Return the answer of a call whose last item was interrupted, with that item's failure or without it.

    Items `stopped` from here return to their run.  An item that interrupts itself has failed: it would
    be restarted for ever.
    """
    place = len(done.values)
    if place not in done.faults:
        return done  # it was hit between two items
    if stopped:
        return done._replace(faults={at: fault for at, fault in done.faults.items() if at != place})
    nothing = PackedItems(pack_one(None)) if isinstance(done.values, PackedItems) else [None]
    return done._replace(values=chain_items([done.values, nothing]))


def failure_of(job: Job, assignment: Assignment, done: Done, place: int) -> Failure:
    """Return the failure at a position in an answer."""
    fault = done.faults[place]
    index = done.first + place
    item = assignment.chunk.items[index - assignment.chunk.first]
    error = restore(fault)
    if job.state.is_dropped(index):  # it has made something else of the interrupt, or failed just then
        error = skipped_by(error)
    return Failure(
        index, item, error, fault.text_with_lines,
        output=job.said_by(index), worker=assignment.worker,
        seconds=done.each[place] if place < len(done.each) else 0.0,
        attempts=assignment.chunk.attempt, after=fault.after,
        function=job.function_of(index), spread=job.spread,
    )  # fmt: skip


def death_of(job: Job, assignment: Assignment, reason: str, memory: int | None) -> Failure:
    """Return the failure of an item whose worker died, with the reason; `memory` is its last known size."""
    chunk = assignment.chunk
    return Failure(
        chunk.first, chunk.items[0], _cause_of(job, assignment, reason, memory),
        output=job.said_by(chunk.first), worker=assignment.worker, attempts=chunk.deaths + 1,
        function=job.function_of(chunk.first), spread=job.spread,
    )  # fmt: skip


def _cause_of(job: Job, assignment: Assignment, reason: str, memory: int | None) -> Exception:
    """Return the exception for a death: a worker killed because of one item may have had others."""
    first, worker = assignment.chunk.first, assignment.worker
    if assignment.overdue and job.timeout is not None:
        return ItemTimeoutError(
            f"it took longer than timeout={job.timeout:g} s and did not stop, so its worker was killed"
        )
    if job.state.pinned is None:
        which = f"the call of {job.title_of(assignment)}" if job.spread is CallStyle.CALL else f"item {first}"
        if job.preparation is not None:
            which = f"the initializer `{job.preparation.name}` of {job.label}"
        how = "alone"
        if assignment.chunk.starved:
            how = "while nothing else of its pool ran on that host"
        # the first death may have been that of others which were sent with it
        what = f"{which} killed its worker when it was tried again, {how} ({worker}: {reason})"
        what += f"; {ADVICE}" if job.preparation is not None else ""
    else:
        what = f"{worker} was gone before it had answered ({reason})"
    if memory is not None:
        what += f"; it held {memory / 1e6:,.0f} MB of memory when it was last seen"
    return WorkerDied(what, first - assignment.base, assignment.chunk.items[0], reason, memory)


def skipped_by(error: BaseException | None, words: str = "it was skipped") -> SkippedError:
    """Return the exception of an item that was let go, with the frames of what ended it."""
    skipped = SkippedError(words)
    if error is not None:
        skipped.__cause__ = error
        return skipped.with_traceback(error.__traceback__)
    return skipped


LONGEST = 4000
"""Maximal number of characters of the bug's traceback in the message."""


def unhandled(what: str, bug: BaseException) -> InternalError:
    """Return the error for a failure of nbpar, with the bug's traceback in its text."""
    try:
        return _unhandled(what, bug)
    except BaseException:  # noqa: BLE001 (there may be no memory for so much text)
        return InternalError(what)


def _unhandled(what: str, bug: BaseException) -> InternalError:
    said = f"{type(bug).__name__}: {text_of(bug)}" if text_of(bug) else type(bug).__name__
    if isinstance(bug, MemoryError):
        advice = "this process has too little memory; return less, or names of files, or use fewer workers"
    else:
        advice = "this is a bug of nbpar; please report it with what follows"
    return InternalError(
        f"{what} ({said}); {advice}. Finished results are kept in nbpar.last_run.results().\n{_trace(bug)}"
    )


def _trace(bug: BaseException) -> str:
    return "".join(traceback.format_exception(type(bug), bug, bug.__traceback__))[-LONGEST:]


class UnfitAnswerError(Exception):
    """A worker's answer does not match a call."""


def fitted(assignment: Assignment, done: Done) -> Done:
    """Return an answer without outcomes beyond the end of its chunk.

    An exception raised into a worker after its last item, by a timer or another thread, counts
    as one more item there.

    Raises:
        UnfitAnswerError: it does not match the outstanding items.
    """
    due = assignment.chunk.first + assignment.done
    if done.first != due:
        raise UnfitAnswerError(f"killed because it answered for item {done.first} where item {due} was due")
    room, number = len(assignment.chunk.items) - assignment.done, len(done.values)
    if number <= room and (not done.faults or all(0 <= place < number for place in done.faults)):
        return done
    number = min(number, room)
    faults = {place: fault for place, fault in done.faults.items() if 0 <= place < number}
    return done._replace(values=done.values[:number], faults=faults, each=done.each[:number])


def check_cut(assignment: Assignment, items: int) -> None:
    """Check how many of a call's items its worker keeps.

    Raises:
        UnfitAnswerError: it has answered more of them, or was given fewer.
    """
    if not assignment.done <= items <= len(assignment.chunk.items):
        raise UnfitAnswerError(f"killed because it kept {items} of {len(assignment.chunk.items)} items")


def calls_in(message: Message) -> Sequence[int]:
    """Return the numbers of the calls that a worker's message concerns."""
    if isinstance(message, Done):
        return (message.id,)
    if isinstance(message, (Output, Running, Imported, Shortened, Begun, MemoryPeaks)):
        return (message.call,)
    return message.calls if isinstance(message, Missing) else ()
