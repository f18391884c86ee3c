"""Recent runs: `nbpar.last_run` and `nbpar.runs()`."""

from __future__ import annotations

import time
import weakref
from collections import deque
from html import escape
from typing import TYPE_CHECKING

from nbpar.core.tables import html_table, text_table
from nbpar.core.text import count, seconds
from nbpar.host.deferred_sigint import hold
from nbpar.host.frames import entrance

if TYPE_CHECKING:
    from nbpar.core.snapshot import Snapshot
    from nbpar.run.run import Run

KNOWN = 50
"""Number of latest runs that are listed."""


class Begun:
    """A started run, by a weak reference, because a run holds its results.

    Attributes:
        label: its label.
        at: time of its start, in seconds since 1970.
    """

    def __init__(self, run: Run, at: float) -> None:
        self.label, self.at = run.label, at
        self._run = weakref.ref(run)
        self._ended: tuple[str, int | None, float, int, int] = "gone", None, 0.0, 0, 0
        run.when_over(self._note_end)

    @property
    def run(self) -> Run | None:
        """The run itself, if it still exists."""
        return self._run()

    @property
    def ended(self) -> tuple[str, int | None, float, int, int]:
        """How it ended: state, items, seconds, items with an outcome, failures among them."""
        return self._ended

    def _note_end(self) -> None:
        if (run := self._run()) is not None:
            last = run.snapshot
            self._ended = run.state, last.total, last.elapsed, last.done, last.bad


run: Run | None = None
begun: deque[Begun] = deque(maxlen=KNOWN)


def remember(new: Run) -> None:
    """Make this the last run; call it before the run starts."""
    global run  # noqa: PLW0603 (there is one for the process)
    entry = Begun(new, time.time())
    with hold:
        run = new
        new.remembered = True
        begun.append(entry)


HEADS = ("", "run", "state", "done", "failed", "since", "took")
NOTHING = "no runs yet"


class RunInfo:
    """A run of this process.

    Attributes:
        label: its label.
        state: `waiting`, `running`, `paused`, `done`, `failed` or `stopped`; `gone` if it was deleted
            before its end.
        done: number of items with an outcome, failures included.
        failed: number of failed items.
        total: number of items; None if unknown.
        since: time of its start, in seconds since 1970.
        seconds: its duration so far.
        run: the run itself; None if it was deleted.
    """

    def __init__(self, known: Begun) -> None:
        self.label, self.since, self.run = known.label, known.at, known.run
        self.state, self.total, self.seconds, self.done, self.failed = known.ended
        if self.run is not None:
            self._look(self.run.snapshot)

    def show(self) -> None:
        """Show it here: a live card while it runs, the summary line when it is over.

        Raises:
            LookupError: the run was deleted.
        """
        if self.run is None:
            raise LookupError(
                f"{self.label} ({self.state}) cannot be shown any more, because nothing refers to it; "
                "`nbpar.last_run` keeps the last run, and a variable any other: `run = pool.map_async(...)`"
            )
        self.run.show()

    def __repr__(self) -> str:
        return f"<nbpar run {self.label!r}: {self.state}, {self._done()} done, {count(self.failed)} failed>"

    def row(self, place: int) -> tuple[str, ...]:
        """Return the line of a table."""
        failed = count(self.failed) if self.failed else ""
        since, took = _clock(self.since), seconds(self.seconds)
        return str(place), self.label, self.state, self._done(), failed, since, took

    def _look(self, snapshot: Snapshot) -> None:
        self.state, self.total, self.seconds = snapshot.state, snapshot.total, snapshot.elapsed
        self.done, self.failed = snapshot.done, snapshot.bad

    def _done(self) -> str:
        return count(self.done) if self.total is None else f"{count(self.done)} of {count(self.total)}"


class Runs(list[RunInfo]):
    """The list of the latest runs, oldest first; a table in notebooks.

    `nbpar.runs()[-1].show()` shows the last one again, for example after a reload of the page.
    """

    def __repr__(self) -> str:
        if not self:
            return NOTHING
        return "\n".join([*text_table([HEADS, *self._rows()]), self._hint()])

    def _repr_html_(self) -> str:
        if not self:
            return f"<p>{NOTHING}</p>"
        table = html_table(("number", *HEADS[1:]), self._rows(), right=(0, 3, 4, 5, 6), own=(1,))
        return f"{table}<p>{escape(self._hint()).replace('`', '')}</p>"

    def _rows(self) -> list[tuple[str, ...]]:
        return [info.row(place) for place, info in enumerate(self)]

    def _hint(self) -> str:
        shown = [place for place, info in enumerate(self) if info.run is not None]
        if not shown:
            return "none of them can be shown again, because nothing refers to them any more"
        return f"show one again: `nbpar.runs()[{shown[-1]}].show()`"


@entrance
def runs() -> Runs:
    """Return information about the latest maps and pipelines of this process, oldest first.

    Each has a label, state, start time and `show()`, which displays the live card of a run that
    continues, or the summary line of a finished one.  Use it to see a run again after the page
    was reloaded.  A run without references is listed but cannot be shown.
    """
    return Runs(RunInfo(known) for known in list(begun))


def _clock(at: float) -> str:
    """Return a time of day, with the date when that was not today."""
    form = "%H:%M:%S" if time.localtime(at)[:3] == time.localtime()[:3] else "%Y-%m-%d %H:%M"
    return time.strftime(form, time.localtime(at))
