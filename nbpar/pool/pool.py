"""A pool of workers: started in the background, kept warm, restarted when lost, closed."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nbpar.cluster.cluster import Cluster
from nbpar.cluster.files import parse_files
from nbpar.cluster.per_worker import PerWorker
from nbpar.core.checks import (
    BACKENDS,
    PROGRESS,
    arguments_of,
    check_function,
    check_word,
    number_of_workers,
)
from nbpar.core.text import plural
from nbpar.dispatch.awaited_files import PoolFiles
from nbpar.errors import ClusterError, NbparError, PoolClosedError
from nbpar.host.error_log import call_safely
from nbpar.host.frames import entrance
from nbpar.host.interpreter_exit import ExitOrder, interpreter
from nbpar.host.janitor import Janitor, users_line
from nbpar.pool.calls import Calls
from nbpar.pool.keeper import Keeper
from nbpar.pool.launch import Launcher, nothing
from nbpar.pool.limits import WorkerLimits
from nbpar.pool.own_engines import check_own_engines, variables_of_engines
from nbpar.pool.placement import PendingPlacement, Placement, in_ipython, place_in_process, place_on_engines
from nbpar.worker.nesting import inside_item

if TYPE_CHECKING:
    from typing_extensions import Self


HANGS = "code that runs when a result is unpickled does not return"


class Pool(Calls):
    """Workers that stay warm from map to map.  Thread-safe.

    Inside an item, every pool works serially, which avoids deadlocks.

    Args:
        workers: their number; by default the CPUs available to this process.
        backend: "engines" (processes of an ipyparallel cluster), "threads" of this process, or "serial":
            the caller's own thread, where breakpoints work.
        cluster: a running ipyparallel `Cluster` or `Client`, a profile's name, or the path of a connection
            file; without it, or for "ssh://host", a cluster is started for this pool and stopped with it.
        path: "auto", or "controller" to send all messages through the controller, also on this host.
        initializer: called with `initargs` once on every worker before anything else.  It may be an
            `async def`, or an async context manager, which is left when the worker is released; items get its
            value by `nbpar.initialized()`.
        progress: default view of maps: "auto", "widget", "text" or "none".
        env: environment variables of the engines, besides those of this process; they stay when
            this process's change.
        gpus: give each engine one device: "auto" for all that this process may use, a number of them, or a
            list of numbers, UUIDs or MIG names.  More workers than devices share them in turn; by default
            there are as many workers as devices.
        per_worker: environment variables of each engine: a list of dicts, or a function of its number, from
            0.  Like its device, an engine's replacement has them, too, before it imports anything.
        files: files and folders that a joined cluster's other hosts get before a run; see `Cluster`.
        max_items_per_worker: replace an engine after this number of items.
        max_worker_memory: replace an engine, between two items, when it holds more bytes.
        min_free_memory: while fewer bytes are free on this machine, run one chunk
            at a time; below 1 a share of its memory; None: no limit.

    A cluster is started in the background; the first call waits for it, or `wait()`.

    A pool that is dropped without `close()` lets its workers go as soon as what was begun on them is over,
    with a ResourceWarning where they were engines.

    Raises:
        TypeError, ValueError: an argument is invalid; the message says what is allowed.
        ClusterError: there is no such cluster; or from the first call: it cannot be started or joined.

    Example:
        >>> with Pool(2) as pool:
        ...     pool.map(abs, [-1, 2])
        [1, 2]
    """

    _closed = True  # until it is made
    _warns = True
    """Whether it is the user's to close."""

    @entrance
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
        env: Mapping[str, str] | None = None,
        gpus: str | int | Sequence[int | str] | None = None,
        per_worker: Sequence[Mapping[str, str]] | Callable[[int], Mapping[str, str]] | None = None,
        files: Sequence[str | os.PathLike[str]] = (),
        max_items_per_worker: int | None = None,
        max_worker_memory: int | None = None,
        min_free_memory: float | str | None = "auto",
    ) -> None:
        asked = None if workers is None else _number(workers)
        check_word("backend", backend, BACKENDS)
        check_word("path", path, ("auto", "controller"))
        check_word("progress", progress, PROGRESS)
        if initializer is not None:
            check_function("initializer", initializer, "None or ")
        arguments = arguments_of("initargs", initargs, initializer, "initializer=")
        check_own_engines(backend, cluster, env, gpus, per_worker)
        self._files = (*(cluster.files if isinstance(cluster, Cluster) else ()), *parse_files(files))
        if files and cluster is None:
            raise ValueError("files= are for the other hosts of a cluster; it needs cluster=")
        care = WorkerLimits(max_items_per_worker, max_worker_memory, min_free_memory)
        care.refuse_without_engines(backend)
        if inside_item():
            backend, cluster, env, care, gpus, per_worker = "serial", None, None, WorkerLimits(), None, None
        elif cluster is not None:
            import_module("nbpar.cluster.join").check_place("cluster", cluster)
        number, self._variables = variables_of_engines(asked, gpus, per_worker, env)
        self.backend = backend
        self._care = care
        self.progress = progress
        self._initializer = None if initializer is None else (initializer, arguments)
        self._lock = threading.Lock()
        self._size = 1 if self.backend == "serial" else number
        self._joined = cluster is not None
        self._open = partial(_open, self.backend, cluster, path, env, self._variables)  # not the pool itself
        self._keeper = Keeper(self._open(number))
        self._janitor = None if self.backend == "serial" else Janitor(users_line())
        self._closed = False
        _remember(self)

    # ---- channels

    @property
    @entrance
    def gateways(self) -> Any:
        """A list of one `Gateway` for each worker, to open channels to running code."""
        return import_module("nbpar.channels.gateway").gateways_of(self)

    @entrance
    def remote_exec(self, source: Any, /, **options: Any) -> Any:
        """Run the same code on every worker and return the channels to it as one `MultiChannel`.

        `options` are those of `Gateway.remote_exec`.
        """
        return import_module("nbpar.channels.multichannel").exec_on_all(self.gateways, source, options)

    # ---- life cycle

    @property
    def workers(self) -> list[dict[str, Any]]:
        """What is known of each worker: `worker`, `host`, `pid`, and `runs` while it runs something.

        `problem` is why an engine is not used, and `silent` is true of one that does not answer.
        """
        place = self._place
        place.locate()
        launcher = self._keeper.launcher
        running = launcher.dispatcher.running if launcher is not None else {}
        return [
            {**facts, "runs": running[name]} if (name := str(facts["worker"])) in running else facts
            for facts in place.describe()
        ]

    @property
    def awaited(self) -> str:
        """What missing engines wait for: "3 of 4 engines; job 5 is pending (Resources), for 3 min"; or ""."""
        return self._place.awaited()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def failed(self) -> bool:
        """Whether its workers could not be started."""
        return self._keeper.pending.failed

    @property
    def broken(self) -> bool:
        """Whether its workers are permanently lost though it was not closed; the next map starts new ones."""
        return bool(self._place.problem()) or self._stuck

    @property
    def joined(self) -> bool:
        """Whether its workers are engines of a cluster that was not started for it."""
        return self._joined and not self._place.owned

    @property
    def size(self) -> int:
        """Requested number of workers; of a joined cluster, its number of engines."""
        return len(self._place.describe()) if self._joined else self._size

    @entrance
    def resize(self, workers: int) -> None:
        """Change the number of workers, also during runs.

        Surplus workers finish their current item; their queued items go to others.

        Raises:
            ClusterError: the pool has joined a cluster that it does not own.
        ValueError: it has a list of `per_worker` variables, which is shorter.
        """
        number = _number(workers)
        if self.backend == "serial":
            raise ValueError("a serial pool has one worker; it cannot be resized")
        if self._variables is not None:
            self._variables.check(number)
        launcher = self.launcher
        self._place.resize(number, launcher.dispatcher.retire)
        self._size = number

    @entrance
    def restart(self) -> None:
        """Replace the workers by fresh ones, without their imports and state.

        Engines of a cluster that it has `joined` stay as they are: it only connects to them anew.
        """
        with self._lock:
            self._renew(ClusterError("the pool was restarted before the run was over"))

    @entrance
    def wait(self) -> Pool:
        """Wait until the workers are ready; a cluster takes a moment to start.

        Raises:
            ClusterError: it cannot be started; the next call retries.
        """
        while True:
            keeper = self._current()
            try:
                keeper.pending.get()
            except PoolClosedError:
                if not self._replaced(keeper):
                    raise
            else:
                return self

    @entrance
    def close(self) -> None:
        """Stop running items, release the workers, stop a cluster started for this pool.

        Idempotent.
        """
        with self._lock:
            closed, self._closed = self._closed, True
        if closed:
            return
        _live.discard(self)
        if self._janitor is not None:
            self._janitor.dismiss()
        self._keeper.close()

    def __enter__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the pool without blocking the event loop."""
        if self.backend == "serial":
            self.close()
            return
        import asyncio

        await asyncio.to_thread(self.close)

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self._closed or self._janitor is None:
            return
        warns = self._warns and self.backend == "engines" and not self.failed
        what, self._closed = repr(self), True  # the warning holds it: who catches that has a closed pool
        self._janitor.take(self._keeper.finish)
        if warns:
            self._janitor.warn(what, "close", source=self)

    def __repr__(self) -> str:
        state = " (closed)" if self._closed else ""
        if self._joined:
            return f"<nbpar.Pool: the engines of a cluster{state}>"
        where = {"engines": "engines", "threads": "threads", "serial": "the caller's thread"}[self.backend]
        return f"<nbpar.Pool: {self._size} on {where}{state}>"

    # ---- internals

    @property
    def _place(self) -> Placement:
        while True:
            if self._closed:
                raise PoolClosedError
            keeper = self._keeper
            try:
                return keeper.pending.get()
            except PoolClosedError:
                if not self._replaced(keeper):
                    raise

    def _replaced(self, keeper: Keeper) -> bool:
        """Whether another thread has put, or is just putting, new workers in the place of closed ones."""
        while self._lock.locked():
            time.sleep(0.01)
        return self._keeper is not keeper

    def _current(self) -> Keeper:
        """Return who has the workers; anew when they could not be had and a caller was told."""
        with self._lock:
            if self._closed:
                raise PoolClosedError
            if self._keeper.pending.spent:
                self._renew(None)
            return self._keeper

    def _renew(self, error: NbparError | None) -> None:
        """Replace the placement, ending its runs with `error`; call with the lock held."""
        if self._closed:
            raise PoolClosedError
        self._keeper.close(error)
        self._keeper = Keeper(self._open(self._size, again=True))

    def _leave_to_parent(self) -> None:
        """Close the pool in a fork of this process, without its threads; the workers belong to the parent."""
        self._closed = True
        if (launcher := self._keeper.launcher) is not None:
            launcher.dispatcher.lines.leave("this process is a fork; make a pool here")

    @property
    def launcher(self) -> Launcher:
        """Where runs on these workers begin: for nbpar's own use."""
        renewed: Keeper | None = None
        while True:
            keeper = self._current()
            try:
                place = keeper.pending.get()
            except PoolClosedError:
                if not self._replaced(keeper):
                    raise
                continue
            if keeper.launcher is not None:
                keeper.launcher.dispatcher.await_step()
            if place.backend.in_process and inside_item() and self._in_use:
                return Launcher(place_in_process("serial", 1), None)
            if (launcher := self._launcher_on(place, keeper, as_it_is=keeper is renewed)) is not None:
                return launcher
            renewed = self._keeper

    def _launcher_on(self, place: Placement, keeper: Keeper, *, as_it_is: bool) -> Launcher | None:
        """Return the launcher of a place; None when that is of no use any more, and a new one is being made.

        A placement made for this call is used `as_it_is`: a new one would not repair a user's own cluster.
        """
        with self._lock:
            if self._keeper is not keeper:
                return None
            hangs = keeper.launcher is not None and keeper.launcher.dispatcher.hangs
            problem = place.problem() or (HANGS if hangs else "")
            if not as_it_is and (problem or self._stuck):
                self._renew(
                    ClusterError(f"the workers of this pool were lost ({problem})") if problem else None
                )
                return None
            place.mend()
            if keeper.launcher is None:
                keeper.launcher = Launcher(place, self._initializer, self._care, self._host_files())
            return keeper.launcher

    def _host_files(self) -> PoolFiles | None:
        """Return what copies files to the hosts of new workers; None if there are none to copy."""
        if not self._files:
            return None
        made: PoolFiles = import_module("nbpar.channels.host_files").HostFiles(self._files, weakref.ref(self))
        return made

    @property
    def _stuck(self) -> bool:
        """Whether the thread that hands out work was ended by a bug, or is in code that does not return."""
        launcher = self._keeper.launcher
        return launcher is not None and (launcher.dispatcher.failed or launcher.dispatcher.hangs)

    @property
    def _in_use(self) -> bool:
        """Whether the item that asks may be one of ours, which must not wait for our workers."""
        launcher = self._keeper.launcher
        return launcher is not None and bool(launcher.dispatcher.running)

    def _reserve(self, workers: int | None) -> Callable[[], None]:
        if workers is not None and workers > 1 and not inside_item() and workers > (size := self.size):
            raise ValueError(
                f"workers must be at most the {plural(size, 'worker')} of this pool, was {workers}; "
                f"`pool.resize({workers})` gives it more"
            )
        return nothing

    @property
    def _resize_by(self) -> Callable[[int], None] | None:
        """Add or remove workers; None if that is impossible."""
        if not self._place.resizable:
            return None
        return partial(_resize_by, weakref.ref(self))


