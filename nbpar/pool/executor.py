"""A pool as a `concurrent.futures.Executor`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, Protocol

from nbpar.core.call_style import CallStyle
from nbpar.core.scheduling.needs import Needs
from nbpar.core.source import HandedOverSource
from nbpar.errors import PicklingError
from nbpar.host.deadlines import deadline_in
from nbpar.host.frames import entrance
from nbpar.host.interpreter_exit import interpreter
from nbpar.pool.options import Options
from nbpar.pool.outstanding import OutstandingWork, prepare_for_exit
from nbpar.run.callbacks import callback_thread
from nbpar.run.futures import CallFuture
from nbpar.run.printing import Printer

if TYPE_CHECKING:
    from nbpar.pool.launch import Launcher
    from nbpar.run.run import Run


class Workers(Protocol):
    """The part of a pool that an executor uses."""

    @property
    def size(self) -> int:
        """Number of workers."""

    @property
    def launcher(self) -> Launcher:
        """Starts calls and maps."""


class PoolExecutor(Executor):
    """Runs calls on a pool's workers, with the interface and guarantees of `concurrent.futures`.

    It does not own the pool, which stays open after `shutdown`.  Beyond the standard: functions
    and data of notebooks can be sent, `cancel()` also stops a running call, and a worker that dies
    costs one call.

    Args:
        pool: provides the workers.
        needs: what each call needs of its host, as of `Pool.map`.
    """

    def __init__(self, pool: Workers, needs: Any = None) -> None:
        self._pool = pool
        self._needs = Needs.of(needs)
        self._work = OutstandingWork()
        self._lock = threading.Lock()  # between what begins and `shutdown`
        self._closed = False
        interpreter.finish_first(self._work)

    @property
    def _max_workers(self) -> int:
        """Number of workers, under the name that the standard's executors have for it: dask reads it."""
        return self._pool.size

    @entrance
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call `fn(*args, **kwargs)` on a worker and return its future at once.

        Raises:
            RuntimeError: after `shutdown`.
        """
        with self._lock:
            self._refuse_if_closed()
            launcher = self._pool.launcher
            try:
                future: Future[Any] = launcher.submit(fn, args, kwargs, self._needs)
            except PicklingError as error:
                future = Future()
                future.set_exception(error)
            if isinstance(future, CallFuture):
                future.join(self._work)
                prepare_for_exit(launcher.dispatcher)
        return future

    @entrance
    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | str = "auto",
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """Apply `fn` to every item and yield the results in order; leaving early cancels the rest.

        Dropping the iterator before its first value cancels nothing, unless there is a `buffersize`.

        Args:
            fn: any function.
            iterables: its arguments, up to the shortest.  They are read at once, unless there is a
                `buffersize`.
            timeout: seconds from now after which waiting for a result raises TimeoutError.
            chunksize: items sent together; "auto" aims at 50 ms of work.
            buffersize: maximal number of items running or waiting to be consumed.

        Raises:
            RuntimeError: after `shutdown`.
        """
        deadline = deadline_in(timeout)
        options = Options(chunksize, buffersize=buffersize, progress="none", needs=self._needs)
        self._refuse_if_closed()
        source = HandedOverSource(_together(iterables)) if buffersize is None else None
        with self._lock:
            self._refuse_if_closed()
            launcher = self._pool.launcher
            if source is not None:
                run = launcher.at_once(fn, source, _spread(iterables), options)
                self._work.add_run(run, by_caller=launcher.dispatcher.blocking)
                prepare_for_exit(self._pool.launcher.dispatcher)
                return run.stream_if_wanted(deadline)
            run = launcher.over(fn, iterables, options, streaming=True, ordered=True).begin()
        values = _values(run, deadline)
        next(values)  # from now on dropping it stops it, even before the first value
        return values

    @entrance
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more calls; the pool stays open.  Idempotent.

        Args:
            wait: until all calls are done.
            cancel_futures: cancel pending calls, and stop maps.
        """
        with self._lock:
            self._closed = True
        if cancel_futures:
            self._work.cancel(running=False)
        if wait:
            futures.wait(waited := list(self._work.futures))
            for future in waited:
                self._work.await_callbacks(future)
            for run in list(self._work.runs):
                run.wait()
            if not callback_thread.here:  # the callbacks of finished calls run before this returns
                callback_thread.wait()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if interpreter.over or (
            interpreter.begun and (callback_thread.here or threading.current_thread().daemon)
        ):
            # what they want may be without end; other threads are waited for anyway
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")


def _together(iterables: tuple[Iterable[Any], ...]) -> Iterable[Any]:
    return iterables[0] if len(iterables) == 1 else zip(*iterables, strict=False)


def _spread(iterables: tuple[Iterable[Any], ...]) -> CallStyle:
    return CallStyle.ONE if len(iterables) == 1 else CallStyle.STAR


def _values(run: Run, deadline: float | None) -> Iterator[Any]:
    run.show_output = Printer().show
    try:
        yield None
        yield from run.stream(deadline=deadline)
    finally:
        run.cancel()
        del run  # the error's traceback holds this frame, and the run the error
