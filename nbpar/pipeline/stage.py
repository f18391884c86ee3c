"""One stage of a pipeline: a function, and its workers."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbpar.core.checks import BACKENDS, at_least, check_word
from nbpar.core.text import function_name


@dataclass(frozen=True, eq=False)
class Stage:
    """A function of one item, applied by workers of its own.

    Args:
        fn: called as `fn(item)`; with `batched` as `fn(items)`, which returns one result per item.
        workers: maximal number; None: all free ones, so that the slowest stage gets most;
            0: this thread, where breakpoints work.
        backend: "engines", "threads" or "serial"; by default that of the pipeline's pool.
        queue_size: maximal number of batches (items, if `batch_size` is "auto") queued for this stage;
            None: `buffersize` of `imap`, or what it will consume soon, 64 MB at most.
        initializer: called as `initializer(*initargs)` once on each worker before its first item.
        worker_args: one tuple per worker, appended to `initargs`, or to the item if there is no
            initializer.
        batched: call `fn` with whole batches.  If it raises, the items are retried one by one, so that
            only the faulty ones fail.
        batch_size: overrides the pipeline's.
        timeout, retries: override the map's.

    Raises:
        TypeError, ValueError: an argument is invalid; the message says what is allowed.
    """

    fn: Callable[..., Any]
    workers: int | None = None
    backend: str | None = None
    queue_size: int | None = None
    initializer: Callable[..., Any] | None = None
    initargs: tuple[Any, ...] = ()
    worker_args: Sequence[tuple[Any, ...]] | None = None
    batched: bool = False
    batch_size: int | str | None = None
    timeout: float | None = None
    retries: Any = None
    name: str = ""
    token: str = field(init=False, repr=False)
    """Identifies the initializer's preparation on a worker."""

    def __post_init__(self) -> None:
        if not callable(self.fn):
            raise TypeError(f"a stage needs a function, was {self.fn!r}")
        if self.backend is not None:
            check_word("backend", self.backend, BACKENDS)
        if self.backend == "threads" and self.timeout is not None:
            raise ValueError("timeout= needs engines: Python cannot stop what a thread runs")
        if self.initializer is not None and not callable(self.initializer):
            raise TypeError(f"initializer must be a function, was {self.initializer!r}")
        if self.workers is not None:
            at_least(0, "workers", self.workers)
        if self.queue_size is not None:
            at_least(1, "queue_size", self.queue_size)
        check_batch_size(self.batch_size)
        self._settle_worker_args()
        object.__setattr__(self, "initargs", tuple(self.initargs))
        object.__setattr__(self, "token", uuid.uuid4().hex)
        if not self.name:
            object.__setattr__(self, "name", function_name(self.fn))

    def _settle_worker_args(self) -> None:
        if self.worker_args is None:
            return
        given = [args if isinstance(args, tuple) else (args,) for args in self.worker_args]
        if self.workers is None:
            object.__setattr__(self, "workers", len(given))
        if len(given) < max(self.workers or 0, 1):
            raise ValueError(
                f"worker_args needs one tuple for each of {self.workers} workers, were {len(given)}"
            )
        object.__setattr__(self, "worker_args", given)


def check_batch_size(value: int | str | None) -> None:
    """Raise unless it is None, "auto" or a number above 0."""
    if value is not None and value != "auto":
        at_least(1, "batch_size", value, '"auto" or ')
