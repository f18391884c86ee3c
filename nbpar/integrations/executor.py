"""A pool as a `concurrent.futures.Executor`, for libraries that ask for one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, wait
from typing import TYPE_CHECKING, Any

from nbpar.errors import PicklingError
from nbpar.options import Options
from nbpar.telling import teller

if TYPE_CHECKING:
    from nbpar.calls import Calls
    from nbpar.run import Run


class PoolExecutor(Executor):
    """Runs calls on a pool's workers; what `concurrent.futures` says of executors holds.

    The pool is not its own: after `shutdown` the pool goes on.  More than an executor has to do: functions
    and data of notebooks travel, `cancel()` of a future also stops what runs, and a worker that dies
    costs one call.

    Args:
        pool: whose workers to use.
    """

    def __init__(self, pool: Calls) -> None:
        self._pool = pool
        self._lock = threading.Condition()  # guards what follows; tells when a call is forgotten
        self._closed = False
        self._futures: dict[Future[Any], None] = {}
        """Calls that are not done, the newest last."""

        self._runs: list[Run] = []
        """Maps whose items are all computed whether somebody takes their results or not."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call `fn(*args, **kwargs)` on a worker and return its future at once.

        Raises:
            RuntimeError: after `shutdown`.
        """
        with self._lock:
            self._refuse_if_closed()
            try:
                future = self._pool.submit(fn, *args, **kwargs)
            except PicklingError as error:
                future = Future()
                future.set_exception(error)
            self._futures[future] = None
        future.add_done_callback(self._forget)
        return future

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | str = "auto",
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """Apply `fn` to every item and yield the results in order; leaving early cancels the rest.

        Args:
            fn: any function.
            iterables: its arguments, up to the shortest.  They are read at once, unless there is a
                `buffersize`.
            timeout: seconds from now after which waiting for a result raises TimeoutError.
            chunksize: items sent together; "auto" aims at 50 ms of work.
            buffersize: at most so many items are under way or waiting to be taken.

        Raises:
            RuntimeError: after `shutdown`.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        eager = buffersize is None
        if eager:
            items = list(zip(*iterables, strict=False))
            iterables = tuple(zip(*items, strict=True)) if items else ([],)
            buffersize = max(1, len(items))
        options = Options.of({"chunksize": chunksize, "buffersize": buffersize, "progress": "none"})
        begun: list[Run] = []
        with self._lock:
            self._refuse_if_closed()
            run = self._pool.launcher.over(fn, iterables, options, begun, streaming=True, ordered=True)
            self._runs = [run for run in self._runs if not run.done] + begun * eager
        values = _values(run, deadline)
        next(values)  # from now on it is stopped also when it is forgotten before the first value
        return values

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; the pool stays open.  May be called twice.

        Args:
            wait: until everything that was asked for is done.
            cancel_futures: cancel calls that have not begun, and stop maps.
        """
        with self._lock:
            self._closed = True
        if cancel_futures:
            self._cancel()
        if wait:
            _finish(list(self._futures), self._runs)
            self._finish_callbacks()

    def _forget(self, future: Future[Any]) -> None:
        with self._lock:
            self._futures.pop(future, None)
            self._lock.notify_all()

    def _finish_callbacks(self) -> None:
        """Wait until the futures' callbacks have been called, unless this is one of them."""
        if not teller.here:
            with self._lock:
                self._lock.wait_for(lambda: not self._futures)
            teller.wait()

    def _cancel(self) -> None:
        for run in self._runs:
            run.cancel()
        for future in reversed(list(self._futures)):  # so that none begins meanwhile
            if not future.running():
                future.cancel()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")


def _values(run: Run, deadline: float | None) -> Iterator[Any]:
    try:
        yield None
        yield from run.stream(deadline=deadline)
    finally:
        run.cancel()


def _finish(futures: list[Future[Any]], runs: list[Run]) -> None:
    wait(futures)
    for run in runs:
        run.wait()
