"""One stage of a pipeline: a function, and its workers."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbpar.core.checks import (
    BACKENDS,
    arguments_of,
    at_least,
    check_flag,
    check_function,
    check_seconds,
    check_text,
    check_word,
    number_of_workers,
)
from nbpar.core.concurrency import concurrency_of
from nbpar.core.rates.rate import Rate
from nbpar.core.rates.retry import Retry
from nbpar.core.scheduling.needs import Needs
from nbpar.core.text import function_name, plural, short
from nbpar.host.deadlines import CENTURY


@dataclass(frozen=True, eq=False)
class Stage:
    """A function of one item, applied by workers of its own.

    Args:
        fn: called as `fn(item)`; with `batched` as `fn(items)`, which returns one result per item.  Of an
            `async def` many items are under way at once on each worker.
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
        concurrency: items of an `async def` under way at once on each worker; by default 100.
        rate: limit of items that begin here in any window of time: "500/min", "10/s", a number per second,
            `(number, seconds)`, or a `Rate` that several stages and runs share.
        needs: what an item, or a batch with `batched`, needs of its host, {"memory": "2GB", "cores": 2}: as
            many are under way at once as fit, together with those of all pools of this process.

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
    concurrency: int | None = None
    rate: Any = None
    needs: Any = None
    token: str = field(init=False, repr=False)
    """Identifies the initializer's preparation on a worker."""

    def __post_init__(self) -> None:
        if not callable(self.fn):
            raise TypeError(f"a stage needs a function, was {short(self.fn)}")
        if self.initializer is not None:
            check_function("initializer", self.initializer, "None or ")
        initargs = arguments_of("initargs", self.initargs, self.initializer, "initializer=")
        object.__setattr__(self, "initargs", initargs)
        self._check_concurrency()
        self._check_workers()
        self._check_limits()
        if self.batch_size is not None:
            object.__setattr__(self, "batch_size", batch_size_of(self.batch_size))
        check_flag("batched", self.batched)
        self._settle_worker_args()
        object.__setattr__(self, "token", uuid.uuid4().hex)
        check_text("name", self.name)
        if not self.name:
            object.__setattr__(self, "name", function_name(self.fn))

    @property
    def at_once(self) -> int:
        """Items under way at once on each worker if its function is async; otherwise 0."""
        return concurrency_of(self.fn, self.concurrency)

    def _check_concurrency(self) -> None:
        if self.concurrency is not None:
            object.__setattr__(self, "concurrency", at_least(1, "concurrency", self.concurrency, "None or "))
        if self.at_once and self.batched:
            raise ValueError(
                f"`{function_name(self.fn)}` is async, and its items are under way one by one, many at once; "
                "leave out batched=True, or give batches as items"
            )

    def _check_workers(self) -> None:
        if self.backend is not None:
            check_word("backend", self.backend, BACKENDS)
        if self.workers is not None:
            object.__setattr__(self, "workers", at_least(0, "workers", self.workers, "None or "))
            if self.workers:
                number_of_workers(self.workers)
        if self.queue_size is not None:
            object.__setattr__(self, "queue_size", at_least(1, "queue_size", self.queue_size, "None or "))

    def _check_limits(self) -> None:
        if self.retries is not None:
            Retry.of(self.retries)
        object.__setattr__(self, "needs", Needs.of(self.needs))
        if self.rate is not None:
            object.__setattr__(self, "rate", Rate.of(self.rate))
            if self.batched:
                raise ValueError(
                    "rate= needs batched=False: it counts items, and those of a batch may be tried one by one"
                )
        if self.timeout is None:
            return
        if check_seconds("timeout", self.timeout) == CENTURY:
            object.__setattr__(self, "timeout", None)
        elif self.backend == "threads" and not self.at_once:
            raise ValueError("timeout= needs engines: Python cannot stop what a thread runs")

    def _settle_worker_args(self) -> None:
        if self.worker_args is None:
            return
        arguments: Any = self.worker_args
        if isinstance(arguments, (str, bytes)) or not isinstance(arguments, Iterable):
            raise TypeError(
                f"worker_args must be a list of tuples, one for each worker, was {short(arguments)}"
            )
        given = [args if isinstance(args, tuple) else (args,) for args in arguments]
        if self.workers is None:
            object.__setattr__(self, "workers", len(given))
        if len(given) < max(self.workers or 0, 1):
            number = plural(max(self.workers or 0, 1), "worker")
            raise ValueError(f"worker_args needs one tuple for each of {number}, were {len(given)}")
        object.__setattr__(self, "worker_args", given)


def batch_size_of(value: int | str) -> int | str:
    """Return "auto" or an integer.

    Raises:
        TypeError, ValueError: it is neither "auto" nor a whole number above 0.
    """
    return (
        "auto"
        if isinstance(value, str) and value == "auto"
        else at_least(1, "batch_size", value, '"auto" or ')
    )
