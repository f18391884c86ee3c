"""The default pools: made on first use, kept warm, closed with the interpreter; `nbpar.use` replaces them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from nbpar.core.checks import number_of_workers
from nbpar.core.results import Results
from nbpar.core.text import function_name
from nbpar.host.cpus import default_workers
from nbpar.host.frames import entrance
from nbpar.pool.idle import IdleTime, idle_choice, minutes, watch
from nbpar.pool.in_use import Use, in_use, opened, places
from nbpar.pool.keeper import Keeper
from nbpar.pool.launch import nothing
from nbpar.pool.options import MapOptions, takes_options
from nbpar.pool.pool import Pool
from nbpar.run.run import Run
from nbpar.run.unbegun import beginning
from nbpar.worker.nesting import inside_item

if TYPE_CHECKING:
    from typing_extensions import Unpack

_pools: dict[str, DefaultPool] = {}  # by backend
_lock = threading.Lock()


class DefaultPool(Pool):
    """A pool that adds workers for the duration of a call with `workers=`.

    Args:
        workers: their usual number; None: the CPUs available to this process, but before the first
            call without `workers=` only the number that calls request.
        gpus: the devices of its engines, as of `Pool`; without a number there is a worker for each.
    """

    _warns = False

    def __init__(
        self,
        workers: int | None,
        backend: str,
        asked: int | None = None,
        gpus: Any = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(asked if workers is None else workers, backend=backend, gpus=gpus)
        self.gpus = gpus
        self._usual = workers if gpus is None or workers is not None else self.size
        self._asked: dict[object, int] = {}
        self._resizing = threading.RLock()
        self._clock = clock
        self._touched = True
        """Whether it was used since the last look."""

        self._idle = IdleTime(clock())
        self._ended: tuple[Keeper, float] | None = None
        """What kept the engines that ended for lack of work, and after how many minutes."""

        if backend == "engines":
            watch(self)

    @entrance
    def resize(self, workers: int) -> None:
        number = number_of_workers(workers)
        with self._resizing:
            self._have(max([number, *self._asked.values()]))
            self._usual = number

    # ---- without work

    def look(self) -> None:
        """End the engines if there was no work for long enough; the next call starts others.

        Engines on which values may be kept stay: after `each`, channels and requests of ipyparallel's client.
        """
        limit = idle_choice.limit()
        with self._lock:
            touched, self._touched = self._touched, False
            busy = self._closed or touched or self.resting or self._needed()
            if self._idle.is_over(self._clock(), limit, busy=busy):
                self._keeper.close()
                self._ended = (self._keeper, limit.minutes)

    def _needed(self) -> bool:
        """Whether something is under way, or values may be kept."""
        keeper = self._keeper
        if not keeper.pending.ready or self._asked:
            return True
        if keeper.pending.get().used_by_others():
            return True
        return keeper.launcher is not None and (
            keeper.launcher.reached_all or not keeper.launcher.dispatcher.unused
        )

    @property
    def resting(self) -> bool:
        """Whether its engines have ended for lack of work."""
        return self._ended is not None and self._ended[0] is self._keeper

    @property
    def notice(self) -> str:
        """Says that its engines have ended for lack of work; "" if they have not."""
        ended = self._ended
        if ended is None or not self.resting:
            return ""
        return f"engines ended after {minutes(ended[1])} without work; the next map starts them"

    def begin(self) -> None:
        """Start the engines if they have ended for lack of work; returns at once."""
        if self.resting:
            self._current()

    def _current(self) -> Keeper:
        self._touched = True  # before the lock: after a look that does not see it, new engines are started
        with self._lock:
            if self.resting and not self._closed:
                self._renew(None)
        return super()._current()

    @property
    def workers(self) -> list[dict[str, Any]]:
        return [] if self.resting else super().workers

    @property
    def awaited(self) -> str:
        return "" if self.resting else super().awaited

    @property
    def failed(self) -> bool:
        return not self.resting and super().failed

    @property
    def broken(self) -> bool:
        return not self.resting and super().broken

    # ---- the number of workers

    def _reserve(self, workers: int | None) -> Callable[[], None]:
        if self.backend == "serial" or inside_item():
            return super()._reserve(workers)
        with self._resizing:
            if workers is None:
                if self._usual is None:
                    self.resize(default_workers())
                return nothing
            if self._usual is not None and workers <= self._usual:
                return nothing
            call = object()
            self._asked[call] = workers
            self._have(max(workers, self.size))
        return partial(self._give_up, call)

    def _give_up(self, call: object) -> None:
        with self._resizing:
            self._asked.pop(call, None)
            if self._usual is not None and not self.closed:
                self._have(max([self._usual, *self._asked.values()]))

    def _have(self, workers: int) -> None:
        if workers != self.size:
            super().resize(workers)


def default_pool(workers: int | None = None, backend: str = "engines", gpus: Any = None) -> Pool:
    """Return the default pool of this kind, resized to a number of workers if one is given.

    There is one of each kind, started on first use.  A pool in use (`nbpar.use`) stands for it, as it is.
    One whose engines have other devices than the given `gpus` is closed, and a new one takes its place.

    Raises:
        PoolClosedError: the pool in use was closed.
    """
    return _default_pool(backend, workers, None, gpus)


def _default_pool(backend: str, workers: int | None, asked: int | None, gpus: Any = None) -> Pool:
    """Return a default pool; if it is new, with the number of workers that a call has `asked` for."""
    if inside_item():
        return Pool(backend="serial", progress="none")
    if workers is not None:
        workers = number_of_workers(workers)
    if (used := in_use(backend)) is not None:
        return used
    with _lock:
        pool = _pools.get(backend)
        others = pool if pool is not None and gpus is not None and pool.gpus != gpus else None
        if pool is None or pool.closed or pool.failed or others is not None:
            if pool is not None and pool.failed and gpus is None:
                gpus = pool.gpus
            pool = _pools[backend] = DefaultPool(workers, backend, asked, gpus)
        elif workers is not None:
            pool.resize(workers)
        pool.begin()
    if others is not None:
        others.close()
    return pool


def pool_for(backend: str, options: MapOptions) -> Pool:
    """Return the default pool for one call with these options.

    A pool in use is not resized for a call: `workers` of the options is lowered to what it has.
    """
    asked = options.get("workers")
    if asked is not None:
        asked = number_of_workers(asked)
        if (used := in_use(backend)) is not None:
            options["workers"] = min(asked, max(1, used.size))
    return _default_pool(backend, None, asked)


def _pool_for(fn: Callable[..., Any], backend: str, options: MapOptions) -> Pool:
    """Return `pool_for` a call of `fn`, which is the last run if it is stopped before it has begun."""
    with beginning(lambda: options.get("label") or function_name(fn)):
        return pool_for(backend, options)


def default_pools() -> list[DefaultPool]:
    """Return the open default pools of this machine."""
    return [pool for pool in _pools.values() if not pool.closed]


def notices() -> list[str]:
    """Return what is to be said of default pools besides their workers."""
    return [pool.notice for pool in default_pools() if pool.notice]


def close_default_pools() -> None:
    """Close all default pools, and use no other; the next call starts new ones."""
    places.clear()
    with _lock:
        pools = list(_pools.values())
        _pools.clear()
    for pool in pools:
        pool.close()


def used_place() -> Use | None:
    """Return what is in use instead of this machine's workers; None if that is nothing."""
    return places.current


