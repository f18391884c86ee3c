"""`pyblaze.multiprocessing` on engines: `Vectorizer` with the original's arguments.

Workers stay warm from call to call, work is dealt out as it gets done, and an exception or a
worker's death ends `process` instead of hanging it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from typing import Any

from nbpar.cluster.limits import usable_cpus
from nbpar.defaults import default_pool
from nbpar.inputs import length_of
from nbpar.pipeline import Pipeline, Stage
from nbpar.pool import Pool
from nbpar.worker.staged import kept

__all__ = ["Vectorizer"]


class Vectorizer:
    """Applies a function to many items on several workers.

    Args:
        worker_func: called as `worker_func(item, *args, *init)`.
        worker_init: called once on each worker as `worker_init(rank, **init_kwargs)`, with ranks from 0.
            A tuple that it returns is handed to `worker_func` as its last arguments, None as none,
            anything else as one.  What it returned serves later calls of `process` too.
        callback_func: called without arguments in the caller's thread after every item.
        num_workers: how many; -1: the CPUs that this process may use; 0: the caller's thread.
        init_kwargs: for `worker_init`.
    """

    pool: Pool | None = None
    """Set this to use the workers of a pool of your own."""

    progress = "auto"
    """What `process` shows: "auto", "widget", "text" or "none"."""

    def __init__(
        self,
        worker_func: Callable[..., Any],
        worker_init: Callable[..., Any] | None = None,
        callback_func: Callable[[], Any] | None = None,
        num_workers: int = -1,
        **init_kwargs: Any,
    ) -> None:
        self.worker_func = worker_func
        self.worker_init = worker_init
        self.callback_func = callback_func
        self.num_workers = usable_cpus() if num_workers == -1 else num_workers
        self.init_kwargs = init_kwargs
        self._token = uuid.uuid4().hex

    def process(self, items: Iterable[Any], *args: Any) -> list[Any]:
        """Return the results of all items, in the order of the items.

        Items of a list, too, are dealt out as workers get free: which rank an item meets is not fixed.

        Raises:
            Exception: what `worker_func`, `worker_init` or `callback_func` raised first.
            WorkerDied: an item killed its worker twice.
        """
        workers = self.num_workers
        ranks = None if self.worker_init is None else [(rank,) for rank in range(max(workers, 1))]
        stage = Stage(self._function(args), workers=workers, worker_args=ranks, name=self._name)
        pool = self.pool if self.pool is not None or not workers else default_pool(workers)
        with Pipeline([stage], pool=pool) as pipeline:
            if self.callback_func is None:
                return list(pipeline.map(items, progress=self.progress))
            return self._counted(pipeline, items, self.callback_func)

    @property
    def _name(self) -> str:
        return getattr(self.worker_func, "__name__", type(self.worker_func).__name__)

    def _counted(self, pipeline: Pipeline, items: Iterable[Any], callback: Callable[[], Any]) -> list[Any]:
        results: dict[int, Any] = {}
        total = length_of((items,))
        for index, value in pipeline.imap_unordered(enumerate(items), progress=self.progress, total=total):
            results[index] = value
            callback()
        return [results[index] for index in sorted(results)]

    def _function(self, args: tuple[Any, ...]) -> Callable[..., Any]:
        """Return what the workers run: it travels by value, so that engines need no nbpar of their own."""
        function, init, init_kwargs, token = self.worker_func, self.worker_init, self.init_kwargs, self._token
        numbered = self.callback_func is not None

        def more(rank: int) -> tuple[Any, ...]:
            made = None if init is None else init(rank, **init_kwargs)
            return made if isinstance(made, tuple) else () if made is None else (made,)

        def call(item: Any, *rank: int) -> Any:
            last = kept(f"{token}.{rank[0]}", lambda: more(*rank)) if rank else ()
            if numbered:
                return item[0], function(item[1], *args, *last)
            return function(item, *args, *last)

        return call
