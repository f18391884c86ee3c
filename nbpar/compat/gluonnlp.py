"""`gluonnlp.utils.parallel` on nbpar's workers: `Parallelizable` and `Parallel` with `put` and `get`.

`get` raises exceptions, where the original's never returns, and no thread keeps the
interpreter from exiting.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from nbpar.core.checks import BACKENDS, at_least, check_word
from nbpar.core.text import short
from nbpar.errors import PoolClosedError
from nbpar.host.deadlines import waiting_time
from nbpar.host.queues import take
from nbpar.pool.call_queue import CallQueue
from nbpar.pool.in_use import in_use
from nbpar.pool.launch import nothing
from nbpar.pool.pool import Pool

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Parallel", "Parallelizable"]

LINGER = 10.0
"""Seconds for pending inputs to finish after their `Parallel` is deleted; as in the original."""

LOOK = 0.01
"""Seconds between two checks whether it is done."""


class Parallelizable:
    """A unit of work that `Parallel` runs on its workers."""

    def forward_backward(self, x: Any) -> Any:
        """Compute forward and backward; implemented by subclasses."""
        raise NotImplementedError


class Parallel:
    """Runs a `Parallelizable` on several workers, with results in order of completion.

    When it is deleted, or the interpreter exits, pending inputs are finished first, for ten seconds at most.

    Args:
        num_workers: their number; 0: all calls run in `put`.
        parallizable: the object whose `forward_backward` is called.  Threads share it, each engine
            has a copy.
        serial_init: run the first `num_workers` inputs in `put`, so that objects created at first use
            are created by one thread.
        backend: "threads", or "engines" for code that holds the GIL: of its own, or those of the pool in use.
    """

    def __init__(
        self,
        num_workers: int,
        parallizable: Parallelizable,
        serial_init: bool = True,
        *,
        backend: str = "threads",
    ) -> None:
        num_workers = at_least(0, "num_workers", num_workers)
        if not callable(getattr(parallizable, "forward_backward", None)):
            raise TypeError(f"parallizable must have a method forward_backward, was {short(parallizable)}")
        check_word("backend", backend, BACKENDS)
        self._parallizable = parallizable
        self._num_serial = num_workers if serial_init else 0
        self._made_here: queue.SimpleQueue[Any] = queue.SimpleQueue()
        """Results, if all calls run in `put`."""

        self._queue = None
        if num_workers > 0:
            used = in_use() if backend == "engines" else None
            pool = Pool(num_workers, backend=backend, progress="none") if used is None else used
            self._queue = CallQueue(
                parallizable.forward_backward, pool.launcher, patient=True,
                workers=None if used is None else num_workers,
            )  # fmt: skip
            _watch_forks()
            _open[self._queue] = pool.close if used is None else nothing
            self._end = weakref.finalize(self, _let_go, self._queue)
            self._end.atexit = False  # pools are closed by then
            atexit.unregister(_finish_all)
            atexit.register(_finish_all)  # again: it must run before the handler that closes pools

    def put(self, x: Any) -> None:
        """Call `forward_backward(x)` on a worker; the first inputs, and all without workers, synchronously.

        Raises:
            Exception: any exception of a synchronous call.
        """
        if self._queue is not None and self._num_serial <= 0:
            self._queue.put(x)
            return
        self._num_serial -= 1
        value = self._parallizable.forward_backward(x)
        if self._queue is None:
            self._made_here.put(value)
        else:
            self._queue.answer(value)

    def get(self, timeout: float | None = None) -> Any:
        """Return the next result in order of completion.

        It blocks even if nothing has been put, because another thread may do so.

        Raises:
            Exception: raised by `forward_backward` for an input.
            TimeoutError: no result was ready in time.
        """
        if self._queue is not None:
            return self._queue.get(timeout)
        seconds = waiting_time(timeout)
        try:
            return take(self._made_here, seconds)
        except queue.Empty:
            raise TimeoutError(f"no result was ready after {seconds:g} s") from None

    def close(self) -> None:
        """Release the workers and drop pending inputs.  Idempotent."""
        if self._queue is not None:
            self._queue.close()
            self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


_open: dict[CallQueue, Callable[[], None]] = {}
"""What releases the workers of each."""


@cache
def _watch_forks() -> None:
    """Leave the calls to the parent if this process forks."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_open.clear)


def _let_go(calls: CallQueue) -> None:
    """Finish pending inputs, then release the workers."""
    if threading.current_thread() is threading.main_thread():
        _finish(calls)
    else:  # the garbage collector may run in a thread that must do that work
        threading.Thread(target=_finish, args=(calls,), name="nbpar finish").start()


def _finish_all() -> None:
    for calls in list(_open):
        _finish(calls)


def _finish(calls: CallQueue) -> None:
    release = _open.pop(calls, None)
    if release is None:
        return
    try:
        if calls.open:
            _settle(calls)
    finally:
        calls.close()
        release()


def _settle(calls: CallQueue) -> None:
    """Wait for pending inputs, and log failures."""
    log, deadline = logging.getLogger("nbpar"), time.monotonic() + LINGER
    while calls.open and calls.unanswered and time.monotonic() < deadline:
        time.sleep(LOOK)
    if calls.unanswered:
        log.warning("%d inputs of a Parallel were not done in %g s and are dropped", calls.unanswered, LINGER)
    while calls.due:
        try:
            calls.get(0)
        except (TimeoutError, PoolClosedError):
            return
        except Exception:
            log.exception("an input of a Parallel has failed, and no get() was there to raise it")
