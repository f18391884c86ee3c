"""`Pool.queue`: put items one by one, get results as they are ready."""

from __future__ import annotations

import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nbpar.core.chunking import Chunker
from nbpar.core.concurrency import ConcurrentChunker, concurrency_of
from nbpar.core.events import Event, ItemPrinted
from nbpar.core.outcome import Failure, Part
from nbpar.core.rates.rate import Gate, Rate
from nbpar.core.scheduling.needs import Claim, Needs
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.source import ReadySource
from nbpar.core.text import function_name
from nbpar.core.transcript import Transcript
from nbpar.dispatch.dispatcher import Stir
from nbpar.dispatch.hosts import accounted
from nbpar.dispatch.job import Job
from nbpar.errors import PoolClosedError
from nbpar.host.deadlines import waiting_time
from nbpar.host.frames import entrance
from nbpar.host.queues import take
from nbpar.pool.launch import Launcher
from nbpar.run.notes import annotate
from nbpar.run.printing import Printer

if TYPE_CHECKING:
    from typing_extensions import Self

OWN = -1
"""Index of a result that belongs to no item."""


class CallQueue:
    """Calls `fn` with each item that is `put`, on the workers; `get` returns results in order of completion.

    Thread-safe: any thread may put and get.  Close it at the end, best by `with`: its workers stay reserved
    until then.

    Args:
        fn: the function; workers keep it, with its captured objects, as long as the queue is open.
        launcher: starts the calls.
        patient: `get` waits for another thread's `put` instead of raising `LookupError`.
        workers: maximal number of workers; None: all.
        rate: limit of items that begin in any window of time, as of `Pool.map`.
        needs: what an item needs of its host, likewise.
    """

    @entrance
    def __init__(
        self,
        fn: Callable[[Any], Any],
        launcher: Launcher,
        *,
        patient: bool = False,
        workers: int | None = None,
        rate: Any = None,
        needs: Any = None,
    ) -> None:
        self._desk = launcher.dispatcher
        stir = Stir(launcher.dispatcher)
        self._inputs = _Inputs(stir)
        self._results = _Results()
        self._printer = Printer()
        self._lock = threading.Lock()  # guards the number of outstanding results
        self._due = 0
        self._patient = patient
        needed = accounted(Needs.of(needs), all_here=launcher.all_here)
        concurrency, limit = concurrency_of(fn, None), Rate.of(rate)
        chunker = ConcurrentChunker(concurrency) if concurrency else Chunker(1)
        state = RunState(
            self._desk.new_id(), self._inputs, chunker, ordered=False, most_workers=workers,
            gate=None if limit is None else Gate(limit, stir),
            claim=None if needed is None else Claim(needed, stir, each=concurrency > 0),
        )  # fmt: skip
        stir.state = state
        name = function_name(fn)
        job = Job(state, self._results, launcher.load(fn), fn, name, fail_fast=False)
        job.begin = launcher.begin_of(state.id, fn, job.load, limit=limit)
        self._desk.start(job)
        self._end = weakref.finalize(self, self._desk.stop, job, _closed())
        self._end.atexit = False  # the pool is closed by then

    @property
    def due(self) -> int:
        """Number of results not yet returned by `get`, ready or not."""
        return max(self._due, 0)

    @property
    def open(self) -> bool:
        """Whether more results may come."""
        return self._end.alive and self._results.error is None

    @property
    def unanswered(self) -> int:
        """Number of items without a result yet."""
        return self._inputs.count - self._results.count

    @entrance
    def put(self, item: Any) -> None:
        """Call `fn(item)` on the next free worker; returns at once.

        A serial pool calls it in `get`.

        Raises:
            PoolClosedError: the queue or its pool is closed.
        """
        if not self.open:
            raise self._results.error or _closed()
        with self._lock:
            self._due += 1
            self._inputs.count += 1
        self._inputs.put(item)

    def answer(self, value: Any) -> None:
        """Add a result that was computed elsewhere, for `get` to return."""
        with self._lock:
            self._due += 1
        self._results.answer(value)

    @entrance
    def get(self, timeout: float | None = None) -> Any:
        """Return the next result in order of completion.

        Ctrl-C while it waits closes the queue, which stops all computing.

        Args:
            timeout: seconds to wait; None: no limit.

        Raises:
            Exception: raised by `fn` for an item, with a note that names it; the others are not lost.
            TimeoutError: no result was ready in time; call `get` again later.
            LookupError: there are no outstanding items.
            PoolClosedError: the queue or its pool was closed before.
        """
        timeout = waiting_time(timeout)
        with self._lock:
            if self._due < 1 and not self._patient:
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
            try:
                raise value.exception
            finally:
                del value  # the exception's traceback holds this frame
        return value

    @entrance
    def close(self) -> None:
        """Drop pending items, interrupt running ones, release the workers.  Idempotent.

        Output of items whose results were not retrieved is shown.
        """
        self._end()
        self._printer.show(self._results.transcript.take())
        self._printer.close(self._results.transcript.left_out)

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


class _Inputs(ReadySource):
    """A source that is filled by `put`."""

    ended = False
    remaining = None

    def __init__(self, wake: Callable[[], None]) -> None:
        self._items: deque[Any] = deque()
        self._wake = wake
        self.count = 0
        """Number of items put so far."""

    def put(self, item: Any) -> None:
        self._items.append(item)
        self._wake()

    @property
    def ready(self) -> bool:
        return bool(self._items)

    def take(self, limit: int, *, eager: bool) -> Sequence[Any]:  # noqa: ARG002 (one by one)
        return [self._items.popleft() for _ in range(min(limit, len(self._items)))]


class _Results:
    """Takes outcomes from the dispatcher's thread, in any order."""

    def __init__(self) -> None:
        self._values: queue.SimpleQueue[tuple[int, Any] | None] = queue.SimpleQueue()
        self.transcript = Transcript()
        self.count = 0
        """Number of items with a result."""

        self.error: BaseException | None = None
        """The reason why no more results will come."""

    @property
    def ready(self) -> bool:
        return not self._values.empty()

    def take(self, timeout: float | None) -> tuple[int, Any]:
        try:
            entry = take(self._values, timeout)
        except queue.Empty:
            raise TimeoutError(f"no result was ready after {timeout:g} s") from None
        if entry is None:
            self._values.put(None)  # for the next waiting thread
            assert self.error is not None
            raise self.error
        return entry

    def deliver(self, parts: list[Part]) -> None:
        for part in parts:
            self.count += len(part.values)
            for index, value in enumerate(part.values, part.first):
                self._values.put((index, part.failures.get(index, value)))

    def answer(self, value: Any) -> None:
        self._values.put((OWN, value))

    def finish(self, error: BaseException | None) -> None:
        self.error = error or RuntimeError("the pool released its workers")
        self._values.put(None)

    def emit(self, event: Event) -> None:
        if type(event) is ItemPrinted:
            self.transcript.add(event.piece)
