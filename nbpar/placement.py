"""Find the workers that a pool asks for."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

from nbpar.backends.base import Backend
from nbpar.backends.serial import SerialBackend
from nbpar.backends.threads import ThreadsBackend
from nbpar.cluster.cluster import Cluster
from nbpar.cluster.directory import create_directory, hold, remove_directory
from nbpar.cluster.early_import import import_what_parses
from nbpar.errors import ClusterError, PoolClosedError
from nbpar.printing import DirectRecorder

Retire = Callable[[list[str], Callable[[str], None]], None]
"""Lets workers go, each when it is through with what it runs; the second argument is called for each."""


class Place:
    """Where a pool's workers are."""

    resizable = False
    """Whether there may be more or fewer of them."""

    same_host = False
    """Whether all workers are processes of this host, and always will be."""

    renew: Callable[[str], None] | None = None
    """Puts a new worker in the place of one that has left; None where that cannot be done."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def describe(self) -> list[dict[str, object]]:
        """Facts of each worker: `worker` (its name), `host`, `pid`, ..."""
        return self.backend.describe()

    def expecting(self) -> bool:
        """Whether workers are on their way."""
        return False

    def problem(self) -> str:
        """Why no worker will ever come again; "" when all is well."""
        return ""

    def resize(self, workers: int, retire: Retire) -> None:  # noqa: ARG002
        """Have so many workers from now on; those that are too many finish what they run."""
        raise ClusterError("this pool cannot be resized: its workers belong to somebody else")

    def close(self) -> None:
        """Free what was made for this pool alone, when its backend is closed."""


class ThreadsPlace(Place):
    """Threads of this process."""

    resizable = True

    def __init__(self, workers: int) -> None:
        self._threads = ThreadsBackend(workers)
        super().__init__(self._threads)

    def resize(self, workers: int, retire: Retire) -> None:
        self._threads.resize(workers)
        retire([str(facts["worker"]) for facts in self._threads.describe()][workers:], lambda _: None)


class EnginesPlace(Place):
    """Engines of one of our clusters, which tells of deaths and of engines to come."""

    resizable = True

    def __init__(self, cluster: Cluster, path: str, *, owned: bool) -> None:
        from nbpar.backends.engines import EnginesBackend

        backend = EnginesBackend(cluster.client, cluster.directory if path == "auto" else None)
        backend.explains_deaths = True
        backend.killer = cluster.kill
        super().__init__(backend)
        self.same_host = cluster.forked and path == "auto"
        self._cluster = cluster
        self._owned = owned
        self._renewing = threading.Lock()
        self._renewals = 0
        """Engines that are on their way in the place of others."""

        self._forget = [cluster.on_death(backend.note_death), cluster.on_join(lambda _: backend.wake())]

    def expecting(self) -> bool:
        cluster = self._cluster
        return cluster.running and not cluster.problem and (cluster.coming > 0 or self._renewals > 0)

    def problem(self) -> str:
        return "" if self._cluster.running else self._cluster.problem or "its cluster was stopped"

    def describe(self) -> list[dict[str, object]]:
        known = {f"engine {engine.id}": engine for engine in self._cluster.engines}
        return [
            {"host": known[name].host, "pid": known[name].pid, **facts} if name in known else facts
            for facts in self.backend.describe()
            if (name := str(facts["worker"]))
        ]

    def resize(self, workers: int, retire: Retire) -> None:
        too_many = self._cluster.engines[workers:]
        if not too_many:
            self._cluster.resize(workers)
            return
        uuids = {f"engine {engine.id}": engine.uuid for engine in too_many}
        retire(list(uuids), lambda worker: self._remove(uuids[worker]))

    def close(self) -> None:
        for end in self._forget:
            end()
        if self._owned:
            self._cluster.stop()

    def renew(self, worker: str) -> None:
        """Put a new engine in the place of one whose loop has ended; returns at once."""
        self._renewals += 1
        threading.Thread(target=self._replace, args=(worker,), name="nbpar renew", daemon=True).start()

    def _replace(self, worker: str) -> None:
        cluster = self._cluster
        try:
            with self._renewing:  # one by one: each changes how many engines there are meant to be
                uuids = [engine.uuid for engine in cluster.engines if f"engine {engine.id}" == worker]
                wanted = cluster.n
                if uuids:  # else it has died, and the cluster replaces it by itself
                    cluster.remove(uuids)
                    cluster.resize(wanted)
        except ClusterError as error:
            if cluster.running:  # else it was stopped meanwhile
                logging.getLogger("nbpar").warning("%s was not replaced: %s", worker, error)
        finally:
            self._renewals -= 1
            self.backend.wake()

    def _remove(self, uuid: str) -> None:
        """Remove an engine without keeping whoever tells us waiting."""
        threading.Thread(
            target=self._cluster.remove, args=([uuid],), name="nbpar remove", daemon=True
        ).start()


class JoinedPlace(Place):
    """Engines of a cluster that somebody else has."""

    def __init__(self, cluster: Any, path: str) -> None:
        from nbpar.backends.engines import EnginesBackend
        from nbpar.cluster.join import connect

        self._client, self._owned = connect(cluster)
        self._directory = create_directory() if path == "auto" else None
        self._held = None if self._directory is None else hold(self._directory)
        super().__init__(EnginesBackend(self._client, self._directory))

    def close(self) -> None:
        if self._owned:
            self._client.close()
        if self._directory is not None and self._held is not None:
            remove_directory(self._directory)
            os.close(self._held)
            self._held = None


def place_in_process(kind: str, workers: int) -> Place:
    """Return workers in this process: "serial" or "threads"."""
    return Place(SerialBackend(DirectRecorder)) if kind == "serial" else ThreadsPlace(workers)


def place_on_engines(workers: int, cluster: Any, *, path: str) -> Place:
    """Return workers on engines: of a cluster that runs, or of one that is started for this pool."""
    if cluster is None:
        return EnginesPlace(Cluster(workers).start(), path, owned=True)
    if isinstance(cluster, Cluster):
        return EnginesPlace(cluster.start(), path, owned=False)
    return JoinedPlace(cluster, path)


class Pending:
    """A place that is being made; `threaded` makes it in a thread, so that making a pool returns at once."""

    def __init__(self, make: Callable[[], Place], *, threaded: bool) -> None:
        self._make = make
        self._place: Place | None = None
        self._error: BaseException | None = None
        self._over = threading.Event()
        if threaded:
            import_what_parses()
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
            raise type(self._error)(*self._error.args) from self._error.__cause__
        assert self._place is not None
        return self._place

    @property
    def failed(self) -> bool:
        """Whether it could not be made."""
        return self._over.is_set() and self._error is not None

    def discard(self) -> None:
        """Close the place, also one that is still being made.  May be called twice."""
        self._over.wait()
        place, self._place = self._place, None
        self._error = self._error or PoolClosedError()
        if place is not None:
            place.backend.close()
            place.close()

    def _run(self) -> None:
        try:
            self._place = self._make()
        except BaseException as error:  # noqa: BLE001 (raised where somebody waits)
            self._error = error
        self._over.set()
