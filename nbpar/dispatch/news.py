"""What workers tell of a call besides its answer: output, imports, time limits, cuts."""

from __future__ import annotations

from nbpar.core import events
from nbpar.core.inner_bars import InnerBar
from nbpar.core.scheduling.scheduler import Scheduler
from nbpar.core.transcript import Piece
from nbpar.dispatch.failures import check_cut
from nbpar.dispatch.jobs import Jobs
from nbpar.dispatch.memory import Memory
from nbpar.wire.messages import (
    Bars,
    Begun,
    Imported,
    LateOutput,
    MemoryPeaks,
    Output,
    Running,
    Shortened,
    StacksSampled,
)

NEWS = (Output, LateOutput, Running, Imported, Shortened, Begun, Bars, StacksSampled, MemoryPeaks)
"""Kinds of such messages."""

News = Output | LateOutput | Running | Imported | Shortened | Begun | Bars | StacksSampled | MemoryPeaks


class CallNews:
    """Passes such messages on to the runs and the scheduler.

    Args:
        blocking: whether calls run in the caller's thread, so that output has been shown already.
    """

    def __init__(self, scheduler: Scheduler, jobs: Jobs, memory: Memory, *, blocking: bool) -> None:
        self._scheduler = scheduler
        self._jobs = jobs
        self._memory = memory
        self._blocking = blocking

    def take(self, worker: str, message: News, now: float) -> None:
        """Handle a message of a worker."""
        if isinstance(message, Output):
            self._take_output(message, now)
        elif isinstance(message, LateOutput):
            self._take_late(worker, message, now)
        elif isinstance(message, Imported):
            self._take_imports(message, now)
        elif isinstance(message, Shortened):
            self._take_cut(message, now)
        elif isinstance(message, Bars):
            self._take_bars(message, now)
        elif isinstance(message, StacksSampled):
            self._take_stacks(worker, message, now)
        elif isinstance(message, MemoryPeaks):
            self._take_peaks(message, now)
        elif isinstance(message, Begun):
            self._scheduler.begun(message.call, message.items, message.age, now)
        elif (assignment := self._scheduler.windows.call(message.call)) is not None:
            assignment.limited_since = now if message.now else None

    def _take_late(self, worker: str, output: LateOutput, now: float) -> None:
        """Pass on output of items whose calls are over; nothing shows it when their run is, too."""
        if (job := self._jobs.get(output.run)) is not None:
            for index, kind, content in output.pieces:
                job.sink.emit(events.ItemPrinted(now, Piece(index, kind, content, worker, late=True)))

    def _take_output(self, output: Output, now: float) -> None:
        assignment = self._scheduler.windows.call(output.call)
        job = self._jobs.get(assignment.run.id) if assignment is not None else None
        if assignment is None or job is None or assignment.superseded:
            return
        base = assignment.base
        for place, kind, content in output.pieces:
            index = place + base if place >= 0 else place
            if not job.state.speculation.unsettled([index]):
                continue  # another worker's outcome was first
            piece = Piece(index, kind, content, assignment.worker, self._blocking)
            job.said.setdefault(index, []).append(piece.text)
            job.sink.emit(events.ItemPrinted(now, piece))

    def _take_bars(self, message: Bars, now: float) -> None:
        for number, index, bars in message.items:
            call = self._scheduler.windows.call(number)
            if call is not None and (job := self._jobs.get(call.run.id)) is not None:
                told = tuple(InnerBar(*bar) for bar in bars)
                job.sink.emit(events.BarsMoved(now, call.worker, call.id, index + call.base, told))

    def _take_imports(self, imported: Imported, now: float) -> None:
        assignment = self._scheduler.windows.call(imported.call)
        if assignment is not None and (job := self._jobs.get(assignment.run.id)) is not None:
            job.sink.emit(events.PackagesImported(now, assignment.worker, tuple(imported.packages)))

    def _take_stacks(self, worker: str, message: StacksSampled, now: float) -> None:
        if (job := self._jobs.get(message.run)) is not None:
            job.sink.emit(events.StacksSampled(now, worker, *message[1:]))

    def _take_peaks(self, message: MemoryPeaks, now: float) -> None:
        call = self._scheduler.windows.call(message.call)
        if call is not None and (job := self._jobs.get(call.run.id)) is not None:
            peaks = tuple((first + call.base, count, peak) for first, count, peak in message.peaks)
            job.sink.emit(events.MemoryMeasured(now, peaks))

    def _take_cut(self, cut: Shortened, now: float) -> None:
        if (call := self._scheduler.windows.call(cut.call)) is None:
            return  # its worker was given up before
        if call.superseded:
            return
        check_cut(call, cut.items)
        self._memory.take_back(call.worker, len(call.chunk.items) - cut.items)
        self._scheduler.shorten(call.id, cut.items)
        if (job := self._jobs.get(call.run.id)) is not None:
            job.sink.emit(events.ChunkCut(now, call.worker, call.id, cut.items - call.done))