def _resize_by(pool: weakref.ref[Pool], more: int) -> None:
    """Add or take away workers, unless the pool is closed or gone: buttons live longer."""
    if (known := pool()) is not None and not known.closed:
        known.resize(max(1, known.size + more))


def _open(
    backend: str,
    cluster: Any,
    path: str,
    env: Mapping[str, str] | None,
    variables: PerWorker | None,
    number: int,
    *,
    again: bool = False,
) -> PendingPlacement:
    """Begin to get workers; `again` if the pool had some, which are lost."""
    if backend == "engines":
        make = partial(
            place_on_engines, number, cluster, path=path, env=env, per_worker=variables, again=again
        )
        pending = PendingPlacement(make, threaded=True)
        if not in_ipython():  # where the next statement is a map, for which this is needed
            import_module("nbpar.backends.engines.backend")
        return pending
    return PendingPlacement(lambda **_: place_in_process(backend, number), threaded=False)


def _number(workers: Any) -> int:
    return number_of_workers(workers, hint='; backend="serial" runs in this thread')


_live: weakref.WeakSet[Pool] = weakref.WeakSet()


def _remember(pool: Pool) -> None:
    """Register the pool to be closed when the interpreter exits."""
    if not _live:
        interpreter.forget(_close_all)
        interpreter.end_with(_close_all, ExitOrder.POOL)
        _watch_forks()
    _live.add(pool)


def _close_all() -> None:
    for pool in list(_live):
        call_safely(pool.close, f"{pool!r} could not be closed", passes_ctrl_c=True)


@cache
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_leave_all)


def _leave_all() -> None:
    for pool in list(_live):
        if pool.backend != "serial":
            pool._leave_to_parent()  # noqa: SLF001 (of our own kind)
    _live.clear()
