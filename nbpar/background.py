"""Show a run that nobody waits for: a thread of its own keeps its views fresh until it is over."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextvars import copy_context

from nbpar.run import REFRESH, Run
from nbpar.views.base import Controls, View
from nbpar.views.choose import choose
from nbpar.views.kernel import this_kernel
from nbpar.worker.inside import inside_item


class BackgroundViews:
    """The views of one run.  They never print: a finished run's report takes the place of its card.

    Args:
        progress: what the user wants to see, where nothing else is said.
        resize: adds or takes away workers; None where that cannot be done.
    """

    def __init__(
        self, run: Run, *, progress: str, total: int | None, resize: Callable[[int], None] | None
    ) -> None:
        self._run = run
        self._progress = progress
        self._total = total
        self._resize = resize
        self.wanted = progress in ("auto", "widget") and this_kernel() is not None and not inside_item()
        """Whether there is somebody to show it to, who has not seen it yet: a notebook's cell."""

        self._views: list[View] = []
        self._begun = self._over = False
        self._lock = threading.Lock()  # for the three above

    def show(self) -> None:
        """Show the run where this is called: under the cell that runs, or on standard error."""
        if self._progress == "none" or inside_item():
            return
        controls = Controls(self._run.request_stop, self._run.pause, self._run.resume, self._resize)
        over, label = self._run.done, self._run.label
        view = choose(self._progress, controls, label=label, total=self._total, background=not over)
        if over:
            view.close(lambda: self._run.snapshot)
        else:
            self._add(view)

    def _add(self, view: View) -> None:
        with self._lock:
            over = self._over
            if not over:
                self._views.append(view)
            begin, self._begun = not (self._begun or over), True
        if over:
            view.close(lambda: self._run.snapshot)
        elif begin:
            refresh = copy_context().run
            threading.Thread(target=refresh, args=(self._refresh,), name="nbpar view", daemon=True).start()

    def _refresh(self) -> None:
        while not self._run.is_over_within(REFRESH):
            self._tell(lambda view: view.show(lambda: self._run.snapshot))
        with self._lock:
            self._over = True
        self._tell(lambda view: view.close(lambda: self._run.snapshot))

    def _tell(self, tell: Callable[[View], None]) -> None:
        """Show or close every view; one that fails costs no other."""
        for view in list(self._views):
            self._tell_one(view, tell)

    def _tell_one(self, view: View, tell: Callable[[View], None]) -> None:
        try:
            tell(view)
        except Exception:
            logging.getLogger("nbpar").warning("a view of %s is given up", self._run.label, exc_info=True)
            self._views.remove(view)
