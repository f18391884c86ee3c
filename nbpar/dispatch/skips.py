"""Let go of single items while their runs go on: `run.skip`, and the ✕ of a lane."""

from __future__ import annotations

import re
from functools import partial

from nbpar.core.chunking import Chunk
from nbpar.core.outcome import Failure
from nbpar.core.scheduling.scheduler import Scheduler
from nbpar.core.scheduling.windows import Assignment
from nbpar.core.text import seconds as duration
from nbpar.dispatch.failures import skipped_by
from nbpar.dispatch.job import Job, Skip
from nbpar.dispatch.jobs import Jobs
from nbpar.dispatch.workforce import Workforce
from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.wire.faults import restore
from nbpar.wire.messages import Done

CANNOT_STOP = "is still busy with it, because Python cannot interrupt what it does there"


_HANDLER = re.compile(r'^  File "[^"\n]*\bworker.signals\.py".*\n(?:    .*\n)*', re.MULTILINE)
"""The frame of the handler that has interrupted the item, in a formatted traceback."""


class Skips:
    """The items that users have let go of, from the request to the outcome.

    An item that has its outcome before it is reached keeps that.  All others return to their run, as after
    any interrupt, which does not start them again but hands them over to be settled here.
    """

    def __init__(self, scheduler: Scheduler, workforce: Workforce, jobs: Jobs) -> None:
        self._scheduler = scheduler
        self._workforce = workforce
        self._jobs = jobs
        self._active: dict[int, Job] = {}
        """Jobs of which items were let go, by the numbers of their runs."""

    def skip(self, job: Job, index: int, now: float) -> None:
        """Let go of an item of a job: interrupt it where it runs, and do not begin it elsewhere."""
        state = job.state
        if self._jobs.get(state.id) is not job or job.ending is not None or index in job.skips:
            return
        calls = [call for call in self._scheduler.windows.calls_of(state) if index in call.unanswered]
        job.skips[index] = Skip()
        self._active[state.id] = job
        state.skip(index, under_way=bool(calls))
        for call in calls:
            self._jobs.shut_out(call)
            awaited, runs = self._jobs.watch(call, index)
            if runs():
                job.skips[index].begun(call.worker, self._heard(call))
            give_up = partial(self._give_up, job, call, index)
            self._workforce.skip_item(call.worker, now, awaited, runs, give_up, at_once=not job.concurrent)

    def note(self, done: Done) -> None:
        """Note what an item that was interrupted was busy with."""
        call = self._scheduler.windows.call(done.id)
        job = self._jobs.get(call.run.id) if call is not None else None
        if call is None or job is None:
            return
        skip = job.skips.get(done.first + len(done.values) + call.base)
        if skip is not None and (fault := done.faults.get(len(done.values))) is not None:
            skip.fault = fault
            skip.begun(call.worker, self._heard(call))

    def settle(self) -> None:
        """Give the items that have come back their outcomes."""
        for number, job in list(self._active.items()) if self._active else ():
            try:
                while job.state.let_go and self._jobs.get(number) is job:
                    self._settle(job, job.state.let_go.popleft())
            except BaseException as bug:
                if may_be_ctrl_c(bug):
                    raise
                self._jobs.fail(job, bug)
            if self._jobs.get(number) is not job:
                del self._active[number]

    def _settle(self, job: Job, chunk: Chunk) -> None:
        index, now = chunk.first, self._jobs.now
        skip = job.skips.get(index, Skip())
        call = Assignment(-1, skip.worker, job.state, chunk, now, alone=True, expected=0.0)
        self._jobs.bury(job, call, _failure(job, chunk, skip, now))

    def _heard(self, call: Assignment) -> float:
        """Return when the worker of a call began its item at hand, as far as is known."""
        return max(self._scheduler.windows[call.worker].heard, call.sent)

    def _give_up(self, job: Job, call: Assignment, index: int) -> None:
        """Go on without a worker that can neither be interrupted nor killed."""
        if (skip := job.skips.get(index)) is not None:
            skip.words = f"; {call.worker} {CANNOT_STOP}"
        self._jobs.leave_behind(call)


def _failure(job: Job, chunk: Chunk, skip: Skip, now: float) -> Failure:
    """Return the outcome of an item that was let go."""
    took = None if skip.since is None else max(now - skip.since, 0.0)
    when = "before it began" if took is None else f"after {duration(took)}"
    words = f"it was skipped {when}{skip.words}"
    error, text = skipped_by(None, words), ""
    if skip.fault is not None:
        error = error.with_traceback(restore(skip.fault).__traceback__)
        frames, _, _ = skip.fault.text_with_lines.rpartition(f"nbpar.errors.{skip.fault.kind}: ")
        frames = _HANDLER.sub("", frames)
        text = f"{frames}nbpar.errors.SkippedError: {words}\n"
    return Failure(
        chunk.first, chunk.items[0], error, text,
        output=job.said_by(chunk.first), worker=skip.worker, seconds=took or 0.0,
        attempts=chunk.attempt, function=job.function_of(chunk.first), spread=job.spread,
    )  # fmt: skip
