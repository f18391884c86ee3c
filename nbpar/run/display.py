"""Display a run: live while a caller waits for it, or from a background thread."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterable
from contextvars import copy_context
from functools import partial
from itertools import groupby
from operator import attrgetter

from nbpar.core.snapshot import Snapshot
from nbpar.core.transcript import Piece
from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.host.error_log import call_safely, log_warning
from nbpar.host.shell import this_kernel
from nbpar.run.printing import Printer
from nbpar.run.report import gain_of
from nbpar.run.run import REFRESH, Run, Watch
from nbpar.views.base import View
from nbpar.views.choose import choose
from nbpar.worker.nesting import inside_item
from nbpar.worker.output.streams import bars_here


class RunBar:
    """The progress of a run inside an item, as the lane of that item shows it: with tqdm's attributes."""

    unit = "items"
    postfix = ""
    initial = 0

    def __init__(self, run: Run) -> None:
        self._run = weakref.ref(run)
        self.desc = run.label
        self.start_t = time.time()

    @property
    def disable(self) -> bool:
        """Whether it is over."""
        return (run := self._run()) is None or run.done

    @property
    def total(self) -> int | None:
        """Number of items; None if unknown."""
        return None if (run := self._run()) is None else run.item_count

    @property
    def n(self) -> int:
        """Number of items with an outcome."""
        return 0 if (run := self._run()) is None else run.counts[0]


class shown:  # noqa: N801 (it reads like `closing`)
    """Show a run during a `with` block; yields a function to call regularly.

    Shows nothing inside an item of another run.  The run is released at the end of the block: the
    traceback of an error holds frames with references to the run, and the run holds the error.
    """

    def __init__(
        self, run: Run, progress: str, *, total: int | None, resize: Callable[[int], None] | None = None
    ) -> None:
        wanted = "none" if inside_item() else progress
        self._view = choose(wanted, run.controls(resize), label=run.label, total=total, gain=gain_of)
        self._printer = printer = Printer()
        self._picture = _Careful(f"progress of {run.label} is shown no more", gives_up=True)
        self._output = output = _Careful(f"not all output of {run.label} could be shown; it is in run.output")
        self._due = 0.0
        self._bar: RunBar | None = None
        if inside_item() and (here := bars_here()) is not None:
            bars, item = here
            self._bar = RunBar(run)
            bars.note(self._bar, item)
        self._run: Run | None = run
        run.show_output = lambda pieces: _show_each(printer, output, pieces)

    def __enter__(self) -> Watch:
        return self._watch

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        __tracebackhide__ = True
        run, self._run = self._run, None
        if run is None:
            return
        try:
            if error is not None:
                run.cancel()  # so that its final state is displayed
        finally:
            _show_each(self._printer, self._output, run.take_output())
            self._output(lambda: self._printer.close(run.output.left_out))
            self._picture(lambda: self._view.close(lambda: run.snapshot))

    def _watch(self) -> None:
        run = self._run
        if run is None or (now := time.monotonic()) < self._due:
            return  # while results keep flowing it is called for every chunk
        self._due = now + 0.8 * REFRESH
        _show_each(self._printer, self._output, run.take_output())
        self._picture(lambda: self._view.show(lambda: run.snapshot))


def _show_each(printer: Printer, careful: _Careful, pieces: Iterable[Piece]) -> None:
    """Show the output of each item; a failure to show one does not affect the others."""
    for _, group in groupby(pieces, key=attrgetter("index")):
        careful(partial(printer.show, list(group)))


class _Careful:
    """Displays; a broken stream, handler or widget is logged once, and does not fail the run.

    Args:
        lost: the message to log.
        gives_up: show nothing more after a failure.
    """

    def __init__(self, lost: str, *, gives_up: bool = False) -> None:
        self._lost = lost
        self._gives_up = gives_up
        self._failed = False

    def __call__(self, show: Callable[[], None]) -> None:
        if self._failed and self._gives_up:
            return
        try:
            show()
        except BaseException as error:
            if may_be_ctrl_c(error):
                raise
            if not self._failed:
                log_warning(self._lost, error)
            self._failed = True


class BackgroundViews:
    """The views of one run.  They never print: the summary line of a finished run replaces its card.

    The run refers to them, so they refer to the run only while it is shown.

    Args:
        progress: the user's default view.
        resize: adds or removes workers; None if that is impossible.
    """

    def __init__(self, *, progress: str, total: int | None, resize: Callable[[int], None] | None) -> None:
        self._progress = progress
        self._total = total
        self._resize = resize
        self.wanted = progress in ("auto", "widget") and this_kernel() is not None and not inside_item()
        """Whether a notebook cell could display it and has not yet."""

        self._views: list[View] = []
        self._begun = self._over = False
        self._lock = threading.Lock()  # for the three above

    def show(self, run: Run) -> None:
        """Show the run in the current cell, or on standard error."""
        if inside_item():
            return
        over = run.done
        view = choose(
            "auto" if self._progress == "none" else self._progress,  # it was requested explicitly
            run.controls(self._resize),
            label=run.label,
            total=self._total,
            background=not over,
            over=over,
            gain=gain_of,
        )
        if over:
            _close(view, run)
        else:
            self._add(view, run)

    def _add(self, view: View, run: Run) -> None:
        with self._lock:
            over = self._over
            if not over:
                self._views.append(view)
            begin, self._begun = not (self._begun or over), True
        if over:
            _close(view, run)
        elif begin:
            refresh = partial(copy_context().run, self._refresh, run)
            threading.Thread(target=refresh, name="nbpar view", daemon=True).start()

    def _refresh(self, run: Run) -> None:
        look = _look_at(run)
        while not run.is_over_within(REFRESH):
            self._tell(lambda view: view.show(look), run.label)
        with self._lock:
            self._over = True
        self._tell(lambda view: view.close(look), run.label)
        self._views.clear()  # their buttons refer to the run

    def _tell(self, tell: Callable[[View], None], label: str) -> None:
        """Update or close every view; an error in one does not affect the others."""
        for view in list(self._views):
            try:
                tell(view)
            except BaseException as error:  # noqa: BLE001 (a widget's, or a stream's, own code runs here)
                self._views.remove(view)
                log_warning(f"a view of {label} is given up", error)


def _look_at(run: Run) -> Callable[[], Snapshot]:
    return lambda: run.snapshot


def _close(view: View, run: Run) -> None:
    """Show how a run has ended, in the thread that requested it."""
    lost = f"a view of {run.label} is given up"
    call_safely(lambda: view.close(_look_at(run)), lost, passes_ctrl_c=True)
