"""Start or join the workers of a pool."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from nbpar.backends.base import Backend
from nbpar.cluster.base import Lifetime, surplus
from nbpar.cluster.cluster import Cluster
from nbpar.cluster.directory import RuntimeDirectory
from nbpar.cluster.fork_server.preload import import_what_parses
from nbpar.cluster.per_worker import PerWorker
from nbpar.errors import ClusterError, PoolClosedError
from nbpar.host.error_log import call_safely
from nbpar.host.interpreter_exit import interpreter
from nbpar.host.machine import machine
from nbpar.host.memory import fits
from nbpar.host.shell import this_shell
from nbpar.host.world import World
from nbpar.pool.ahead import follow
from nbpar.run.completion import Completion

LOOK = 1.0
"""Seconds between two attempts to reach a controller while no engine is ready."""

Retire = Callable[[list[str], Callable[[str], None]], None]
"""Releases workers, each after its current item; calls back for each."""


class Placement:
    """Where a pool's workers come from."""

    resizable = False
    """Whether their number can be changed."""

    owned = True
    """Whether the workers are this pool's alone, and end with it."""

    same_host = False
    """Whether all workers are processes of this host, permanently."""

    renew: Callable[[str], None] | None = None
    """Replaces a worker that has left; None if that is impossible."""

    lifetime: Callable[[str], Lifetime | None] | None = None
    """Returns when a worker ends by itself; None if none does."""

    def __init__(self, backend: Backend, world: World | None = None) -> None:
        self.backend = backend
        self.world = world or World()
        """Environment of this process when the workers started."""

    def describe(self) -> list[dict[str, object]]:
        """Facts of each worker: `worker` (its name), `host`, `pid`, ..."""
        return self.backend.describe()

    def locate(self) -> None:
        """Find out where workers are that have not been used yet; this may take a moment, once for each."""

    def expecting(self) -> bool:
        """Whether workers are starting."""
        return False

    def awaited(self) -> str:
        """How many workers are there, and what the others wait for; "" for nothing."""
        return ""

    def problem(self) -> str:
        """The reason why no more workers will come; "" if there is none."""
        return ""

    def used_by_others(self) -> bool:
        """Whether the user's code has run on the workers without the pool, and may have kept values there."""
        return False

    def mend(self) -> None:
        """Retry to get workers that were given up; returns at once."""

    def resize(self, workers: int, retire: Retire) -> None:  # noqa: ARG002
        """Change the number of workers; surplus workers finish their current items."""
        raise ClusterError("this pool cannot be resized: it joined a cluster that it does not own")

    def close(self) -> None:
        """Free the resources of this pool alone, when its backend is closed."""


class ThreadsPlacement(Placement):
    """Threads of this process."""

    resizable = True

    def __init__(self, workers: int) -> None:
        from nbpar.backends.threads import ThreadsBackend

        self._threads = ThreadsBackend(workers)
        super().__init__(self._threads)

    def resize(self, workers: int, retire: Retire) -> None:
        self._threads.resize(workers)
        retire([str(facts["worker"]) for facts in self._threads.describe()][workers:], lambda _: None)


