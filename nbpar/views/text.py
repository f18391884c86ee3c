"""A run as text on standard error: a bar in a terminal, occasional lines in a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from nbpar.core import text as wording
from nbpar.core.inner_bars import described
from nbpar.core.snapshot import Snapshot
from nbpar.views import summary
from nbpar.views.base import Gain, Look, unknown_gain

DELAY = 0.5
"""Seconds after which a run prints anything."""

LIVE = 0.1
"""Seconds between two updates in a terminal."""

SELDOM = 30.0
"""Seconds between two lines of a log, unless `NBPAR_LOG_INTERVAL` is set."""


class Writable(Protocol):
    """The stream for lines."""

    def write(self, text: str, /) -> object:
        """Write text."""


class Text:
    """Shows the number of finished items on standard error.

    A run shorter than `delay` prints nothing.
    """

    def __init__(
        self,
        *,
        label: str,
        total: int | None,
        file: Any = None,
        delay: float = DELAY,
        interval: float | None = None,
        gain: Gain = unknown_gain,
    ) -> None:
        self._file: Any = file if file is not None else sys.stderr
        self._label, self._delay, self._gain = label, delay, gain
        self._live: _Bar | LogLines
        if _watched(self._file):
            self._live = _Bar(label, total, self._file, delay, LIVE if interval is None else interval)
        else:
            self._live = LogLines(label, self._file, interval=interval)
        self._closed = False

    def show(self, look: Look) -> None:
        """Show progress and problems."""
        self._live.show(look)

    def close(self, look: Look) -> None:
        """Write the summary line.  Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._live.clear()
        snapshot = look()
        if snapshot.elapsed >= self._delay:
            _write_line(self._file, summary.ended_text(self._label, snapshot, self._gain(snapshot)))


class _Bar:
    """A tqdm bar."""

    def __init__(self, label: str, total: int | None, file: Any, delay: float, interval: float) -> None:
        from tqdm.std import tqdm

        # without tqdm's own thread, which refreshes idle bars; `show` is called often enough
        bar = type("Bar", (tqdm,), {"monitor_interval": 0})
        self._bar: Any = bar(
            total=total, desc=label or None, unit=" items", file=file, delay=delay, mininterval=interval,
            maxinterval=10.0, miniters=0, smoothing=0.1, dynamic_ncols=True, leave=False,
        )  # fmt: skip

    def show(self, look: Look) -> None:
        snapshot = look()
        self._bar.set_postfix_str(postfix(snapshot), refresh=False)
        self._bar.update(snapshot.done - self._bar.n)

    def clear(self) -> None:
        self._bar.close()


