"""`gluonnlp.utils.parallel` on nbpar's workers: `Parallelizable` and `Parallel` with `put` and `get`.

An exception comes out of `get`, which the original never returns from, and no thread keeps the
interpreter from ending.
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

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
        self._made_here: deque[Any] = deque()
        """Results of what ran in `put`."""

        self._queue = None
        if num_workers > 0:
            pool = Pool(num_workers, backend=backend, progress="none")
            self._finalizer = weakref.finalize(self, pool.close)
            self._queue = pool.queue(parallizable.forward_backward)

    def put(self, x: Any) -> None:
        """Have `forward_backward(x)` called; the first ones, and all without workers, here and now.

        Raises:
            Exception: what a call that runs here raises.
        """
        if self._queue is None or self._num_serial > 0:
            self._num_serial -= 1
            self._made_here.append(self._parallizable.forward_backward(x))
        else:
            self._queue.put(x)

    def get(self, timeout: float | None = None) -> Any:
        """Return the next result that is ready, whichever input it belongs to.

        Raises:
            Exception: what `forward_backward` raised for an input.
            TimeoutError: none got ready in time.
            LookupError: there is nothing to wait for.
        """
        try:
            return self._made_here.popleft()
        except IndexError:
            if self._queue is None:
                raise LookupError("get() has returned everything that was put()") from None
        return self._queue.get(timeout)

    def close(self) -> None:
        """Let the workers go; what has not begun is dropped.  May be called twice."""
        if self._queue is not None:
            self._queue.close()
            self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
