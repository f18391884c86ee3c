"""One step of a pipeline: a function, and the workers that it gets."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbpar.core.short import function_name
from nbpar.core.words import BACKENDS, check_word
from nbpar.options import at_least


@dataclass(frozen=True, eq=False)
class Stage:
    """A function of one item, applied by workers of its own.

    Args:
        fn: called as `fn(item)`; with `batched` as `fn(items)`, which returns one result per item.
        workers: how many at most; None: as many as are free, so that the slowest stage gets most;
            0: this thread, where breakpoints work.
        backend: "engines", "threads" or "serial"; unless given, that of the pipeline's pool.
        queue_size: batches (items, while `batch_size` is "auto") that wait for this stage at most;
            None: what the `buffersize` of `imap` allows, or as many as it takes soon, 64 MB at most.
        initializer: called as `initializer(*initargs)` once on each worker before its first item.
        worker_args: one tuple for each worker; it follows `initargs`, or the item when there is no
            initializer, so that each worker has something of its own.
        batched: give `fn` whole batches.  When it raises, the items are tried one by one, so that
            only those are lost that fail by themselves.
        batch_size: in place of the pipeline's.
        timeout, retries: in place of the map's.

    Raises:
        TypeError, ValueError: something does not do; the message says what does.
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
    """Names what the initializer prepares on a worker."""

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
