"""Items put in one by one, results got as they are ready: `Pool.queue`."""

from __future__ import annotations

import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nbpar.core.chunking import Chunker
from nbpar.core.events import Event, ItemPrinted
from nbpar.core.outcome import Failure, Part
from nbpar.core.runstate import RunState
from nbpar.core.short import function_name
from nbpar.core.transcript import Transcript
from nbpar.dispatch.job import Job
from nbpar.errors import PoolClosedError
from nbpar.launch import Launcher
from nbpar.notes import annotate
from nbpar.printing import Printer
from nbpar.worker.queues import take

if TYPE_CHECKING:
    from typing_extensions import Self


class CallQueue:
    """Calls `fn` with each item that is `put`, on the workers; `get` returns results as they are ready.

    Any thread may put and get.  Close it when nothing more comes, best by `with`: workers stay with it
    until then.

    Args:
        fn: the function; workers keep it, with what it captured, as long as the queue is open.
        launcher: where the calls run.
    """

    def __init__(self, fn: Callable[[Any], Any], launcher: Launcher) -> None:
        self._desk = launcher.dispatcher
        self._inputs = _Inputs(launcher.wake)
        self._results = _Results()
        self._printer = Printer()
        self._lock = threading.Lock()  # guards the number of results that are due
        self._due = 0
        state = RunState(self._desk.new_id(), self._inputs, Chunker(1), ordered=False)
        name = function_name(fn)
        job = Job(state, self._results, launcher.load(fn), fn, name, fail_fast=False)
        job.begin = launcher.begin_of(state.id, job.load)
        self._desk.start(job)
        self._end = weakref.finalize(self, self._desk.stop, job, _closed())
        self._end.atexit = False  # the pool is closed then

    @property
    def due(self) -> int:
        """How many results nobody has got yet, whether they are ready or not."""
        return self._due

    def put(self, item: Any) -> None:
        """Have `fn(item)` called by the next worker that is free; returns at once.

        A serial pool calls it when a result is asked for.

        Raises:
            PoolClosedError: the queue or its pool is closed.
        """
        if (error := self._results.error) is not None or not self._end.alive:
            raise error or _closed()
        with self._lock:
            self._due += 1
        self._inputs.put(item)

    def get(self, timeout: float | None = None) -> Any:
        """Return the next result that is ready, whichever item it belongs to.

        Ctrl-C while it waits closes the queue, so that nothing goes on computing.

        Args:
            timeout: seconds to wait; None: as long as it takes.

        Raises:
            Exception: what `fn` raised for an item, with a note that names it; the others are not lost.
            TimeoutError: none was ready in time; it can still be got later.
            LookupError: there is nothing to wait for.
            PoolClosedError: the queue or its pool was closed before.
        """
        with self._lock:
            if self._due < 1:
                raise LookupError("get() has returned everything that was put()")
            self._due -= 1
        try:
            index, value = self._next(timeout)
        except BaseException as error:
            with self._lock:
                self._due += 1
            if isinstance(error, KeyboardInterrupt):
                self.close()
            raise
        self._printer.show(self._results.transcript.take(index, index + 1))
        if isinstance(value, Failure):
            annotate(value)
            raise value.exception
        return value

    def close(self) -> None:
        """Drop what has not begun, interrupt what runs, let the workers go.  May be called twice."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _next(self, timeout: float | None) -> tuple[int, Any]:
        while self._desk.blocking and not self._results.ready:
            self._desk.step()
        return self._results.take(timeout)


def _closed() -> PoolClosedError:
    return PoolClosedError("the queue is closed; make a new one with pool.queue(fn)")


class _Inputs:
    """A source that is filled by `put`."""

    ended = False
    remaining = None

    def __init__(self, wake: Callable[[], None]) -> None:
        self._items: deque[Any] = deque()
        self._wake = wake

    def put(self, item: Any) -> None:
        self._items.append(item)
        self._wake()

    @property
    def ready(self) -> bool:
        return bool(self._items)

    def take(self, limit: int, *, eager: bool) -> Sequence[Any]:  # noqa: ARG002 (one by one)
        return [self._items.popleft() for _ in range(min(limit, len(self._items)))]

    def want(self, total: int) -> None:
        """Everything is here already."""


class _Results:
    """Takes outcomes from the dispatcher's thread, in any order."""

    def __init__(self) -> None:
        self._values: queue.SimpleQueue[tuple[int, Any] | None] = queue.SimpleQueue()
        self.transcript = Transcript()
        self.error: BaseException | None = None
        """Why nothing more will come."""

    @property
    def ready(self) -> bool:
        return not self._values.empty()

    def take(self, timeout: float | None) -> tuple[int, Any]:
        try:
            entry = take(self._values, timeout)
        except queue.Empty:
            raise TimeoutError(f"no result was ready after {timeout:g} s") from None
        if entry is None:
            self._values.put(None)  # for the next one
            assert self.error is not None
            raise self.error
        return entry

    def deliver(self, parts: list[Part]) -> None:
        for part in parts:
            for index, value in enumerate(part.values, part.first):
                self._values.put((index, part.failures.get(index, value)))

    def finish(self, error: BaseException | None) -> None:
        self.error = error or RuntimeError("the workers were let go")
        self._values.put(None)

    def emit(self, event: Event) -> None:
        if type(event) is ItemPrinted:
            self.transcript.add(event.piece)
