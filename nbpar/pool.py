"""A pool of workers: how they come, stay warm, and go."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nbpar.calls import Calls
from nbpar.care import WorkerCare
from nbpar.cluster.limits import usable_cpus
from nbpar.core.words import BACKENDS, PROGRESS, check_word
from nbpar.errors import PoolClosedError
from nbpar.launch import Launcher
from nbpar.options import at_least
from nbpar.placement import Pending, Place, place_in_process, place_on_engines
from nbpar.worker.inside import inside_item

if TYPE_CHECKING:
    from typing_extensions import Self


class Pool(Calls):
    """Workers that stay warm from map to map.

    Inside an item that a worker runs, every pool works serially, so nothing can wait for itself.

    Args:
        workers: how many; by default the CPUs that this process may use.
        backend: "engines" (processes of an ipyparallel cluster), "threads" of this process, or "serial":
            the caller's own thread, where breakpoints work.
        cluster: an ipyparallel `Cluster` or `Client` that runs, a profile's name, or the path of a connection
            file; without it a cluster is started for this pool and stopped with it.
        path: "auto", or "controller" to send everything through the controller also on this host.
        initializer: called with `initargs` once on every worker before anything else.
        progress: what maps of this pool show: "auto", "widget", "text" or "none".
        max_items_per_worker: renew an engine when it has been given so many items.
        max_worker_memory: renew an engine, between two items, when it holds more bytes.
        min_free_memory: begin no more items while fewer bytes are free on this machine, but for one chunk
            at a time; below 1 a share of its memory, None for no such guard.

    A cluster is started in the background; the first call waits for it, or `wait()`.

    Raises:
        TypeError, ValueError: an argument does not do; the message says what does.
        ClusterError: from the first call: the cluster cannot be started or joined.

    Example:
        >>> with Pool(2) as pool:
        ...     pool.map(abs, [-1, 2])
        [1, 2]
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        backend: str = "engines",
        cluster: Any = None,
        path: str = "auto",
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        progress: str = "auto",
        max_items_per_worker: int | None = None,
        max_worker_memory: int | None = None,
        min_free_memory: float | str | None = "auto",
    ) -> None:
        number = usable_cpus() if workers is None else _number(workers)
        check_word("backend", backend, BACKENDS)
        check_word("path", path, ("auto", "controller"))
        check_word("progress", progress, PROGRESS)
        self.backend = "serial" if inside_item() else backend
        care = WorkerCare(max_items_per_worker, max_worker_memory, min_free_memory)
        care.refuse_without_engines(backend)
        self._care = care if self.backend == backend else WorkerCare()
        self.progress = progress
        self._initializer = None if initializer is None else (initializer, tuple(initargs))
        self._lock = threading.Lock()
        self._launcher_or_none: Launcher | None = None
        self._closed = False
        self._size = 1 if self.backend == "serial" else number
        self._joined = cluster is not None and self.backend == "engines"
        self._reopen = partial(self._open, cluster, path)
        self._pending = self._reopen(number)
        _remember(self)

    # ---- channels

    @property
    def gateways(self) -> Any:
        """A list of one `Gateway` for each worker, for code that talks while it runs."""
        return import_module("nbpar.channels.gateway").gateways_of(self)

    def remote_exec(self, source: Any, /, **options: Any) -> Any:
        """Run the same code on every worker and return the channels to it as one `MultiChannel`.

        `options` are those of `Gateway.remote_exec`.
        """
        return import_module("nbpar.channels.multichannel").exec_on_all(self.gateways, source, options)

    # ---- life

    @property
    def workers(self) -> list[dict[str, Any]]:
        """What is known of each worker: `worker`, `host`, `pid`, and `runs` while it runs something."""
        launcher = self._launcher_or_none
        running = launcher.dispatcher.running if launcher is not None else {}
        return [
            {**facts, "runs": running[name]} if (name := str(facts["worker"])) in running else facts
            for facts in self._place.describe()
        ]

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def failed(self) -> bool:
        """Whether its workers could not be started."""
        return self._pending.failed

    @property
    def broken(self) -> bool:
        """Whether its cluster is gone; the next map starts a new one."""
        return bool(self._place.problem())

    @property
    def size(self) -> int:
        """How many workers were asked for; of a cluster that was joined, how many engines it has."""
        return len(self._place.describe()) if self._joined else self._size

    def resize(self, workers: int) -> None:
        """Have so many workers from now on, also while runs are under way.

        Those that are too many finish the item they run; what waits for them goes to others.

        Raises:
            ClusterError: the pool has joined somebody else's cluster.
        """
        number = _number(workers)
        if self.backend == "serial":
            raise ValueError("a serial pool has one worker; it cannot be resized")
        self._place.resize(number, self.launcher.dispatcher.retire)
        self._size = number

    def restart(self) -> None:
        """End the workers and start as many afresh, with nothing of what they had imported or remembered."""
        with self._lock:
            self._discard()
            self._launcher_or_none = None
            self._pending = self._reopen(self._size)

    def wait(self) -> Pool:
        """Wait until the workers can be used; a cluster that is being started takes a moment."""
        _ = self._place
        return self

    def close(self) -> None:
        """Stop what runs, let the workers go, stop a cluster that was started for this pool.

        May be called twice.
        """
        with self._lock:
            closed, self._closed = self._closed, True
        if closed:
            return
        _live.discard(self)
        self._discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = " (closed)" if self._closed else ""
        if self._joined:
            return f"<nbpar.Pool: the engines of a cluster{state}>"
        where = {"engines": "engines", "threads": "threads", "serial": "the caller's thread"}[self.backend]
        return f"<nbpar.Pool: {self._size} on {where}{state}>"

    # ---- inside

    def _open(self, cluster: Any, path: str, number: int) -> Pending:
        if self.backend == "engines":
            return Pending(lambda: place_on_engines(number, cluster, path=path), threaded=True)
        if cluster is not None:
            raise ValueError(f'cluster= needs backend="engines", not {self.backend!r}')
        return Pending(lambda: place_in_process(self.backend, number), threaded=False)

    @property
    def _place(self) -> Place:
        if self._closed:
            raise PoolClosedError
        return self._pending.get()

    def _discard(self) -> None:
        """Let the workers go and what was made for them."""
        if self._launcher_or_none is not None:
            self._launcher_or_none.dispatcher.close()
        self._pending.discard()

    def _leave_to_parent(self) -> None:
        """Be closed in a fork of this process, where its threads are not and its workers are the parent's."""
        self._closed = True
        if self._launcher_or_none is not None:
            self._launcher_or_none.dispatcher.lines.leave("this process is a fork; make a pool here")

    @property
    def launcher(self) -> Launcher:
        """Where runs on these workers begin: for nbpar's own use."""
        place = self._place
        if place.backend.in_process and inside_item() and self._in_use:
            return Launcher(place_in_process("serial", 1), None)
        with self._lock:
            if place.problem():  # our cluster broke, so a new one takes its place
                self._discard()
                self._launcher_or_none = None
                self._pending = self._reopen(self._size)
                place = self._pending.get()
            if self._launcher_or_none is None:
                self._launcher_or_none = Launcher(place, self._initializer, self._care)
            return self._launcher_or_none

    @property
    def _in_use(self) -> bool:
        """Whether the item that asks may be one of ours, which must not wait for our workers."""
        launcher = self._launcher_or_none
        return launcher is not None and bool(launcher.dispatcher.running)

    @property
    def _resize_by(self) -> Callable[[int], None] | None:
        """Add or take away workers; None where that cannot be done."""
        if not self._place.resizable:
            return None
        return lambda more: self.resize(max(1, self.size + more))


def _number(workers: Any) -> int:
    return at_least(1, "workers", workers, hint='; backend="serial" runs in this thread')


_live: weakref.WeakSet[Pool] = weakref.WeakSet()


def _remember(pool: Pool) -> None:
    """See to it that the pool is closed when the interpreter ends."""
    if not _live:
        atexit.unregister(_close_all)
        atexit.register(_close_all)
        _watch_forks()
    _live.add(pool)


def _close_all() -> None:
    for pool in list(_live):
        pool.close()


@cache
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_leave_all)


def _leave_all() -> None:
    for pool in list(_live):
        if pool.backend != "serial":
            pool._leave_to_parent()  # noqa: SLF001 (of our own kind)
    _live.clear()