class EnginesPlacement(Placement):
    """Engines of one of our clusters, which reports deaths and starting engines."""

    resizable = True

    def __init__(self, cluster: Cluster, path: str, *, owned: bool) -> None:
        from nbpar.backends.engines.backend import EnginesBackend
        from nbpar.backends.engines.care import ClusterCare

        care = ClusterCare(
            cluster.kill, cluster.heals, cluster.on_this_host, True, cluster.interrupt, cluster.want
        )
        directory = cluster.directory if path == "auto" else None
        self._client = cluster.own_client
        self._engines = backend = EnginesBackend(self._client, directory, care=care, fits=fits)
        super().__init__(backend, cluster.world)
        self.same_host = cluster.forked and path == "auto"
        self._cluster = cluster
        self.owned = owned
        self._resizing = threading.Lock()
        self._leaving: set[str] = set()
        """Engines to be removed after their current items."""

        self._renewals = 0
        """Number of starting engines that replace others."""

        self._closed = False

        if cluster.limited:
            self.lifetime = self._lifetime

        cluster.is_kept |= owned
        if (shell := this_shell()) is not None and cluster.on_this_host:
            follow(self, shell)
        self._forget = [cluster.on_death(backend.note_death), cluster.on_join(lambda _: backend.wake())]

    def expecting(self) -> bool:
        cluster = self._cluster
        if not cluster.running or cluster.problem or self._is_of_before:
            return False
        if cluster.coming > 0 or self._renewals > 0:
            return True
        # the pool may know of a lost engine before the cluster does
        return cluster.heals and (cluster.short or self._engines.mourning())

    @property
    def _is_of_before(self) -> bool:
        """Whether the cluster was started again, so that nothing here leads to its engines."""
        try:
            return self._cluster.own_client is not self._client
        except ClusterError:  # it does not run
            return False

    def awaited(self) -> str:
        return self._cluster.attendance

    def problem(self) -> str:
        cluster = self._cluster
        if not cluster.running:
            return cluster.problem or "its cluster was stopped"
        if self._is_of_before:
            return "its cluster was restarted"
        if (problem := cluster.problem) and not cluster.engines:
            return problem
        return "" if not (spoiled := self._engines.spoiled()) or self.expecting() else spoiled

    def used_by_others(self) -> bool:
        return self._engines.access.used_by_others

    def mend(self) -> None:
        if self._cluster.problem and self._cluster.running:
            self._cluster.mend()
        self._cluster.want(begins=True)

    def describe(self) -> list[dict[str, object]]:
        known = {engine.worker: engine for engine in self._cluster.engines}
        here = {"machine": machine()} if self._cluster.on_this_host else {}
        return [
            {"host": known[name].host, "pid": known[name].pid, **here, **facts} if name in known else facts
            for facts in self.backend.describe()
            if (name := str(facts["worker"]))
        ]

    def resize(self, workers: int, retire: Retire) -> None:
        with self._resizing:
            engines = self._cluster.engines
            staying = [engine for engine in engines if engine.uuid not in self._leaving]
            leaving = len(engines) - len(staying)
            self._cluster.resize(max(workers, len(staying)) + leaving)  # no others are starting
            uuids = {engine.worker: engine.uuid for engine in surplus(staying, workers)}
            self._leaving.update(uuids.values())
        if uuids:
            retire(list(uuids), lambda worker: self._remove(uuids[worker]))

    # ---- while no loop runs

    @property
    def idle(self) -> bool:
        """Whether no engine has a loop of this pool.  Thread-safe."""
        return not self._closed and self._cluster.running and not self._engines.any_ready()

    def processes(self) -> dict[str, int]:
        """Return the process of each engine, by its identity."""
        return {engine.uuid: engine.pid for engine in self._cluster.engines if engine.pid is not None}

    def run_idle(self, uuid: str, program: str, settings: dict[str, Any]) -> Any:
        """Run a program in an engine that has no loop; return what is done when it has ended.

        Raises:
            LookupError: the engine is gone.
        """
        number = next(engine.id for engine in self._cluster.engines if engine.uuid == uuid)
        return self._engines.access.enter(number, uuid, program, settings)

    def changed_world(self) -> tuple[Any, ...]:
        """What has changed in this process since the engines were started."""
        return tuple(self.world.changes())

    def close(self) -> None:
        self._closed = True
        for end in self._forget:
            end()
        if self.owned:
            self._cluster.stop()
        # a run that is over still leads here, and would keep a cluster that is dropped elsewhere
        self._cluster = Cluster(1)  # it does not run
        self._engines.forget_owner()

    def renew(self, worker: str) -> None:
        """Replace an engine whose loop has ended; returns at once."""
        self._renewals += 1
        interpreter.start(
            threading.Thread(target=self._replace, args=(worker,), name="nbpar renew", daemon=True)
        )

    def _replace(self, worker: str) -> None:
        cluster = self._cluster
        try:
            uuids = [engine.uuid for engine in cluster.engines if engine.worker == worker]
            if uuids:  # otherwise it has died, and the cluster replaces it
                cluster.replace(uuids)
        except ClusterError as error:
            if cluster.running and not self._closed:  # otherwise it is no longer needed
                logging.getLogger("nbpar").warning("%s was not replaced: %s", worker, error)
        finally:
            self._renewals -= 1
            self.backend.wake()

    def _lifetime(self, worker: str) -> Lifetime | None:
        return self._cluster.lifetime(worker)

    def _remove(self, uuid: str) -> None:
        """Remove an engine without blocking the caller."""

        def remove() -> None:
            with self._resizing, suppress(ClusterError):  # it was stopped meanwhile
                self._cluster.remove([uuid])
                self._leaving.discard(uuid)

        interpreter.start(threading.Thread(target=remove, name="nbpar remove", daemon=True))


