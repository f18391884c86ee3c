"""What is known of a run: results, failures, output, progress and end, as they arrive."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from nbpar.core import events
from nbpar.core.measures.details import ItemDetails
from nbpar.core.measures.profile import ProfileFold
from nbpar.core.outcome import Failure, Part
from nbpar.core.progress import Progress
from nbpar.core.snapshot import Snapshot
from nbpar.core.transcript import Piece, Transcript
from nbpar.errors import StoppedError
from nbpar.run.completion import Completion
from nbpar.run.notes import annotate
from nbpar.run.printing import RunOutput


class Record:
    """Written by the dispatcher's thread, read by any.

    Attributes:
        label: its name in views.
        failures: the failed items so far.
        remembered: it is, or was, `nbpar.last_run`.
    """

    def __init__(self, label: str, *, errors: str, streaming: bool, sort: bool = True) -> None:
        self.label = label
        self.failures: list[Failure] = []
        self.remembered = False
        self._errors = errors
        self._sort = sort
        self._parts: list[Part] = []
        self._queue: queue.SimpleQueue[list[Part] | None] | None = queue.SimpleQueue() if streaming else None
        self._unwanted = False
        """Whether the values of a stream will never be consumed."""

        self._progress = Progress(frugal=streaming)
        self._transcript = Transcript()
        self.profile: ProfileFold | None = None
        """Merges the samples of workers, if the run is profiled."""

        self._details = None if streaming else ItemDetails()
        """Seconds, worker and memory of items; None where nothing is kept of them."""

        self.show_output: Callable[[list[Piece]], None] | None = None
        """Shows the output of a stream's items, just before their values are consumed."""

        self._over = Completion(label)
        self._ending = threading.Lock()
        """Held from the end on: there is one."""

        self._let_go = False
        """Whether it has ended for its users while its dispatcher was stuck, and takes no more."""

        self._error: BaseException | None = None
        self._trace: TracebackType | None = None
        self._state = "running"

    @property
    def state(self) -> str:
        """`running`, `done`, `failed` or `stopped`."""
        return self._state

    @property
    def done(self) -> bool:
        """Whether it is over, for any reason."""
        return self._over.here

    @property
    def finished_indices(self) -> set[int]:
        """Indices of the items that have an outcome so far."""
        return {index for part in list(self._parts) for index in range(part.first, part.stop)}

    @property
    def output(self) -> RunOutput:
        """Prints, displays, log records and warnings of the items so far."""
        return RunOutput(self._transcript.pieces, self._transcript.left_out)

    @property
    def item_count(self) -> int | None:
        """Number of items; None if unknown, or not begun."""
        return self._progress.total

    @property
    def counts(self) -> tuple[int, int]:
        """Numbers of items with an outcome, and of failures; cheaper than a snapshot."""
        return self._progress.done, self._progress.failed

    @property
    def snapshot(self) -> Snapshot:
        """Its current or final figures; cheap."""
        return self._progress.snapshot(time.monotonic())

    # ---- for the dispatcher and views

    def take_output(self) -> list[Piece]:
        """Take the output of items that are settled together with all items before them, in item order.

        The output of a stream's items is shown as their values are consumed.
        """
        if self._queue is not None:
            return self._transcript.take(0, 0, late=True)
        return self._transcript.take() if self.done else self._transcript.take_settled()

    def deliver(self, parts: list[Part]) -> None:
        """Take outcomes (from the dispatcher's thread)."""
        if self._let_go:
            return
        if self._queue is None:
            self._transcript.settle(parts)
            self._parts += parts
        elif not self._unwanted:
            self._queue.put(parts)

    def drop_values(self) -> None:
        """Stop keeping values for a consumer."""
        self._unwanted = True
        with suppress(queue.Empty):
            while self._queue is not None:
                self._queue.get_nowait()

    def stopped(self) -> StoppedError:
        """Return the exception that Stop raises, with a message about kept results."""
        kept = f"; finished results ({self.snapshot.done}) are in nbpar.last_run.results()"
        return StoppedError(f"{self.label} was stopped{kept if self.remembered else ''}")

    def finish(self, error: BaseException | None) -> None:
        """Handle the end of the run, once; waiting threads are always notified."""
        if not self._ending.acquire(blocking=False):
            return
        try:
            self._take_end(error)
        finally:
            tell = self._over.set()
            if self._queue is not None:
                self._queue.put(None)
            tell()

    def _take_end(self, error: BaseException | None) -> None:
        self._error = error
        self._state = (
            "done" if error is None else "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
        )
        if type(error) is StoppedError:
            self._error = error = self.stopped()
        self._trace = None if error is None else error.__traceback__
        self._progress(events.RunFinished(time.monotonic(), self._state))

    def emit(self, event: events.Event) -> None:
        """Take an event (from the dispatcher's thread)."""
        if self._let_go:
            return
        self._progress(event)
        if type(event) is events.ItemsDone:
            if self._details is not None:
                self._details.take(event)
        elif type(event) is events.ItemFailed:
            annotate(event.failure)
            self.failures.append(event.failure)
        elif type(event) is events.ItemPrinted:
            self._transcript.add(event.piece)
        elif type(event) is events.MemoryMeasured:
            if self._details is not None:
                self._details.take_memory(event)
        elif type(event) is events.StacksSampled and self.profile is not None:
            self.profile.take(event)

    def _raise(self) -> None:
        """Raise the error that ended the run, if any, with the worker's frames and no others."""
        __tracebackhide__ = True
        try:
            if self._error is not None:
                raise self._error.with_traceback(self._trace)
        finally:
            del self  # the error's traceback holds this frame, and the run the error

    def _show_output_of(self, index: int) -> None:
        if self._transcript.waiting and self.show_output is not None:
            self.show_output(self._transcript.take(index, index + 1))
