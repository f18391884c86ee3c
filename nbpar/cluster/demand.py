"""The number of engines as the work demands it: start those that are missing, end those without work."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from nbpar.cluster.client import checked_count
from nbpar.cluster.state import ClusterState
from nbpar.core.checks import check_seconds
from nbpar.errors import ClusterError

LOOK = 1.0
"""Seconds between two looks for work."""


@dataclass
class Bounds:
    """The limits between which the number of engines follows the work."""

    least: int
    most: int
    idle: float
    """Seconds without work after which there are `least`."""

    worked: float = field(default_factory=time.monotonic)
    """When there was work last."""


class DemandState(ClusterState):
    """The part of a cluster that adds engines when there is work."""

    _bounds: Bounds | None = None

    def adapt(self, minimum: int, maximum: int, *, idle: float = 60.0) -> None:
        """Let the number of engines follow the work, from now on.

        While a pool has work there are `maximum` engines, as far as they can be had, and `minimum` after
        some time without.  Engines that compute for any client of this process are never ended.

        Args:
            minimum: number of engines without work, from 0.
            maximum: number of engines with work.
            idle: seconds without work after which engines are ended.
        """
        least = 0 if minimum == 0 and not isinstance(minimum, bool) else checked_count(minimum)
        most = checked_count(maximum)
        if least > most:
            raise ValueError(f"the maximum of engines must be at least the minimum, {least}, was {most}")
        if (each := self._settings.per_worker) is not None:
            each.check(most)
        first = self._bounds is None
        self._bounds = Bounds(least, most, check_seconds("idle", idle))
        if first:
            watch = threading.Thread(
                target=_watch, args=(weakref.ref(self),), name="nbpar adapt", daemon=True
            )
            watch.start()

    def remove(self, uuids: Sequence[str]) -> None:
        """End certain engines without replacing them."""
        raise NotImplementedError

    def want(self, *, begins: bool = False) -> None:
        """There is work: start engines that are missing because there was none; returns at once.

        With the work that `begins` also those whose jobs were cancelled.
        """
        room, bounds = self._room, self._bounds
        if room is None:
            return
        grows = False
        if bounds is not None:
            bounds.worked = time.monotonic()
            self._n = max(self._n, bounds.most)
            grows = not self.problem and len(self.engines) + room.coming() < self._n
        if grows or room.lapsed() or (begins and self.short and self._queued):
            with suppress(ClusterError):  # it is broken or stopped, which is reported elsewhere
                self.mend()

    def mend(self) -> None:
        """Start engines again that it gave up, because they ended before they came; returns at once."""
        if self._life.acquire(blocking=False):  # who has it starts or stops engines anyway
            try:
                room, members = self._running()
                room.add(max(0, self._n - len(members.ids()) - room.coming()))
            finally:
                self._life.release()

    def end_idle(self) -> None:
        """End the engines above the minimum if there has been no work for long enough.

        Raises:
            ClusterError: the cluster does not run.
        """
        bounds = self._bounds
        if bounds is None or self._n <= bounds.least:
            return
        with self._life:
            room, members = self._running()
            if self._client.outstanding:  # an engine that a pool or a view uses has a request
                bounds.worked = time.monotonic()
            if time.monotonic() - bounds.worked < bounds.idle:
                return
            surplus = [engine.uuid for engine in self.engines[bounds.least :]]
            self.remove(surplus)
            self._n = bounds.least
            room.withdraw(max(0, len(members.ids()) + room.coming() - bounds.least))


def _watch(reference: weakref.ref[DemandState]) -> None:
    """Look at a cluster until it is dropped."""
    while True:
        time.sleep(LOOK)
        cluster = reference()
        if cluster is None:
            return
        with suppress(ClusterError):  # it was stopped meanwhile
            cluster.end_idle()
        del cluster