@entrance
def use(place: Any) -> Use:
    """Make a pool or cluster the place of everything that names none; return it, with a pool's calls.

    That is `nbpar.map` and its kin, `%%parallel_map`, `%%channel`, pipelines, `nbpar.register_joblib()`, and
    programs of spaCy, pyblaze, GluonNLP and Neuraxle on engines.  It holds for the whole process: until the
    next call, or for a `with` block, after which the place from before is used again.  Calls with
    `backend="threads"` or `"serial"` stay in this process.  The pool keeps its size: `workers=` is a limit.

    Args:
        place: an `nbpar.Pool`, which stays yours to close.  Or a cluster, for which nbpar makes a pool and
            closes it: an `nbpar.Cluster`, a running `ipyparallel.Cluster`, an `ipyparallel.Client`, the name
            of an IPython profile, the path of a connection file, "ssh://host".  Or None: this machine.

    Raises:
        TypeError: it is none of these.
        ClusterError: there is no such cluster, or it does not answer.
        PoolClosedError: the pool is closed; also from later calls, when it was closed meanwhile.

    Example:
        >>> with Pool(2) as pool, use(pool):
        ...     map(abs, [-1, 2])
        [1, 2]
    """
    found = opened(place, default_pool)
    places.put(found)
    return found


@entrance
@takes_options
def map(  # noqa: A001 (our map)
    fn: Callable[..., Any], *iterables: Iterable[Any], backend: str = "engines", **options: Unpack[MapOptions]
) -> Results:
    """Apply `fn` to every item, on the default pool, and return the results in input order.

    See `nbpar.Pool.map?` for the options and exceptions.
    """
    __tracebackhide__ = True
    pool = _pool_for(fn, backend, options)
    return pool.map(fn, *iterables, **options)


@entrance
@takes_options
def starmap(
    fn: Callable[..., Any],
    iterable: Iterable[Any],
    *,
    backend: str = "engines",
    **options: Unpack[MapOptions],
) -> Results:
    """Like `map`, for items that are tuples of arguments, or dicts of keyword arguments."""
    __tracebackhide__ = True
    pool = _pool_for(fn, backend, options)
    return pool.starmap(fn, iterable, **options)


@entrance
@takes_options
def imap(
    fn: Callable[..., Any], *iterables: Iterable[Any], backend: str = "engines", **options: Unpack[MapOptions]
) -> Iterator[Any]:
    """Apply `fn` to every item, on the default pool, and yield the results in input order, lazily.

    The input may be endless; leaving the loop early cancels the rest.  See `nbpar.Pool.imap?`.
    """
    pool = _pool_for(fn, backend, options)
    return pool.imap(fn, *iterables, **options)


@entrance
@takes_options
def imap_unordered(
    fn: Callable[..., Any], *iterables: Iterable[Any], backend: str = "engines", **options: Unpack[MapOptions]
) -> Iterator[Any]:
    """Like `imap`, but yield the results in order of completion."""
    pool = _pool_for(fn, backend, options)
    return pool.imap_unordered(fn, *iterables, **options)


@entrance
@takes_options
def map_async(
    fn: Callable[..., Any], *iterables: Iterable[Any], backend: str = "engines", **options: Unpack[MapOptions]
) -> Run:
    """Start a map on the default pool and return it at once, as a `Run` to `await` or to `get()` later.

    See `nbpar.Pool.map_async?`.
    """
    pool = _pool_for(fn, backend, options)
    return pool.map_async(fn, *iterables, **options)


@entrance
def submit(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
    """Call `fn(*args, **kwargs)` on a worker of the default pool and return a future at once.

    It can be canceled even while the function runs.
    """
    return default_pool().submit(fn, *args, **kwargs)


@entrance
def each(fn: Callable[..., Any], *args: Any) -> list[Any]:
    """Call `fn(*args)` once on every worker of the default pool and return one value per worker."""
    __tracebackhide__ = True
    return default_pool().each(fn, *args)
