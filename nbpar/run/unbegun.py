"""A call that Ctrl-C stops before its run begins, while its workers start: a run without results."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from nbpar.core import events
from nbpar.dispatch.job import Job
from nbpar.errors import StoppedError
from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.run import history
from nbpar.run.report import report_of
from nbpar.run.run import Run

if TYPE_CHECKING:
    from nbpar.views.report import Report


class UnbegunRun(Run):
    """A run that was stopped before it began."""

    def __init__(self, label: str) -> None:
        super().__init__(_Nowhere(), label=label, errors="collect", streaming=False)
        self.emit(events.RunStarted(time.monotonic(), label, None))

    def stopped(self) -> StoppedError:
        return StoppedError(f"{self.label} was stopped before it began; it has no results")

    def _reporter(self) -> Callable[[], Report]:
        return partial(report_of, self.snapshot, chunksize=None, reading=0.0)

    def _set_paused(self, *, paused: bool) -> None:
        """Do nothing: it is over."""


class _Nowhere:
    """The dispatcher of a run that is over."""

    blocking = True
    here = False

    def start(self, job: Job) -> None:
        """Do nothing."""

    def stop(self, job: Job, error: BaseException | None) -> None:
        """Do nothing."""

    def let_go(self, job: Job) -> bool:  # noqa: ARG002
        """Return that nothing is under way."""
        return False

    def skip(self, job: Job, index: int) -> None:
        """Do nothing."""

    def request(self, action: Callable[[], None]) -> None:
        """Do nothing."""

    def step(self) -> None:
        """Do nothing."""


class beginning:  # noqa: N801 (it reads like `closing`)
    """A block that leads to a remembered run; Ctrl-C in it is the last run's, not that of the run before.

    Waiting for workers may take long, and the user who interrupts that asks `nbpar.last_run` afterwards.

    Args:
        label: returns the name of the run.

    Raises:
        StoppedError: in place of the KeyboardInterrupt.
    """

    def __init__(self, label: Callable[[], str]) -> None:
        self._label = label

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        __tracebackhide__ = True
        if error is None or not may_be_ctrl_c(error):
            return
        run = UnbegunRun(self._label())
        history.remember(run)
        stopped = run.stopped()
        run.finish(stopped)
        try:
            raise stopped from None
        finally:
            del run, stopped, error  # the error's traceback holds this frame, and the run the error
