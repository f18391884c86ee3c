"""One map under way: results as they come, and the means to stop, pause and await it."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from nbpar.core import events
from nbpar.core.outcome import Part
from nbpar.core.results import Results, assemble, values_of
from nbpar.dispatch.desk import Desk
from nbpar.dispatch.job import Job
from nbpar.errors import StoppedError
from nbpar.record import Record
from nbpar.reporting import report_of
from nbpar.telling import teller
from nbpar.views.base import Views
from nbpar.worker.queues import take

if TYPE_CHECKING:
    from nbpar.views.run_report import Report

Watch = Callable[[], None]

STOP_WITHIN = 2.0
"""Seconds that `cancel` waits for the run to be over; milliseconds are enough on most machines."""

REFRESH = 0.1
"""Seconds between two pictures of a view."""


class Run(Record):
    """A map that has begun.  `get()` waits for its results; `await run` does the same.

    Attributes:
        label: what views call it.
        failures: what has failed so far.
    """

    def __init__(
        self,
        dispatcher: Desk,
        *,
        label: str,
        errors: str,
        streaming: bool,
        sort: bool = True,
    ) -> None:
        super().__init__(label, errors=errors, streaming=streaming, sort=sort)
        self._dispatcher = dispatcher
        self._driver = threading.get_ident()
        """The thread that calls `step`, where somebody has to."""

        self._views: Views | None = None
        self._job: Job | None = None

    # ---- for users

    @property
    def report(self) -> Report:
        """Where the time went, the slowest items, and what could be better; shows itself."""
        return self._reporter()()

    def get(self, timeout: float | None = None) -> Results:
        """Wait for all results and return them in input order.

        Raises:
            Exception: what the function raised first, with `errors="raise"`.
            TimeoutError: they did not come in time; the run goes on.
            KeyboardInterrupt: the run was stopped.
        """
        __tracebackhide__ = True
        self.wait(timeout)
        self._raise()
        return self.results()

    def results(self) -> Results:
        """Return what has finished by now, without waiting; in input order unless it was asked otherwise."""
        results = assemble(list(self._parts), errors=self._errors, sort=self._sort)
        results.make_report = self._reporter()
        return results

    def wait(self, timeout: float | None = None, watch: Watch | None = None) -> None:
        """Wait until it is over; `watch()` is called about ten times a second meanwhile.

        Raises:
            TimeoutError: it was not over in time.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._over.here:
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"{self.label} is not over after {timeout:g} s; it goes on")
            self._wait_a_moment(deadline)
            if watch is not None:
                watch()

    def cancel(self) -> None:
        """Stop it: what has not begun is dropped, what runs is interrupted, what is done is kept.

        Waiting for it raises KeyboardInterrupt.  Does nothing when it is over.
        """
        if self.done:
            return
        self._stop()
        if self._dispatcher.blocking:
            if self._driver == threading.get_ident():
                self._dispatcher.step()
        elif not self._dispatcher.here:
            self._over.wait(STOP_WITHIN)

    def request_stop(self) -> None:
        """Like `cancel`, without waiting; for buttons, and safe from any thread."""
        if not self.done:
            self._stop()

    def pause(self) -> None:
        """Begin no more items until `resume`; what runs goes on."""
        self._set_paused(paused=True)

    def resume(self) -> None:
        """Go on after `pause`."""
        self._set_paused(paused=False)

    def add_done_callback(self, callback: Callable[[Run], None]) -> None:
        """Have `callback(run)` called when it is over, in a thread for callbacks; here and now if it is.

        What it raises is logged.  A serial pool calls it where the run is waited for.
        """
        self._over.then(lambda: callback(self), by=lambda: self.tell(lambda: callback(self)))

    def when_over(self, callback: Callable[[], None]) -> None:
        """Have something quick done the moment it is over, in the dispatcher's thread; at once if it is."""
        self._over.then(callback)

    def tell(self, callback: Callable[[], object]) -> None:
        """Call a callback where it may take its time."""
        if self._dispatcher.blocking:
            callback()
        else:
            teller.tell(callback, f"the run {self.label}")

    def show(self) -> None:
        """Show a live view here, which turns into a report when it is over; for runs in the background."""
        if self._views is not None:
            self._views.show()

    def __await__(self) -> Generator[Any, None, Results]:
        try:
            yield from self._over.__await__()
        except asyncio.CancelledError:
            self._stop()  # without waiting: the event loop has other things to do
            raise
        return self.get()

    def show_in_cell(self) -> bool:
        """Like `show`, but only where a notebook's cell can show more than text; whether it does."""
        wanted = self._views is not None and self._views.wanted
        if wanted:
            self.show()
        return wanted

    def _ipython_display_(self) -> None:
        if not self.show_in_cell():
            raise NotImplementedError  # so IPython shows the representation

    def __repr__(self) -> str:
        snapshot = self.snapshot
        of = "" if snapshot.total is None else f" of {snapshot.total}"
        return (
            f"<nbpar.Run {self.label!r}: {self._state}, {snapshot.done}{of} done, {snapshot.failed} failed>"
        )

    # ---- for the pool

    def prepare(self, job: Job) -> None:
        """Take the job that this run is for the dispatcher."""
        self._job = job

    def prepare_views(self, views: Views, *, at_once: bool) -> None:
        """Take what shows it when nobody waits for it."""
        self._views = views
        if at_once:
            views.show()
            views.wanted = False

    @property
    def begun(self) -> bool:
        """Whether any of its items was handed to a worker."""
        return self._job is not None and self._job.state.taken > 0

    def finish_here(self) -> None:
        """Wait for it where the caller's thread does the work, since nobody else will."""
        if self._dispatcher.blocking:
            self.wait()

    def is_over_within(self, seconds: float) -> bool:
        """Wait for the end, but no longer than this; drives nothing."""
        return self._over.wait(seconds)

    def begin(self) -> None:
        """Hand the job to the dispatcher."""
        assert self._job is not None
        self._dispatcher.start(self._job)

    def stream(self, watch: Watch | None = None, deadline: float | None = None) -> Iterator[Any]:
        """Yield values as they come; leaving early stops the run.

        `watch()` is called after each chunk, and about ten times a second while there is none.

        Raises:
            TimeoutError: a value had to be waited for beyond `deadline`, on the monotonic clock.
        """
        __tracebackhide__ = True
        assert self._queue is not None
        assert self._job is not None
        try:
            while (parts := self._next_parts(watch, deadline)) is not None:
                for part in parts:
                    before = self._show_output_of if self._transcript.waiting else None
                    yield from values_of(part, errors=self._errors, before=before)
                self._consume(sum(len(part.values) for part in parts))
                if watch is not None:
                    watch()
            self._raise()
        except KeyboardInterrupt as error:
            self.cancel()
            if type(error) is not KeyboardInterrupt:
                raise
            raise self.stopped() from None
        finally:
            self.cancel()

    # ---- inside

    def _reporter(self) -> Callable[[], Report]:
        """Return what makes the report of this moment; it keeps neither the run nor its values."""
        job = self._job
        assert job is not None
        reading = getattr(job.state.source, "reading", 0.0)
        return partial(report_of, self.snapshot, chunksize=job.state.chunker.fixed, reading=reading)

    def _wait_a_moment(self, deadline: float | None) -> None:
        if self._dispatcher.blocking:
            self._step()
            return
        self._over.wait(_moment(deadline))

    def _next_parts(self, watch: Watch | None, deadline: float | None) -> list[Part] | None:
        assert self._queue is not None
        while True:
            try:
                wait = 0.0 if self._dispatcher.blocking else _moment(deadline)
                return take(self._queue, wait)
            except queue.Empty:
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError(f"{self.label} was not over in time") from None
                if self._dispatcher.blocking:
                    self._step()
            if watch is not None:
                watch()

    def _step(self) -> None:
        self._driver = threading.get_ident()
        self._dispatcher.step()

    def _consume(self, items: int) -> None:
        job, dispatcher = self._job, self._dispatcher
        assert job is not None
        if dispatcher.blocking:
            job.state.consume(items)
        else:
            dispatcher.request(lambda: job.state.consume(items))

    def _stop(self) -> None:
        assert self._job is not None
        self._dispatcher.stop(self._job, StoppedError(f"{self.label} was stopped"))

    def _set_paused(self, *, paused: bool) -> None:
        job = self._job
        assert job is not None

        def act() -> None:
            job.state.paused = paused
            self._progress(events.RunPaused(time.monotonic(), paused))

        self._dispatcher.request(act)


def _moment(deadline: float | None) -> float:
    """Seconds to wait before looking again."""
    return REFRESH if deadline is None else min(REFRESH, max(deadline - time.monotonic(), 0.0))
