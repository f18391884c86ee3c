"""A bar in a terminal, or a line now and then where nobody watches: tqdm."""

from __future__ import annotations

from typing import Any, TextIO

from nbpar.core.progress import Snapshot
from nbpar.views import wording
from nbpar.views.base import Look

DELAY = 0.5
"""Seconds that a run may take without anything being printed."""

LIVE = 0.1
"""Seconds between two states in a terminal."""

SELDOM = 10.0
"""Seconds between two lines where the output is a file or a pipe."""


class Text:
    """Counts items as they are done, on standard error.

    A run that is over before `delay` prints nothing.
    """

    def __init__(
        self,
        *,
        label: str,
        total: int | None,
        file: TextIO | None = None,
        delay: float = DELAY,
        interval: float | None = None,
    ) -> None:
        import sys

        from tqdm.std import tqdm

        file = file if file is not None else sys.stderr
        if interval is None:
            interval = LIVE if _watched(file) else SELDOM
        # without tqdm's own thread, which refreshes bars that nobody updates; `show` comes often enough
        bar = type("Bar", (tqdm,), {"monitor_interval": 0})
        self._bar: Any = bar(
            total=total, desc=label or None, unit=" items", file=file, delay=delay, mininterval=interval,
            maxinterval=max(interval, SELDOM), miniters=0, smoothing=0.1, dynamic_ncols=True,
        )  # fmt: skip
        self._closed = False

    def show(self, look: Look) -> None:
        """Show how many items are done, and what went wrong."""
        snapshot = look()
        self._bar.set_postfix_str(postfix(snapshot), refresh=False)
        self._bar.update(snapshot.done - self._bar.n)

    def close(self, look: Look) -> None:
        """Leave the true final state.  May be called twice."""
        if self._closed:
            return
        self._closed = True
        snapshot = look()
        self._bar.n = snapshot.done
        self._bar.set_postfix_str(postfix(snapshot), refresh=False)
        self._bar.close()


def postfix(snapshot: Snapshot) -> str:
    """Return what a bar cannot show: `2 failed, 1 retried, 1 worker lost, paused`.

    Of a pipeline that is under way also how many items wait for which stage: `queues: tag 24, write 0`.
    """
    parts = []
    if snapshot.failed:
        parts.append(f"{snapshot.failed} failed")
    if snapshot.retried:
        parts.append(f"{snapshot.retried} retried")
    if snapshot.lost_workers:
        parts.append(f"{wording.plural(snapshot.lost_workers, 'worker')} lost")
    if snapshot.state in ("waiting", "paused", "stopped", "failed"):
        parts.append("waiting for workers" if snapshot.state == "waiting" else snapshot.state)
    if snapshot.known:
        parts.append(f"{snapshot.known} from the journal")
    if snapshot.note:
        parts.append(snapshot.note)
    if len(snapshot.stages) > 1 and not snapshot.over:
        queues = (f"{stage.name} {wording.count(stage.waiting)}" for stage in snapshot.stages[1:])
        parts.append(f"queues: {', '.join(queues)}")
    return ", ".join(parts)


def _watched(file: TextIO) -> bool:
    """Whether someone sees the file change: a terminal, or a notebook's cell."""
    isatty = getattr(file, "isatty", None)
    return bool(isatty and isatty()) or type(file).__module__.startswith("ipykernel")
