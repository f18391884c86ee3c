"""`gluonnlp.utils.parallel` on nbpar's workers: `Parallelizable` and `Parallel` with `put` and `get`.

An exception comes out of `get`, which the original never returns from, and no thread keeps the
interpreter from ending.
"""

from __future__ import annotations

import queue
import weakref
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nbpar.core.chunking import Chunker
from nbpar.core.events import Event
from nbpar.core.outcome import Failure, Part
from nbpar.core.runstate import RunState
from nbpar.dispatch.job import Job
from nbpar.notes import annotate
from nbpar.pool import Pool

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Parallel", "Parallelizable"]


class Parallelizable:
    """A unit of work that `Parallel` runs on its workers."""

    def forward_backward(self, x: Any) -> Any:
        """Compute forward and backward; subclasses say how."""
        raise NotImplementedError


class Parallel:
    """Runs a `Parallelizable` on several workers, results in the order in which they get done.

    Args:
        num_workers: how many; 0: everything runs in `put`.
        parallizable: the object whose `forward_backward` is called.  Threads share it, each engine
            has a copy.
        serial_init: run the first `num_workers` inputs in `put`, so that what is made at first use
            is made by one thread.
        backend: "threads", or "engines" for code that holds the GIL.
    """

    def __init__(
        self,
        num_workers: int,
        parallizable: Parallelizable,
        serial_init: bool = True,
        *,
        backend: str = "threads",
    ) -> None:
        self._parallizable = parallizable
        self._num_serial = num_workers if serial_init else 0
        self._due = 0
        """Results that no `get` has asked for."""

        self._results = _Results()
        self._inputs: _Inputs | None = None
        if num_workers > 0:
            pool = Pool(num_workers, backend=backend, progress="none")
            self._finalizer = weakref.finalize(self, pool.close)
            self._inputs = _begin(pool, parallizable, self._results)

    def put(self, x: Any) -> None:
        """Have `forward_backward(x)` called; the first ones, and all without workers, here and now.

        Raises:
            Exception: what a call that runs here raises.
        """
        if self._inputs is None or self._num_serial > 0:
            self._num_serial -= 1
            self._results.values.put(self._parallizable.forward_backward(x))
        else:
            self._inputs.put(x)
        self._due += 1

    def get(self, timeout: float | None = None) -> Any:
        """Return the next result that is ready, whichever input it belongs to.

        Raises:
            Exception: what `forward_backward` raised for an input.
            TimeoutError: none got ready in time.
            LookupError: there is nothing to wait for.
        """
        if self._due < 1:
            raise LookupError("get() has returned everything that was put()")
        value = self._results.take(timeout)
        self._due -= 1
        if isinstance(value, Failure):
            annotate(value)
            raise value.exception
        return value

    def close(self) -> None:
        """Let the workers go; what has not begun is dropped.  May be called twice."""
        if self._inputs is not None:
            self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _begin(pool: Pool, parallizable: Parallelizable, results: _Results) -> _Inputs | None:
    """Begin a run without end over what will be put."""
    launcher = pool.launcher
    desk = launcher.dispatcher
    if desk.blocking:
        return None  # inside an item of another pool: everything runs in `put`
    inputs = _Inputs(launcher.wake)
    state = RunState(desk.new_id(), inputs, Chunker(1), ordered=False)
    function = parallizable.forward_backward
    desk.start(Job(state, results, launcher.load(function), function, "forward_backward", fail_fast=False))
    return inputs


class _Inputs:
    """A source that is filled by `put`."""

    ended = False
    remaining = None

    def __init__(self, wake: Any) -> None:
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
    """Takes outcomes from the workers, in any order."""

    def __init__(self) -> None:
        self.values: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def take(self, timeout: float | None) -> Any:
        try:
            value = self.values.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"no result was ready after {timeout:g} s") from None
        if isinstance(value, _End):
            self.values.put(value)  # for the next one
            raise value.error
        return value

    def deliver(self, parts: list[Part]) -> None:
        for part in parts:
            for index, value in enumerate(part.values, part.first):
                self.values.put(part.failures.get(index, value))

    def finish(self, error: BaseException | None) -> None:
        self.values.put(_End(error or RuntimeError("the workers were let go")))

    def emit(self, event: Event) -> None:
        """Nobody watches."""


class _End:
    """Nothing more will come."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
