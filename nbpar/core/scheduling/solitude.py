"""Hosts that are kept free for one chunk: its worker ran out of memory, and it is tried with nothing else.

What killed that worker may have been the others' memory, so an item is to blame only if it does it again on
its own.
"""

from __future__ import annotations

from collections.abc import Callable

from nbpar.core.scheduling.needs import Host
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.scheduling.windows import Assignment, Windows


class Solitude:
    """The runs that have such chunks, and the hosts that are kept free for them."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._runs: dict[int, RunState] = {}
        self._kept: dict[Host, RunState] = {}
        """Hosts that get nothing else until they are empty, each with the run whose turn it is then."""

        self.calls: dict[int, Host] = {}
        """The calls that are alone on a host, by number."""

    @property
    def needed(self) -> bool:
        """Whether there is any such chunk, waiting or running."""
        return bool(self._runs or self.calls)

    def add(self, run: RunState) -> None:
        """Note that a run may have such chunks."""
        if run.starved:
            self._runs[run.id] = run

    def remove(self, run: RunState) -> None:
        """Forget a run, which is over."""
        self._runs.pop(run.id, None)

    def keep(self, host: Host, now: float, may: Callable[[RunState], bool]) -> RunState | None:
        """Keep a host free for a run that has such a chunk, and `may` begin it there; return the run."""
        for run in [run for run in self._runs.values() if not run.starved]:
            del self._runs[run.id]
        kept = self._kept.pop(host, None)
        if self.is_taken(host):
            return None
        free = [run for run in self._runs.values() if run not in self._kept.values() and _can_begin(run, now)]
        owner = kept if kept in free else next((run for run in free if may(run)), None)
        if owner is not None:
            self._kept[host] = owner
        return owner

    def is_taken(self, host: Host) -> bool:
        """Whether such a chunk is running on a host."""
        return host in self.calls.values()

    def is_empty(self, host: Host) -> bool:
        """Whether no worker of a host runs anything, as far as they answer."""
        windows = [window for window in self._windows.values() if window.host is host and not window.silent]
        return all(call.superseded for window in windows for call in window.calls.values())

    def began(self, call: Assignment) -> None:
        """Note that such a chunk was sent."""
        host = self._windows[call.worker].host
        self.calls[call.id] = host
        self._kept.pop(host, None)

    def over(self, call: Assignment) -> None:
        """Note that a call is over."""
        self.calls.pop(call.id, None)


def _can_begin(run: RunState, now: float) -> bool:
    return not (run.paused or run.cancelled or (run.gate is not None and run.gate.is_shut(now)))
