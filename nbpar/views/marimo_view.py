"""A run in a marimo notebook: marimo's progress bar, then a lasting summary.

The value of a cell replaces its earlier output, so the summary line is printed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from nbpar.core import text as wording
from nbpar.core.snapshot import Snapshot
from nbpar.views import summary
from nbpar.views.base import Gain, Look, unknown_gain
from nbpar.views.text import postfix

PATIENCE = 0.3
"""Seconds after which a run gets a bar."""


class MarimoView:
    """A run under a cell of marimo; called from the cell's thread.

    Args:
        label: the run's label.
        total: its number of items; None if unknown.
        gain: returns a run's speed-up over one worker; None if unknown.
        clock: returns seconds.
    """

    def __init__(
        self,
        *,
        label: str,
        total: int | None,
        gain: Gain = unknown_gain,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label, self._total, self._gain, self._clock = label or "map", total, gain, clock
        self._from = clock() + PATIENCE
        self._shown = ExitStack()
        self._bar: Any = None
        self._counted = 0
        self._closed = False

    def show(self, look: Look) -> None:
        """Update the bar."""
        if self._clock() < self._from:
            return
        if self._bar is None:
            self._bar = self._shown.enter_context(self._new_bar())
        snapshot = look()
        more = {} if self._total is None else {"increment": snapshot.done - self._counted}
        self._counted = snapshot.done
        self._bar.update(**more, subtitle=_subtitle(snapshot))

    def close(self, look: Look) -> None:
        """Remove the bar and print the summary line.  Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._shown.close()
        snapshot = look()
        sys.stdout.write(summary.ended_text(self._label, snapshot, self._gain(snapshot)) + "\n")

    def _new_bar(self) -> Any:
        status = sys.modules["marimo"].status
        if self._total is None:
            return status.spinner(title=self._label, remove_on_exit=True)
        return status.progress_bar(title=self._label, total=self._total, remove_on_exit=True)


def _subtitle(snapshot: Snapshot) -> str:
    of = "" if snapshot.total is None else f" of {wording.count(snapshot.total)}"
    return ", ".join(filter(None, [f"{wording.count(snapshot.done)}{of} done", postfix(snapshot)]))