class JoinedPlacement(Placement):
    """Engines of a joined cluster, which the pool does not own."""

    owned = False

    def __init__(self, cluster: Any, path: str, unwanted: threading.Event) -> None:
        from nbpar.backends.engines.backend import EnginesBackend
        from nbpar.backends.engines.whereabouts import Whereabouts
        from nbpar.cluster.join import await_its_engines, connect

        self._client, self._owns_client = connect(cluster)
        try:
            await_its_engines(cluster, self._client, unwanted.is_set)
            if unwanted.is_set():
                raise PoolClosedError  # noqa: TRY301 (the client is closed likewise)
        except BaseException:
            if self._owns_client:
                self._client.close()
            raise
        self._runtime = RuntimeDirectory() if path == "auto" else None
        directory = None if self._runtime is None else self._runtime.path
        self._engines = EnginesBackend(self._client, directory, fits=fits)
        self._whereabouts = Whereabouts(self._client)
        self._looked = (0.0, False)
        """When the controller was looked for, and whether it was gone."""

        super().__init__(self._engines)

    def locate(self) -> None:
        if not self._client._closed:  # noqa: SLF001 (not public)
            self._whereabouts.locate(
                str(facts["worker"]) for facts in self.backend.describe() if "pid" not in facts
            )

    def describe(self) -> list[dict[str, object]]:
        return [
            facts if "pid" in facts else {**self._whereabouts.of(str(facts["worker"])), **facts}
            for facts in self.backend.describe()
        ]

    def problem(self) -> str:
        if self._client._closed:  # noqa: SLF001 (not public)
            return "its ipyparallel Client was closed"
        if not self._engines.any_ready() and self._has_ended():
            return "its cluster does not run any more"
        return self._engines.spoiled()

    def _has_ended(self) -> bool:
        """Whether the controller is gone, of which no message tells; tried once a second."""
        at, gone = self._looked
        if gone or time.monotonic() - at < LOOK:
            return gone
        from nbpar.cluster.join import has_ended

        gone = has_ended(self._client)
        self._looked = (time.monotonic(), gone)
        return gone

    def close(self) -> None:
        if self._owns_client:
            self._client.close()
        if self._runtime is not None:
            self._runtime.remove()


def place_in_process(kind: str, workers: int) -> Placement:
    """Return workers in this process: "serial" or "threads"."""
    if kind == "threads":
        return ThreadsPlacement(workers)
    from nbpar.backends.serial import SerialBackend
    from nbpar.run.printing import DirectRecorder

    return Placement(SerialBackend(DirectRecorder))


def place_on_engines(
    workers: int,
    cluster: Any,
    *,
    path: str,
    env: Mapping[str, str] | None = None,
    per_worker: PerWorker | None = None,
    again: bool = False,
    unwanted: threading.Event,
) -> Placement:
    """Return workers on engines: of a running cluster, or of one started for this pool.

    Engines of a cluster that starts are not waited for any more when `unwanted` is set.

    Raises:
        ClusterError: none can be had; or they were had before (`again`) and their cluster was stopped.
    """
    if cluster is None:
        own = Cluster(workers, env=env, per_worker=per_worker)
        streams = path == "auto" and bool(machine())  # only a worker proven to be on this host opens one
        own.direct = own.forked and streams and not in_ipython()
        return EnginesPlacement(own.start(), path, owned=True)
    if isinstance(cluster, Cluster):
        if again and cluster.was_stopped:
            raise ClusterError("the cluster of this pool was stopped; start it again with its `start()`")
        return EnginesPlacement(cluster.start(), path, owned=False)
    if isinstance(cluster, (str, os.PathLike)):
        from nbpar.cluster.join import cluster_of

        if (made := cluster_of(cluster)) is not None:
            return EnginesPlacement(made.start(), path, owned=True)
    return JoinedPlacement(cluster, path, unwanted)


def in_ipython() -> bool:
    """Whether `%px` and its like exist here, which reach the engines of any pool of this process."""
    return this_shell() is not None


class PendingPlacement:
    """A placement in preparation, in a thread if `threaded`, so that `Pool()` returns at once.

    Args:
        make: prepares it; gets `unwanted`, which is set when the placement is not needed any more.
        threaded: whether in a thread of its own.
    """

    def __init__(self, make: Callable[..., Placement], *, threaded: bool) -> None:
        self._make = make
        self._unwanted = threading.Event()
        self._place: Placement | None = None
        self._error: BaseException | None = None
        self._over = Completion("the start of the workers")
        self._told = False
        if threaded:
            import_what_parses()
            threading.Thread(target=self._run, name="nbpar start", daemon=True).start()
        else:
            self._run()

    def get(self) -> Placement:
        """Wait for the placement.

        Raises:
            ClusterError: the cluster could not be started or joined.
        """
        while not self._over.wait(0.5):
            pass  # so that Ctrl-C is handled on all systems
        if self._error is not None:
            self._told = True
            raise type(self._error)(*self._error.args) from self._error.__cause__
        assert self._place is not None
        return self._place

    @property
    def failed(self) -> bool:
        """Whether it failed."""
        return self._over.here and self._error is not None

    @property
    def spent(self) -> bool:
        """Whether it failed and the error was raised to a caller: the next one may retry."""
        return self.failed and self._told

    @property
    def ready(self) -> bool:
        """Whether the placement is there."""
        return self._over.here and self._error is None

    def discard(self) -> None:
        """Close the placement, also while it is prepared.  Idempotent."""
        self._unwanted.set()
        self._over.wait()
        place, self._place = self._place, None
        self._error = self._error or PoolClosedError()
        if place is not None:
            call_safely(place.backend.close, "the way to the workers could not be closed")
            place.close()

    def _run(self) -> None:
        try:
            self._place = self._make(unwanted=self._unwanted)
        except BaseException as error:  # noqa: BLE001 (raised in the waiting thread)
            self._error = error
        self._over.set()()
