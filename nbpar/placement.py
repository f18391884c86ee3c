"""Find the workers that a pool asks for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from nbpar.backends.base import Backend
from nbpar.backends.serial import SerialBackend
from nbpar.backends.threads import ThreadsBackend
from nbpar.cluster.cluster import Cluster
from nbpar.errors import PoolClosedError


@dataclass(frozen=True)
class Place:
    """Where a pool's workers are."""

    backend: Backend
    close: Callable[[], None] = lambda: None
    """Free what was made for this pool alone, when its backend is closed."""

    expecting: Callable[[], bool] = lambda: False
    """Whether workers are on their way."""

    problem: Callable[[], str] = str
    """Why no worker will ever come again; "" when all is well."""


def place_in_process(kind: str, workers: int) -> Place:
    """Return workers in this process: "serial" or "threads"."""
    return Place(SerialBackend() if kind == "serial" else ThreadsBackend(workers))


def place_on_engines(workers: int, cluster: Any, *, path: str) -> Place:
    """Return workers on engines: of a cluster that runs, or of one that is started for this pool."""
    if cluster is None:
        own = Cluster(workers)
        own.start()
        return _place_on(own, path, close=own.stop)
    if isinstance(cluster, Cluster):
        cluster.start()
        return _place_on(cluster, path, close=lambda: None)
    from nbpar.backends.engines import EnginesBackend
    from nbpar.cluster.join import connect

    client, owned = connect(cluster)
    return Place(EnginesBackend(client, path=path), close=client.close if owned else lambda: None)


def _place_on(cluster: Cluster, path: str, *, close: Callable[[], None]) -> Place:
    """Return the engines of one of our clusters, which tells of deaths and of engines to come."""
    from nbpar.backends.engines import EnginesBackend

    backend = EnginesBackend(cluster.client, path=path)
    backend.explains_deaths = True
    backend.killer = cluster.kill
    forget = [cluster.on_death(backend.note_death), cluster.on_join(lambda _: backend.wake())]

    def leave() -> None:
        for end in forget:
            end()
        close()

    return Place(
        backend,
        close=leave,
        expecting=partial(_is_healing, cluster),
        problem=lambda: "" if cluster.running else cluster.problem,
    )


def _is_healing(cluster: Cluster) -> bool:
    """Whether engines are on their way."""
    return cluster.running and not cluster.problem and len(cluster.engines) < cluster.n


class Pending:
    """A place that is being made; `threaded` makes it in a thread, so that making a pool returns at once."""

    def __init__(self, make: Callable[[], Place], *, threaded: bool) -> None:
        self._make = make
        self._place: Place | None = None
        self._error: BaseException | None = None
        self._over = threading.Event()
        if threaded:
            threading.Thread(target=self._run, name="nbpar start", daemon=True).start()
        else:
            self._run()

    def get(self) -> Place:
        """Wait for the place.

        Raises:
            ClusterError: it could not be made.
        """
        while not self._over.wait(0.5):
            pass  # so that Ctrl-C gets through everywhere
        if self._error is not None:
            raise self._error
        assert self._place is not None
        return self._place

    def discard(self) -> None:
        """Close the place, also one that is still being made.  May be called twice."""
        self._over.wait()
        place, self._place = self._place, None
        self._error = self._error or PoolClosedError(
            "the pool is closed; make a new one with nbpar.Pool(...)"
        )
        if place is not None:
            place.backend.close()
            place.close()

    def _run(self) -> None:
        try:
            self._place = self._make()
        except BaseException as error:  # noqa: BLE001 (raised where somebody waits)
            self._error = error
        self._over.set()
