"""A run for its user: waiting, awaiting, streaming, stopping, pausing, showing."""

from __future__ import annotations

import operator
import queue
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from nbpar.core import events
from nbpar.core.outcome import Part
from nbpar.core.results import Results, assemble, values_of
from nbpar.core.text import short
from nbpar.dispatch.job import Job, RunDispatcher
from nbpar.errors import WAITS_FOR_ITSELF, StoppedError
from nbpar.host.deadlines import deadline_in, waiting_time
from nbpar.host.deferred_sigint import hold
from nbpar.host.error_log import call_safely
from nbpar.host.frames import entrance
from nbpar.host.interpreter_exit import interpreter
from nbpar.host.queues import take
from nbpar.run.callbacks import callback_thread
from nbpar.run.printing import Printer
from nbpar.run.record import Record
from nbpar.run.report import report_of
from nbpar.views.base import Controls, Views

if TYPE_CHECKING:
    from nbpar.views.report import Report


Watch = Callable[[], None]


STOP_WITHIN = 2.0
"""Seconds that `cancel` waits for the end of the run; milliseconds usually suffice.

After half of them a stop that has not been handled is not waited for."""

REFRESH = 0.1
"""Seconds between two updates of a view."""


class Run(Record):
    """A map in progress.  `get()` waits for its results; `await run` does the same.

    Attributes:
        label: its name in views.
        failures: the failed items so far.
    """

    def __init__(
        self,
        dispatcher: RunDispatcher,
        *,
        label: str,
        errors: str,
        streaming: bool,
        sort: bool = True,
    ) -> None:
        super().__init__(label, errors=errors, streaming=streaming, sort=sort)
        self._dispatcher = dispatcher
        self._driver = threading.get_ident()
        """The thread that calls `step`, in a serial pool."""

        self._views: Views | None = None
        self.make_views: Callable[[], Views] | None = None
        """Makes the views for `show()`."""

        self._job: Job | None = None
        self._started = False
        """Whether its dispatcher has the job."""

    # ---- for users

    @property
    @entrance
    def report(self) -> Report:
        """Where the time went, the slowest items, and advice; displays itself."""
        return self._reporter()()

    @entrance
    def get(self, timeout: float | None = None) -> Results:
        """Wait for all results and return them in input order.

        Raises:
            Exception: the first one raised by the function, with `errors="raise"`.
            TimeoutError: they did not arrive in time; the run continues.
            KeyboardInterrupt: the run was stopped.
        """
        __tracebackhide__ = True
        try:
            self.wait(timeout)
            self._raise()
            return self.results()
        finally:
            del self  # see `_raise`

    @entrance
    def results(self) -> Results:
        """Return the results so far, without waiting; in input order unless requested otherwise."""
        results = assemble(list(self._parts), errors=self._errors, sort=self._sort)
        results.make_report = self._reporter()
        results.details = None if self._details is None else self._details.columns
        return results

    @entrance
    def wait(self, timeout: float | None = None, watch: Watch | None = None) -> None:
        """Wait until it is over; `watch()` is called about ten times a second meanwhile.

        Raises:
            TimeoutError: it was not over in time.
        """
        deadline = deadline_in(timeout)
        self._refuse_to_wait_for_oneself()
        try:
            while not self._over.here:
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError(
                        f"{self.label} is still running after {waiting_time(timeout):g} s; it was not stopped"
                    )
                self._wait_a_moment(deadline)
                if watch is not None:
                    watch()
        finally:
            del self  # items of a serial pool run below this frame, and their errors refer to it

    @entrance
    def cancel(self) -> None:
        """Stop the run: pending items are dropped, running ones interrupted, finished results kept.

        Waiting for it raises KeyboardInterrupt.  Idempotent; does nothing when it is over.
        """
        if self.done:
            return
        self._stop()
        if self._dispatcher.blocking:
            if self._driver == threading.get_ident():
                self._dispatcher.step()
        elif not self._dispatcher.here:
            self._await_stop()

    def request_stop(self) -> None:
        """Like `cancel`, without waiting; for buttons; thread-safe."""
        if self.done:
            return
        self._stop()
        if not self._dispatcher.blocking:
            interpreter.start(threading.Thread(target=self._await_stop, name="nbpar stop", daemon=True))

    @entrance
    def skip(self, index: int) -> None:
        """Let go of one item: it is interrupted, or not begun, while everything else goes on.

        Its outcome is a `Failure` with a `SkippedError`, also in the results of `errors="raise"`, which it
        does not end; it does not count for `max_errors` and is never retried.  Returns at once, and does
        nothing if the item has its outcome.  An engine that does not react, deep in C code, is killed and
        replaced where that is possible; a thread is left behind with the item.  In a serial pool the item
        that runs is not interrupted, only others are skipped.

        Raises:
            IndexError: the run has no such item.
        """
        place, total = operator.index(index), self._progress.total
        if place < 0 or (total is not None and place >= total):
            has = "an unknown number of" if total is None else f"{total:,}"
            raise IndexError(f"there is no item {place}: the run {self.label} has {has} items, from 0")
        if not self.done and self._job is not None:
            self._dispatcher.skip(self._job, place)

    @entrance
    def pause(self) -> None:
        """Start no more items until `resume`; running items continue."""
        self._set_paused(paused=True)

    @entrance
    def resume(self) -> None:
        """Continue after `pause`."""
        self._set_paused(paused=False)

    @entrance
    def add_done_callback(self, callback: Callable[[Run], None]) -> None:
        """Call `callback(run)` when it is over, in a thread for callbacks; immediately if it is.

        Its exceptions are logged.  A serial pool calls it in the thread that waits for the run.
        """
        if not callable(callback):
            raise TypeError(f"a callback must be a function, was {short(callback)}")
        name = f"a callback of the run {self.label} failed"
        self._over.then(
            lambda: call_safely(lambda: callback(self), name, passes_ctrl_c=True),
            by=lambda: self.tell(lambda: callback(self)),
        )

    def when_over(self, callback: Callable[[], None]) -> None:
        """Call a quick function the moment it is over, in the dispatcher's thread; at once if it is."""
        self._over.then(callback)

    def tell(self, callback: Callable[[], object]) -> None:
        """Call a callback in a thread where it may block."""
        if self._dispatcher.blocking:
            callback()
        else:
            callback_thread.tell(callback, f"the run {self.label}")

    @entrance
    def show(self) -> None:
        """Show it here: a live card while it runs, and the summary line when it is over."""
        if self._views is None and self.make_views is not None:
            self._views = self.make_views()
            self._views.wanted = False  # it was shown while waiting
        if self._views is not None:
            self._views.show(self)

    def __await__(self) -> Generator[Any, None, Results]:
        import asyncio

        __tracebackhide__ = True
        try:
            yield from self._over.__await__()
            return self.get()
        except asyncio.CancelledError:
            self._stop()  # without waiting, which would block the event loop
            raise
        finally:
            del self  # see `_raise`

    def show_in_cell(self) -> bool:
        """Like `show`, but only where a notebook's cell can show rich output; return whether it did."""
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
        skipped = f", {snapshot.skipped} skipped" if snapshot.skipped else ""
        done = f"{snapshot.done}{of} done, {snapshot.bad} failed{skipped}"
        return f"<nbpar.Run {self.label!r}: {self._state}, {done}>"

    def controls(self, resize: Callable[[int], None] | None) -> Controls:
        """Return what the buttons of a view do; a serial pool's item that runs cannot be skipped."""
        skip = None if self._dispatcher.blocking else self.skip
        return Controls(self.request_stop, self.pause, self.resume, resize, skip)

    # ---- for the pool

    def prepare(self, job: Job) -> None:
        """Set the job of this run."""
        self._job = job

    def prepare_views(self, views: Views, *, at_once: bool) -> None:
        """Set the factory of its views, for when no thread waits for it."""
        self._views = views
        if at_once:
            views.show(self)
            views.wanted = False

    @property
    def begun(self) -> bool:
        """Whether any of its items was sent to a worker."""
        return self._job is not None and self._job.state.taken > 0

    @property
    def works_here(self) -> bool:
        """Whether the thread that waits for it does the work."""
        return self._dispatcher.blocking

    def finish_here(self) -> None:
        """Wait for it where the caller's thread does the work."""
        if self._dispatcher.blocking:
            self.wait()

    def is_over_within(self, seconds: float) -> bool:
        """Wait for the end at most this long; return whether it is over; drives nothing."""
        return self._over.wait(seconds)

    def begin(self) -> None:
        """Start the job; the end of one that cannot be started is told as well."""
        job = self._job
        assert job is not None
        try:
            with hold:  # so that after Ctrl-C it is known whether it was started
                self._dispatcher.start(job)
                self._started = True
        except BaseException as error:
            if not self._started:
                self._call_off(error)
            raise
        finally:
            del self  # see `_raise`

    def leave(self) -> None:
        """Stop it, whether it was begun or not."""
        if self._started:
            self.cancel()
        elif not self.done:
            self._call_off(StoppedError(f"{self.label} was stopped before it began"))

    def _call_off(self, error: BaseException) -> None:
        """End the job, which was not started."""
        job = self._job
        assert job is not None
        call_safely(job.state.source.close, f"the input of {self.label} could not be closed")
        job.release().finish(error)

    def stream(self, watch: Watch | None = None, deadline: float | None = None) -> Iterator[Any]:
        """Yield values as they arrive; leaving early stops the run.

        `watch()` is called after each chunk, and about ten times a second in between.

        Raises:
            TimeoutError: a value did not arrive by `deadline`, on the monotonic clock.
        """
        __tracebackhide__ = True
        try:
            while (parts := self._next_parts(watch, deadline)) is not None:
                items = sum(len(part.values) for part in parts)
                parts.reverse()
                while parts:
                    before = self._show_output_of if self._transcript.waiting else None
                    yield from values_of(parts.pop(), errors=self._errors, before=before)
                self._consume(items)
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
            del self  # see `_raise`

    def stream_if_wanted(self, deadline: float | None = None) -> Iterator[Any]:
        """Return `stream`; its values are dropped as they come if it is deleted before its first use."""
        self.show_output = Printer().show
        values = self.stream(deadline=deadline)
        weakref.finalize(values, self.drop_values).atexit = False
        return values

    # ---- internals

    def _reporter(self) -> Callable[[], Report]:
        """Return a function that makes the current report; it keeps neither the run nor its values alive."""
        job = self._job
        assert job is not None
        reading = job.state.source.reading
        profile = None if self.profile is None else self.profile.profile()
        return partial(
            report_of, self.snapshot, chunksize=job.state.chunker.fixed, reading=reading, profile=profile
        )

    def _refuse_to_wait_for_oneself(self) -> None:
        if self._dispatcher.here and not self._over.here:
            raise RuntimeError(WAITS_FOR_ITSELF)

    def _wait_a_moment(self, deadline: float | None) -> None:
        if not self._dispatcher.blocking:
            self._over.wait(_moment(deadline))
            return
        try:
            self._step()
        finally:
            del self  # see `wait`

    def _next_parts(self, watch: Watch | None, deadline: float | None) -> list[Part] | None:
        assert self._queue is not None
        self._refuse_to_wait_for_oneself()
        try:
            while True:
                try:
                    wait = 0.0 if self._dispatcher.blocking else _moment(deadline)
                    return take(self._queue, wait)
                except queue.Empty:
                    pass  # the block is left first, or an item's exception would be shown as its consequence
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError(f"{self.label} was not over in time")
                if self._dispatcher.blocking:
                    self._step()
                if watch is not None:
                    watch()
        finally:
            del self  # see `wait`

    def _step(self) -> None:
        self._driver = threading.get_ident()
        dispatcher = self._dispatcher
        del self  # see `wait`
        dispatcher.step()

    def _consume(self, items: int) -> None:
        job, dispatcher = self._job, self._dispatcher
        assert job is not None
        if dispatcher.blocking:
            job.state.consume(items)
        else:
            dispatcher.request(lambda: job.state.consume(items))

    def _await_stop(self) -> None:
        """Wait for the end; behind code of the user's that does not return it ends for its users only."""
        for _ in range(2):
            if self._over.wait(STOP_WITHIN / 2):
                return
            if self._job is not None and self._dispatcher.let_go(self._job):
                self._let_go = True
                Record.finish(self, StoppedError(f"{self.label} was stopped"))

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
    """Seconds to wait before the next check."""
    return REFRESH if deadline is None else min(REFRESH, max(deadline - time.monotonic(), 0.0))
