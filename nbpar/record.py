"""What is known of a run: its outcomes, what its items put out, how it goes, and its end."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from types import TracebackType

from nbpar.core import events
from nbpar.core.outcome import Failure, Part
from nbpar.core.progress import Progress, Snapshot
from nbpar.core.transcript import Piece, Transcript
from nbpar.errors import StoppedError
from nbpar.finish import Finish
from nbpar.notes import annotate
from nbpar.printing import RunOutput


class Record:
    """Written by the dispatcher's thread, read by any.

    Attributes:
        label: what views call it.
        failures: what has failed so far.
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
        self._progress = Progress()
        self._transcript = Transcript()
        self.show_output: Callable[[list[Piece]], None] | None = None
        """Shows what an item of a stream has put out, just before its value is taken."""

        self._over = Finish(label)
        self._error: BaseException | None = None
        self._trace: TracebackType | None = None
        self._state = "running"

    @property
    def state(self) -> str:
        """`running`, `done`, `failed` or `stopped`."""
        return self._state

    @property
    def done(self) -> bool:
        """Whether it is over, one way or another."""
        return self._over.here

    @property
    def finished_indices(self) -> set[int]:
        """Indices of the items that have an outcome by now."""
        return {index for part in list(self._parts) for index in range(part.first, part.stop)}

    @property
    def output(self) -> RunOutput:
        """What items have printed, displayed, logged and warned of so far."""
        return RunOutput(self._transcript.pieces, self._transcript.left_out)

    @property
    def snapshot(self) -> Snapshot:
        """How it went, or goes, in figures; cheap."""
        return self._progress.snapshot(time.monotonic())

    # ---- for the dispatcher, and for views

    def take_output(self) -> list[Piece]:
        """Take what items have put out that are settled, with all before them, in item order.

        What the items of a stream put out is shown as their values are taken.
        """
        if self._queue is not None:
            return self._transcript.take(0, 0)
        return self._transcript.take() if self.done else self._transcript.take_settled()

    def deliver(self, parts: list[Part]) -> None:
        """Take outcomes (from the dispatcher's thread)."""
        if self._queue is None:
            for part in parts:
                self._transcript.settle(part.first, part.stop)
            self._parts += parts
        else:
            self._queue.put(parts)

    def stopped(self) -> StoppedError:
        """Return what Stop raises, which says what is kept."""
        kept = f"; finished results ({self.snapshot.done}) are in nbpar.last_run.results()"
        return StoppedError(f"{self.label} was stopped{kept if self.remembered else ''}")

    def finish(self, error: BaseException | None) -> None:
        """Take the end (from the dispatcher's thread)."""
        if type(error) is StoppedError:
            error = self.stopped()
        self._state = (
            "done" if error is None else "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
        )
        self._error = error
        self._trace = None if error is None else error.__traceback__
        self._progress(events.RunFinished(time.monotonic(), self._state))
        tell = self._over.set()
        if self._queue is not None:
            self._queue.put(None)
        tell()

    def emit(self, event: events.Event) -> None:
        """Take an event (from the dispatcher's thread)."""
        self._progress(event)
        if type(event) is events.ItemFailed:
            annotate(event.failure)
            self.failures.append(event.failure)
        elif type(event) is events.ItemPrinted:
            self._transcript.add(event.piece)

    def _raise(self) -> None:
        """Raise what ended the run too early, if anything did, with the worker's frames and no others."""
        __tracebackhide__ = True
        if self._error is not None:
            raise self._error.with_traceback(self._trace)

    def _show_output_of(self, index: int) -> None:
        if self._transcript.waiting and self.show_output is not None:
            self.show_output(self._transcript.take(index, index + 1))
