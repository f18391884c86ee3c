"""A pool of workers that maps functions over items."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nbpar.background import BackgroundViews
from nbpar.care import WorkerCare
from nbpar.cluster.limits import usable_cpus
from nbpar.core.results import Results
from nbpar.core.spread import Spread
from nbpar.errors import PoolClosedError
from nbpar.futures import RunFuture
from nbpar.launch import Launcher, shown_stream, total_of
from nbpar.options import Options, at_least_one
from nbpar.placement import Pending, Place, place_in_process, place_on_engines
from nbpar.run import Run
from nbpar.showing import shown
from nbpar.worker.inside import inside_item

if TYPE_CHECKING:
    from typing_extensions import Self

BACKENDS = ("engines", "threads", "serial")


class Pool:
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
        max_items_per_worker: renew an engine when it has been given so many items; a chunk is not cut.
        max_worker_memory: renew an engine, between two items, when it holds more bytes.
        min_free_memory: begin no more items while fewer bytes are free on this machine, but for one chunk
            at a time; below 1 a share of its memory, None for no such guard.
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
        if backend not in BACKENDS:
            raise ValueError(f'backend must be "engines", "threads" or "serial", was {backend!r}')
        if path not in ("auto", "controller"):
            raise ValueError(f'path must be "auto" or "controller", was {path!r}')
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
        self._reopen = partial(self._open, cluster, path)
        self._pending = self._reopen(number)
        _remember(self)

    # ---- maps

    def map(self, fn: Callable[..., Any], *iterables: Iterable[Any], **options: Any) -> Results:
        """Apply `fn` to every item and return the results in input order.

        Several iterables give `fn` several arguments, up to the shortest.  The keyword arguments are the
        fields of `nbpar.options.Options`: chunksize, timeout, retries, errors, max_errors, seed, progress,
        label, total, buffersize.
        Ctrl-C stops it; what has finished is kept in `nbpar.last_run.results()`.

        Raises:
            Exception: what `fn` raised first, with a note that names the item.
            WorkerDied: an item killed its worker twice.
        """
        __tracebackhide__ = True
        return self._map(fn, iterables, self._options(options))

    def starmap(self, fn: Callable[..., Any], iterable: Iterable[Any], **options: Any) -> Results:
        """Like `map`, for items that are tuples of arguments, or dicts of keyword arguments."""
        __tracebackhide__ = True
        return self._map(fn, (iterable,), self._options(options), Spread.STAR)

    def imap(self, fn: Callable[..., Any], *iterables: Iterable[Any], **options: Any) -> Iterator[Any]:
        """Apply `fn` to every item and yield the results in input order, as they come.

        Reads a bounded number of items ahead, so endless input is fine and a slow consumer holds the
        workers back.  Leaving the loop early stops the rest.
        """
        return self._imap(fn, iterables, self._options(options), ordered=True)

    def imap_unordered(
        self, fn: Callable[..., Any], *iterables: Iterable[Any], **options: Any
    ) -> Iterator[Any]:
        """Like `imap`, but yield each result as soon as it is there."""
        return self._imap(fn, iterables, self._options(options), ordered=False)

    def map_async(
        self, fn: Callable[..., Any], *iterables: Iterable[Any], ordered: bool = True, **options: Any
    ) -> Run:
        """Begin a map and return it at once as a `Run`.  A serial pool does all of it first.

        With `ordered=False` the run's results are in the order in which they came.
        As the last expression of a notebook's cell, or by `run.show()`, it shows itself live.
        """
        asked = self._options(options)
        run = self._done_if_serial(self.launcher.over(fn, iterables, asked, [], sort=ordered))
        views = BackgroundViews(
            run, progress=asked.progress, total=total_of(iterables, asked), resize=self._resize_by
        )
        run.prepare_views(views, at_once=asked.progress in ("widget", "text"))
        return run

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call `fn(*args, **kwargs)` on a worker; the future can be cancelled even while it runs."""
        return RunFuture(self._done_if_serial(self.launcher.once(fn, args, kwargs, [])))

    def each(self, fn: Callable[..., Any], *args: Any) -> list[Any]:
        """Call `fn(*args)` once on every worker and return one value per worker."""
        __tracebackhide__ = True
        begun: list[Run] = []
        with _stopped_on_error(begun):
            return list(self._wait(self.launcher.everywhere(fn, args, begun), "none", None))

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
        """How many workers were asked for."""
        return self._size

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
            raise PoolClosedError("the pool is closed; make a new one with nbpar.Pool(...)")
        return self._pending.get()

    def _discard(self) -> None:
        """Let the workers go and what was made for them."""
        if self._launcher_or_none is not None:
            self._launcher_or_none.dispatcher.close()
        self._pending.discard()

    @property
    def launcher(self) -> Launcher:
        """Where runs on these workers begin: for nbpar's own use."""
        place = self._place
        with self._lock:
            if place.problem():  # our cluster broke, so a new one takes its place
                self._discard()
                self._launcher_or_none = None
                self._pending = self._reopen(self._size)
                place = self._pending.get()
            if self._launcher_or_none is None:
                self._launcher_or_none = Launcher(place, self._initializer, self._care)
            return self._launcher_or_none

    def _options(self, given: dict[str, Any]) -> Options:
        return Options.of({"progress": self.progress, **given})

    def _map(
        self,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        options: Options,
        spread: Spread | None = None,
    ) -> Results:
        __tracebackhide__ = True
        begun: list[Run] = []
        with _stopped_on_error(begun):
            run = self.launcher.over(fn, iterables, options, begun, spread=spread)
            return self._wait(run, options.progress, total_of(iterables, options))

    def _imap(
        self, fn: Callable[..., Any], iterables: tuple[Iterable[Any], ...], options: Options, *, ordered: bool
    ) -> Iterator[Any]:
        begun: list[Run] = []
        with _stopped_on_error(begun):
            run = self.launcher.over(fn, iterables, options, begun, streaming=True, ordered=ordered)
            return shown_stream(run, options, total_of(iterables, options), self._resize_by)

    def _wait(self, run: Run, progress: str, total: int | None) -> Results:
        __tracebackhide__ = True
        with shown(run, progress, total=total, resize=self._resize_by) as watch:
            run.wait(watch=watch)
        return run.get()

    @property
    def _resize_by(self) -> Callable[[int], None] | None:
        """Add or take away workers; None where that cannot be done."""
        if not self._place.resizable:
            return None
        return lambda more: self.resize(max(1, self._size + more))

    def _done_if_serial(self, run: Run) -> Run:
        if self.launcher.dispatcher.blocking:
            run.wait()
        return run


@contextmanager
def _stopped_on_error(begun: list[Run]) -> Iterator[None]:
    """Stop the runs that were begun in the block when it is left by an exception, Ctrl-C above all.

    A run is put into `begun` before it begins, so that no moment is left in which one could get away.
    """
    __tracebackhide__ = True
    try:
        yield
    except BaseException as error:
        for run in begun:
            run.cancel()
        if begun and type(error) is KeyboardInterrupt:
            raise begun[0].stopped() from None
        raise


def _number(workers: Any) -> int:
    return at_least_one("workers", workers, hint='; backend="serial" runs in this thread')


_live: weakref.WeakSet[Pool] = weakref.WeakSet()


def _remember(pool: Pool) -> None:
    """See to it that the pool is closed when the interpreter ends."""
    if not _live:
        atexit.unregister(_close_all)
        atexit.register(_close_all)
    _live.add(pool)


def _close_all() -> None:
    for pool in list(_live):
        pool.close()
