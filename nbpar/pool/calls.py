"""The calls of a pool: map, imap, submit and the like."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nbpar.core.call_style import CallStyle
from nbpar.core.checks import check_flag
from nbpar.core.rates.rate import Rate
from nbpar.core.results import Results
from nbpar.core.scheduling.needs import Needs
from nbpar.core.text import function_name
from nbpar.host.frames import entrance
from nbpar.pool.launch import Launch, Launcher, total_of
from nbpar.pool.options import MapOptions, Options, parameters_of, takes_options
from nbpar.pool.result_stream import shown_stream
from nbpar.run.display import BackgroundViews, shown
from nbpar.run.run import Run
from nbpar.run.unbegun import beginning
from nbpar.wire.shared import Shared

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from nbpar.pool.call_queue import CallQueue


class Calls(ABC):
    """The calls of a pool; subclasses define where they run.

    Attributes:
        progress: default view of maps.
    """

    progress: str

    @property
    @abstractmethod
    def launcher(self) -> Launcher:
        """Starts runs; for nbpar's own use."""

    @abstractmethod
    def _reserve(self, workers: int | None) -> Callable[[], None]:
        """Ensure a number of workers for one call; return a function that releases the added ones.

        Raises:
            ValueError: there are fewer, and the pool has a fixed number.
        """

    @property
    @abstractmethod
    def _resize_by(self) -> Callable[[int], None] | None:
        """Add or remove workers; None if that is impossible."""

    @entrance
    @takes_options
    def map(
        self, fn: Callable[..., Any], *iterables: Iterable[Any], **options: Unpack[MapOptions]
    ) -> Results:
        """Apply `fn` to every item and return the results in input order.

        Several iterables give `fn` several arguments, up to the shortest.  Ctrl-C, or the kernel's
        interrupt, stops it; finished results are kept in `nbpar.last_run.results()`.

        Args:
            fn: any function, also an `async def`, or one defined in a notebook; objects it uses are sent
                along, and its changes to them stay on the worker.
            iterables: the items; iterables other than sequences are read lazily.
            options: those of `nbpar.pool.options.Options`, which all maps take.

                - chunksize: items sent together; "auto" aims at 50 ms of work.
                - timeout: time limit of one item in seconds; only that item is stopped.
                - retries: number of times a failed item is retried, or a `Retry`.
                - rate: limit of items that begin in any window of time: "500/min", "10/s", a number per
                  second, `(number, seconds)`, or a `Rate` that several runs share.
                - errors: "raise" the first, "collect" a `Failure` in the item's place, "skip" the item.
                - max_errors: with "collect" and "skip", one more failure than this raises.
                - seed: makes random numbers reproducible: item i gets the same on any number of workers.
                - progress: "auto", "widget", "text" or "none"; unless given, that of the pool.
                - label: name of the run in views; by default the function's name.
                - total: number of items, for inputs without a length.
                - buffersize: `imap` only: maximal number of items running or waiting to be consumed.
                - resume: keep results under this name; the same map, run again after a crash,
                  computes only the missing ones.
                - concurrency: items of an `async def` under way at once on each worker; by default 100.
                - workers: maximal number of workers for this call.
                - needs: what an item needs of its host, {"memory": "2GB", "cores": 2}: as many are under way
                  at once as fit, together with those of all pools of this process.
                - profile: sample the functions and lines of the items for `report.profile`, and measure the
                  memory of each item.

        Raises:
            Exception: the first one raised by `fn`, with a note that names the item.
            ItemTimeoutError: an item took longer than `timeout`.
            WorkerDied: an item killed its worker when it was tried again, alone.
            PicklingError: `fn`, an item or a result cannot be serialized; the message has the reason.
            StoppedError: it was stopped; a KeyboardInterrupt.
        """
        __tracebackhide__ = True
        return self._map(fn, iterables, self._options(options, fn))

    @entrance
    @takes_options
    def starmap(
        self, fn: Callable[..., Any], iterable: Iterable[Any], **options: Unpack[MapOptions]
    ) -> Results:
        """Like `map`, for items that are tuples of arguments, or dicts of keyword arguments.

        Takes the options of `map`.
        """
        __tracebackhide__ = True
        return self._map(fn, (iterable,), self._options(options, fn), CallStyle.STAR)

    @entrance
    @takes_options
    def imap(
        self, fn: Callable[..., Any], *iterables: Iterable[Any], **options: Unpack[MapOptions]
    ) -> Iterator[Any]:
        """Apply `fn` to every item and yield the results in input order, lazily.

        Reads a bounded number of items ahead, so the input may be endless and a slow consumer slows the
        workers down (backpressure).  Leaving the loop early cancels the rest.  Starts at once.

        Takes the options of `map`.  An item's exception is raised in its place, after the results of
        those before it.  `async for` takes the results without blocking the event loop.
        """
        return self._imap(fn, iterables, self._options(options, fn), ordered=True)

    @entrance
    @takes_options
    def imap_unordered(
        self, fn: Callable[..., Any], *iterables: Iterable[Any], **options: Unpack[MapOptions]
    ) -> Iterator[Any]:
        """Like `imap`, but yield the results in order of completion."""
        return self._imap(fn, iterables, self._options(options, fn), ordered=False)

    @entrance
    @takes_options
    def map_async(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        ordered: bool = True,
        **options: Unpack[MapOptions],
    ) -> Run:
        """Start a map and return it at once as a `Run`.  A serial pool completes it first.

        Takes the options of `map`.  With `ordered=False` the run's results are in order of
        completion.  `run.get()` and `await run` wait for them; failures raise there, not here.
        As the last expression of a notebook's cell, or by `run.show()`, it has a live display.
        """
        check_flag("ordered", ordered)
        asked = self._options(options, fn)
        with self._over(fn, iterables, asked, sort=ordered) as run:
            run.finish_here()
            views = BackgroundViews(
                progress=asked.progress, total=total_of(iterables, asked), resize=self._resize_by
            )
            run.prepare_views(views, at_once=asked.progress in ("widget", "text"))
            return run

    @entrance
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call `fn(*args, **kwargs)` on a worker and return a `concurrent.futures.Future` at once.

        It can be canceled even while the function runs.  A serial pool makes the call first.
        A call that is outstanding when the interpreter ends is finished first; Ctrl-C stops it then.

        `needs=`, as of `map`, is for nbpar, unless `fn` has a parameter of that name.
        """
        __tracebackhide__ = True
        launcher, needs = self.launcher, None
        if "needs" in kwargs and "needs" not in parameters_of(fn):
            needs = Needs.of(kwargs.pop("needs"))
        future = launcher.submit(fn, args, kwargs, needs)
        launcher.finish_before_exit(future)
        return future

    @entrance
    def each(self, fn: Callable[..., Any], *args: Any) -> list[Any]:
        """Call `fn(*args)` once on every worker and return one value per worker, in the workers' order.

        Raises:
            Exception: the first one raised by `fn` on any worker.
        """
        __tracebackhide__ = True
        with self.launcher.everywhere(fn, args) as run:
            try:
                return list(self._wait(run, "none", None))
            finally:
                del run  # see `Launch`

    async def aeach(self, fn: Callable[..., Any], *args: Any) -> list[Any]:
        """Like `each`, for `await` in an event loop, which goes on meanwhile.

        A serial pool makes the call in the event loop's own thread.
        """
        with self.launcher.everywhere(fn, args) as run:
            try:
                run.finish_here()
                await run
                return list(run.get())
            finally:
                del run  # see `Launch`

    @entrance
    def share(self, value: Any) -> Shared:
        """Return a `Shared`, a handle whose `.value` is the object here and on every worker that gets it.

        The object is sent to each engine once, in its current state, for all functions and items.  On
        nbpar's own engines on this host NumPy arrays are in shared memory (Linux), and
        on all engines they are read-only.  Threads use the same object.  Keep the handle as long as
        workers use it: the memory is freed with it.

        Raises:
            PicklingError: it cannot be serialized; the message has the reason.
        """
        return self.launcher.share(value)

    @entrance
    def queue(
        self,
        fn: Callable[[Any], Any],
        *,
        rate: Rate | str | float | tuple[float, float] | None = None,
        needs: Mapping[str, Any] | Needs | None = None,
    ) -> CallQueue:
        """Return a `CallQueue`: `put(item)` calls `fn(item)` on a worker, `get()` returns a completed result.

        For items that arrive one by one.  Use it with `with`, or close it.

        Args:
            fn: called with each item.
            rate: limit of items that begin in any window of time, as of `map`.
            needs: what an item needs of its host, as of `map`.
        """
        queues = import_module("nbpar.pool.call_queue")
        queue: CallQueue = queues.CallQueue(fn, self.launcher, rate=rate, needs=needs)
        return queue

    @entrance
    def executor(self, *, needs: Mapping[str, Any] | Needs | None = None) -> Executor:
        """Return a `concurrent.futures.Executor` that runs calls on these workers.

        For libraries and event loops (`run_in_executor`) that need one.  Its `shutdown`, and leaving
        its `with` block, wait for the calls and leave the pool open.

        Args:
            needs: what each call needs of its host, as of `map`.
        """
        executor: Executor = import_module("nbpar.pool.executor").PoolExecutor(self, needs)
        return executor

    # ---- internals

    def _options(self, given: Mapping[str, Any], fn: object) -> Options:
        return Options.of({"progress": self.progress, **given}, fn)

    def _map(
        self,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        options: Options,
        spread: CallStyle | None = None,
    ) -> Results:
        __tracebackhide__ = True
        launch = self._over(fn, iterables, options, spread=spread)
        with launch as run:
            try:
                return self._wait(run, options.progress, total_of(iterables, options))
            finally:
                del run  # see `Launch`
                launch.at_end()

    def _imap(
        self, fn: Callable[..., Any], iterables: tuple[Iterable[Any], ...], options: Options, *, ordered: bool
    ) -> Iterator[Any]:
        with self._over(fn, iterables, options, streaming=True, ordered=ordered) as run:
            return shown_stream(run, options, total_of(iterables, options), self._resize_by)

    def _over(
        self,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        options: Options,
        **how: Any,
    ) -> Launch[Run]:
        """Prepare a run; workers that are added for it are given up at its end at the latest."""
        with beginning(lambda: options.label or function_name(fn)):
            give_up = self._reserve(options.workers)
            try:
                return self.launcher.over(fn, iterables, options, at_end=give_up, **how)
            except BaseException:
                give_up()
                raise

    def _wait(self, run: Run, progress: str, total: int | None) -> Results:
        """Show the run that has begun, and wait for it."""
        __tracebackhide__ = True
        try:
            with shown(run, progress, total=total, resize=self._resize_by) as watch:
                run.wait(watch=watch)
            return run.get()
        finally:
            del run  # see `Launch`
