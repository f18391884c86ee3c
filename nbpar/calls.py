"""What workers can be asked to compute: maps, streams, single calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from importlib import import_module
from typing import Any

from nbpar.background import BackgroundViews
from nbpar.call_queue import CallQueue
from nbpar.core.results import Results
from nbpar.core.spread import Spread
from nbpar.futures import RunFuture
from nbpar.launch import Launcher, shown_stream, total_of
from nbpar.options import Options
from nbpar.run import Run
from nbpar.showing import shown
from nbpar.wire.shared import Shared


class Calls(ABC):
    """The calls of a pool; who inherits from it says where they run.

    Attributes:
        progress: what maps show unless they are told.
    """

    progress: str

    @property
    @abstractmethod
    def launcher(self) -> Launcher:
        """Where runs begin: for nbpar's own use."""

    @property
    @abstractmethod
    def _resize_by(self) -> Callable[[int], None] | None:
        """Add or take away workers; None where that cannot be done."""

    def map(self, fn: Callable[..., Any], *iterables: Iterable[Any], **options: Any) -> Results:
        """Apply `fn` to every item and return the results in input order.

        Several iterables give `fn` several arguments, up to the shortest.  Ctrl-C, or the kernel's
        interrupt, stops it; what has finished is kept in `nbpar.last_run.results()`.

        Args:
            fn: any function, also of a notebook, with whatever it uses from there; what it changes
                there on a worker does not come back.
            iterables: the items; what is no sequence is read as it is needed.
            options: those of `nbpar.options.Options`, which all maps take.

                - chunksize: items sent together; "auto" aims at 50 ms of work.
                - timeout: seconds that one item may take; only that item is stopped.
                - retries: how often an item that failed is tried again, or a `Retry`.
                - errors: "raise" the first, "collect" a `Failure` in the item's place, "skip" the item.
                - max_errors: with "collect" and "skip", more failures than this raise after all.
                - seed: gives item i the same random numbers on any number of workers.
                - progress: "auto", "widget", "text" or "none"; unless given, that of the pool.
                - label: what views call the run; the function's name unless given.
                - total: number of items, for inputs that cannot tell.
                - buffersize: `imap` only: at most so many items are under way or waiting to be taken.
                - resume: keep results under this name; the same map, run again after a crash,
                  computes only what is missing.

        Raises:
            Exception: what `fn` raised first, with a note that names the item.
            ItemTimeoutError: an item took longer than `timeout`.
            WorkerDied: an item killed its worker twice.
            PicklingError: `fn`, an item or a result cannot travel; the message says why.
            StoppedError: it was stopped; it is a KeyboardInterrupt.
        """
        __tracebackhide__ = True
        return self._map(fn, iterables, self._options(options))

    def starmap(self, fn: Callable[..., Any], iterable: Iterable[Any], **options: Any) -> Results:
        """Like `map`, for items that are tuples of arguments, or dicts of keyword arguments.

        Takes the options of `map`.
        """
        __tracebackhide__ = True
        return self._map(fn, (iterable,), self._options(options), Spread.STAR)

    def imap(self, fn: Callable[..., Any], *iterables: Iterable[Any], **options: Any) -> Iterator[Any]:
        """Apply `fn` to every item and yield the results in input order, as they come.

        Reads a bounded number of items ahead, so endless input is fine and a slow consumer holds the
        workers back.  Leaving the loop early stops the rest.  Begins at once, not with the first `next`.

        Takes the options of `map`.  What an item raised is raised in its place, after the results of
        those before it.
        """
        return self._imap(fn, iterables, self._options(options), ordered=True)

    def imap_unordered(
        self, fn: Callable[..., Any], *iterables: Iterable[Any], **options: Any
    ) -> Iterator[Any]:
        """Like `imap`, but yield each result as soon as it is there, whichever item it belongs to."""
        return self._imap(fn, iterables, self._options(options), ordered=False)

    def map_async(
        self, fn: Callable[..., Any], *iterables: Iterable[Any], ordered: bool = True, **options: Any
    ) -> Run:
        """Begin a map and return it at once as a `Run`.  A serial pool does all of it first.

        Takes the options of `map`.  With `ordered=False` the run's results are in the order in which they
        came.  `run.get()` waits for them, and so does `await run`; what failed raises there, not here.
        As the last expression of a notebook's cell, or by `run.show()`, it shows itself live.
        """
        asked = self._options(options)
        begun: list[Run] = []
        with stopped_on_error(begun):
            run = self.launcher.over(fn, iterables, asked, begun, sort=ordered)
            run.finish_here()
        views = BackgroundViews(
            run, progress=asked.progress, total=total_of(iterables, asked), resize=self._resize_by
        )
        run.prepare_views(views, at_once=asked.progress in ("widget", "text"))
        return run

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call `fn(*args, **kwargs)` on a worker and return a `concurrent.futures.Future` at once.

        It can be cancelled even while the function runs.  A serial pool does the call first.
        """
        begun: list[Run] = []
        with stopped_on_error(begun):
            run = self.launcher.once(fn, args, kwargs, begun)
            run.finish_here()
        return RunFuture(run)

    def each(self, fn: Callable[..., Any], *args: Any) -> list[Any]:
        """Call `fn(*args)` once on every worker and return one value per worker, in the workers' order.

        Raises:
            Exception: what `fn` raised first on any of them.
        """
        __tracebackhide__ = True
        begun: list[Run] = []
        with stopped_on_error(begun):
            return list(self._wait(self.launcher.everywhere(fn, args, begun), "none", None))

    def share(self, value: Any) -> Shared:
        """Return a `Shared`, whose `.value` is the object here and on every worker that gets the handle.

        It is sent once to each engine, however many functions and items refer to it, as it is now.  On
        engines that nbpar has started here NumPy arrays are in memory once for all of them (Linux), and
        on all engines they are read-only.  Threads use the very same object.  Keep the handle as long as
        workers use it: the memory is given back when it is gone.

        Raises:
            PicklingError: it cannot travel; the message says why.
        """
        return self.launcher.share(value)

    def queue(self, fn: Callable[[Any], Any]) -> CallQueue:
        """Return a `CallQueue`: `put(item)` has `fn(item)` called, `get()` returns results as they are ready.

        For work that turns up bit by bit.  Use it with `with`, or close it.
        """
        return CallQueue(fn, self.launcher)

    def executor(self) -> Executor:
        """Return a `concurrent.futures.Executor` that runs calls on these workers.

        For libraries, and event loops (`run_in_executor`), that ask for one.  Its `shutdown`, and leaving
        its `with` block, wait for what was asked and leave the pool open.
        """
        executor: Executor = import_module("nbpar.integrations.executor").PoolExecutor(self)
        return executor

    # ---- inside

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
        with stopped_on_error(begun):
            run = self.launcher.over(fn, iterables, options, begun, spread=spread)
            return self._wait(run, options.progress, total_of(iterables, options))

    def _imap(
        self, fn: Callable[..., Any], iterables: tuple[Iterable[Any], ...], options: Options, *, ordered: bool
    ) -> Iterator[Any]:
        begun: list[Run] = []
        with stopped_on_error(begun):
            run = self.launcher.over(fn, iterables, options, begun, streaming=True, ordered=ordered)
            return shown_stream(run, options, total_of(iterables, options), self._resize_by)

    def _wait(self, run: Run, progress: str, total: int | None) -> Results:
        __tracebackhide__ = True
        with shown(run, progress, total=total, resize=self._resize_by) as watch:
            run.wait(watch=watch)
        return run.get()


class stopped_on_error:  # noqa: N801 (it reads like `suppress`)
    """Stop the runs that were begun in the block when it is left by an exception, Ctrl-C above all.

    A run is put into `begun` before it begins, so that no moment is left in which one could get away.
    It is a class because a generator would show frames of `contextlib` to whoever stops a cell.
    """

    def __init__(self, begun: Sequence[Run]) -> None:
        self._begun = begun

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        __tracebackhide__ = True
        if error is None:
            return
        for run in self._begun:
            run.cancel()
        if self._begun and type(error) is KeyboardInterrupt:
            raise self._begun[0].stopped() from None
