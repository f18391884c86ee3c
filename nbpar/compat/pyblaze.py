"""`pyblaze.multiprocessing` on engines: `Vectorizer` with the original's arguments.

Workers stay warm from call to call, work is dealt out as it gets done, and an exception or a
worker's death ends `process` instead of hanging it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from itertools import pairwise
from typing import Any

from nbpar.cluster.limits import usable_cpus
from nbpar.core.short import function_name
from nbpar.defaults import default_pool
from nbpar.inputs import length_of
from nbpar.pipeline import Pipeline, Stage
from nbpar.pipeline.flow import PipelineRun
from nbpar.pool import Pool
from nbpar.worker.staged import kept

__all__ = ["Vectorizer"]

TICK = 0.02
"""Seconds that a callback may be late."""


class Vectorizer:
    """Applies a function to many items on several workers.

    Args:
        worker_func: called as `worker_func(item, *args, *init)`.
        worker_init: called once on each worker as `worker_init(rank, **init_kwargs)`, with ranks from 0.
            A tuple that it returns is handed to `worker_func` as its last arguments, None as none,
            anything else as one.  What it returned serves later calls of `process`, too, where the
            worker has that rank again.
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

        They are dealt out as workers get free.  Only where there is a `worker_init` each rank gets one part
        of a list, as with the original, because what it has made may make a difference; an iterator
        is dealt out also then.

        Raises:
            Exception: what `worker_func`, `worker_init` or `callback_func` raised first.
            WorkerDied: an item killed its worker twice.
        """
        if self.worker_init is not None and self.num_workers > 1 and hasattr(items, "__getitem__"):
            return self._by_rank(items, args)
        function = self._function(args, numbered=self.callback_func is not None)
        with ExitStack() as stack:
            apply, deal = self._ways(function, stack)
            shown = {"progress": self.progress, "label": self._name}
            if self.callback_func is None:
                return list(apply(items, **shown))
            values = stack.enter_context(closing(deal(enumerate(items), total=length_of((items,)), **shown)))
            return self._counted(values, self.callback_func)

    def _ways(
        self, function: Callable[..., Any], stack: ExitStack
    ) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Return what maps in order, and what as results come; all of a pool needs no pipeline for that."""
        pool, workers = self._pool, self.num_workers
        if self.worker_init is None and pool is not None and pool.size <= workers:
            return partial(pool.map, function), partial(pool.imap_unordered, function)
        ranks = None if self.worker_init is None else [(rank,) for rank in range(max(workers, 1))]
        stage = Stage(function, workers=workers, worker_args=ranks)
        pipeline = stack.enter_context(Pipeline([stage], pool=pool))
        return pipeline.map, pipeline.imap_unordered

    @property
    def _pool(self) -> Pool | None:
        return self.pool if self.pool is not None or not self.num_workers else default_pool(self.num_workers)

    @property
    def _name(self) -> str:
        return function_name(self.worker_func)

    @staticmethod
    def _counted(values: Iterable[tuple[int, Any]], callback: Callable[[], Any]) -> list[Any]:
        results: dict[int, Any] = {}
        for index, value in values:
            results[index] = value
            callback()
        return [results[index] for index in sorted(results)]

    def _by_rank(self, items: Any, args: tuple[Any, ...]) -> list[Any]:
        """Give each rank its part of the items, on a worker of its own."""
        function, runs = self._function(args, numbered=False), list[PipelineRun]()
        with ExitStack() as stack:
            stack.callback(_cancel, runs)
            for rank, part in enumerate(_parts(items, self.num_workers)):
                name = f"{self._name}, rank {rank}"
                stage = Stage(function, workers=1, worker_args=[(rank,)], name=name)
                pipeline = stack.enter_context(Pipeline([stage], pool=self._pool))
                runs.append(pipeline.map_async(part, progress="none"))
            self._call_back(runs)
            failed = [run for run in runs if run.state == "failed"]
            return [value for run in failed or runs for value in run.get()]

    def _call_back(self, runs: list[PipelineRun]) -> None:
        """Wait until runs are over, or one has failed; call back for every item meanwhile."""
        called = 0
        while True:
            under_way = [run for run in runs if not run.done]
            done = sum(run.snapshot.done for run in runs)
            while self.callback_func is not None and called < done:
                self.callback_func()
                called += 1
            if not under_way or any(run.state == "failed" for run in runs):
                return
            under_way[0].is_over_within(TICK)

    def _function(self, args: tuple[Any, ...], numbered: bool) -> Callable[..., Any]:
        """Return what the workers run: it travels by value, so that engines need no nbpar of their own."""
        function, init, init_kwargs, token = self.worker_func, self.worker_init, self.init_kwargs, self._token
        if init is None and not args and not numbered:
            return function

        def more(rank: int) -> tuple[Any, ...]:
            made = None if init is None else init(rank, **init_kwargs)
            return made if isinstance(made, tuple) else () if made is None else (made,)

        def call(item: Any, *rank: int) -> Any:
            last = kept(f"{token}.{rank[0]}", lambda: more(*rank)) if rank else ()
            if numbered:
                return item[0], function(item[1], *args, *last)
            return function(item, *args, *last)

        return call


def _cancel(runs: list[PipelineRun]) -> None:
    for run in runs:
        run.cancel()


def _parts(items: Any, number: int) -> Iterator[Any]:
    """Yield neighbouring parts of nearly the same length, the first ones longer."""
    size, longer = divmod(len(items), number)
    cuts = [part * size + min(part, longer) for part in range(number + 1)]
    return (items[start:stop] for start, stop in pairwise(cuts))