class LogLines:
    """A line at intervals, for logs: the output of a CI job or of `nohup`.

    Args:
        label: the run's label.
        file: the stream for lines.
        interval: seconds between two lines; by default from `NBPAR_LOG_INTERVAL`.
        clock: returns seconds.
    """

    def __init__(
        self,
        label: str,
        file: Writable,
        *,
        interval: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label, self._file, self._clock = label, file, clock
        self._interval = log_interval() if interval is None else interval
        self._due = clock() + self._interval
        self._written = False

    def show(self, look: Look) -> None:
        """Write a progress line, if one is due."""
        now = self._clock()
        if now >= self._due:
            self._due = now + self._interval
            self._written = True
            _write_line(self._file, progress_text(self._label, look()))

    def clear(self) -> None:
        """Keep the written lines."""

    def end(self, snapshot: Snapshot, gain: float | None) -> None:
        """Write the summary line, if there is a progress line."""
        if self._written:
            _write_line(self._file, summary.ended_text(self._label, snapshot, gain))


def log_interval() -> float:
    """Return the seconds between two lines of a log."""
    try:
        seconds = float(os.environ.get("NBPAR_LOG_INTERVAL", ""))
    except ValueError:
        return SELDOM
    return seconds if seconds > 0 else SELDOM


def progress_text(label: str, snapshot: Snapshot) -> str:
    """Return the progress of a run: `count: 12 of 60 done, 30 s, 0.4 items/s, 2 min left, 1 failed`."""
    of = "" if snapshot.total is None else f" of {wording.count(snapshot.total)}"
    parts = [
        f"{label or 'map'}: {wording.count(snapshot.done)}{of} done",
        wording.seconds(snapshot.elapsed),
        f"{snapshot.rate:.3g} items/s" if snapshot.rate else "",
        "" if snapshot.left is None else f"{wording.seconds(snapshot.left)} left",
        postfix(snapshot),
    ]
    return ", ".join(part for part in parts if part)


def postfix(snapshot: Snapshot) -> str:
    """Return the text after the bar: `2 failed, 1 retried, 1 worker lost, paused`.

    For a running pipeline also the queue of each stage: `queues: tag 24, write 0`.
    """
    parts = []
    if snapshot.bad:
        parts.append(f"{snapshot.bad} failed")
    if snapshot.skipped:
        parts.append(f"{snapshot.skipped} skipped")
    if snapshot.retried:
        parts.append(f"{snapshot.retried} retried")
    if snapshot.lost_workers:
        parts.append(f"{wording.plural(snapshot.lost_workers, 'worker')} lost")
    if (silent := snapshot.silent_workers) and not snapshot.over:
        parts.append(f"{wording.plural(silent, 'worker')} silent")
    if snapshot.state in ("waiting", "paused", "stopped", "failed"):
        parts.append("waiting for workers" if snapshot.state == "waiting" else snapshot.state)
    if snapshot.known:
        parts.append(f"{snapshot.known} from the journal")
    parts += filter(None, [snapshot.note, inner_text(snapshot)])
    if len(snapshot.stages) > 1 and not snapshot.over:
        queues = (f"{stage.name} {wording.count(stage.waiting)}" for stage in snapshot.stages[1:])
        parts.append(f"queues: {', '.join(queues)}")
    return ", ".join(parts)


def inner_text(snapshot: Snapshot) -> str:
    """Return how far the slowest item has come that tells it: `item 17: epoch 3/10`; "" if none does."""
    lanes = [lane for lane in snapshot.lanes if lane.inner] if not snapshot.over else []
    if not lanes:
        return ""
    slowest = min(lanes, key=lambda lane: (lane.since, lane.inner_item))
    return f"item {slowest.inner_item}: {described(slowest.inner)}"


def _watched(file: Any) -> bool:
    """Whether a user watches the file: a terminal, or a notebook's cell."""
    isatty = getattr(file, "isatty", None)
    return bool(isatty and isatty()) or type(file).__module__.startswith("ipykernel")


def _write_line(file: Any, text: str) -> None:
    """Write a line at once; characters not in the file's encoding become question marks."""
    encoding = getattr(file, "encoding", None) or "utf-8"
    file.write(text.encode(encoding, "replace").decode(encoding) + "\n")
    if (flush := getattr(file, "flush", None)) is not None:
        flush()


def log_of_unattended(kernel: Any, label: str) -> LogLines | None:
    """Return the log for a run's progress; None if a user watches the notebook, or there is no log."""
    parent: Any = getattr(kernel, "get_parent", dict)()
    if parent.get("content", {}).get("allow_stdin", True):  # input is allowed, so there is a user
        return None
    descriptor = _descriptor()
    return None if descriptor is None else LogLines(label, _Descriptor(descriptor))


def _descriptor() -> int | None:
    """Return the descriptor of the kernel's own messages.

    The kernel's stream has it if the kernel captures its descriptor 2; otherwise it is that one.
    """
    for stream in (sys.stderr, sys.__stderr__):
        try:
            return stream.fileno()  # type: ignore[union-attr]  # there may be none
        except (AttributeError, OSError, ValueError):
            continue
    return None


class _Descriptor:
    """Writes to a descriptor, bypassing Python's streams."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, text: str, /) -> None:
        os.write(self._descriptor, text.encode("utf-8", "replace"))
