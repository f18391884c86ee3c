"""`pyblaze.multiprocessing` on engines: `Vectorizer` with the original's arguments.

Workers stay warm from call to call, free workers get the next items, and an exception or a
worker's death ends `process` instead of hanging it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from itertools import islice, pairwise
from typing import Any

from nbpar.core.checks import at_least, check_function
from nbpar.core.text import function_name
from nbpar.core.transcript import Piece
from nbpar.host.cpus import usable_cpus
from nbpar.pipeline import Pipeline, Stage
from nbpar.pipeline.run import PipelineRun
from nbpar.pool.defaults import default_pool
from nbpar.pool.inputs import length_of
from nbpar.pool.pool import Pool
from nbpar.run.printing import Printer
from nbpar.worker.prepared import kept

__all__ = ["Vectorizer"]

TICK = 0.02
"""Maximal delay of a callback in seconds."""


class Vectorizer:
    """Applies a function to many items on several workers.

    Args:
        worker_func: called as `worker_func(item, *args, *init)`.
        worker_init: called once on each worker as `worker_init(rank, **init_kwargs)`, with ranks from 0.
            A tuple that it returns becomes the last arguments of `worker_func`, None adds none,
            any other value adds one.  Its result is reused by later calls of `process`, if the
            worker has that rank again.
        callback_func: called without arguments in the caller's thread after every item.
        num_workers: their number; -1: the CPUs available to this process; 0: the caller's thread.
        init_kwargs: keyword arguments of `worker_init`.
    """

    pool: Pool | None = None
    """Set this to use the workers of a pool of your own."""

    progress = "auto"
    """The view of `process`: "auto", "widget", "text" or "none"; no view if each rank has its part."""

    def __init__(
        self,
        worker_func: Callable[..., Any],
        worker_init: Callable[..., Any] | None = None,
        callback_func: Callable[[], Any] | None = None,
        num_workers: int = -1,
        **init_kwargs: Any,
    ) -> None:
        check_function("worker_func", worker_func)
        for name, given in (("worker_init", worker_init), ("callback_func", callback_func)):
            if given is not None:
                check_function(name, given, "None or ")
        num_workers = at_least(-1, "num_workers", num_workers)
        self.worker_func = worker_func
        self.worker_init = worker_init
        self.callback_func = callback_func
        self.num_workers = usable_cpus() if num_workers == -1 else num_workers
        self.init_kwargs = init_kwargs
        self._token = uuid.uuid4().hex

    def process(self, items: Iterable[Any], *args: Any) -> list[Any]:
        """Return the results of all items, in the order of the items.

        Free workers get the next items.  Only with a `worker_init` each rank gets one part
        of a list, as in the original, because results may depend on its state; an iterator
        is distributed dynamically even then.  A sequence without an end is read up to its length.
        Output of workers is shown in the order of the items, labeled by them.

        Raises:
            Exception: the first one raised by `worker_func`, `worker_init` or `callback_func`.
            WorkerDied: an item killed its worker when it was tried again, alone.
        """
        if self.worker_init is not None and self._pool is not None:
            self._pool.each(int)  # all are there: else the first would begin what is for another rank
        if self.worker_init is not None and self.num_workers > 1 and hasattr(items, "__getitem__"):
            return self._by_rank(items, args)
        function = self._function(args, numbered=self.callback_func is not None)
        with ExitStack() as stack:
            apply, deal = self._ways(function, stack)
            read = _bounded(items)
            shown = {"progress": self.progress, "label": self._name, "total": length_of((items,))}
            if self.callback_func is None:
                return list(apply(read, **shown))
            values = stack.enter_context(closing(deal(enumerate(read), **shown)))
            return self._counted(values, self.callback_func)

    def _ways(
        self, function: Callable[..., Any], stack: ExitStack
    ) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Return the functions that map in order, and by completion; a whole pool needs no pipeline."""
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
        function, ranks = self._function(args, numbered=False), _Ranks()
        with ExitStack() as stack:
            stack.callback(ranks.close)
            for rank, (start, part) in enumerate(_parts(items, self.num_workers)):
                name = f"{self._name}, rank {rank}"
                stage = Stage(function, workers=1, worker_args=[(rank,)], name=name)
                pipeline = stack.enter_context(Pipeline([stage], pool=self._pool))
                ranks.add(start, pipeline.map_async(part, progress="none"))
            called = 0
            for done in ranks.done():
                while self.callback_func is not None and called < done:
                    self.callback_func()
                    called += 1
            return ranks.results()

    def _function(self, args: tuple[Any, ...], numbered: bool) -> Callable[..., Any]:
        """Return the workers' function: it is sent by value, so that engines need not have nbpar."""
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

        if init is not None:
            call.initializer_name = function_name(init)  # type: ignore[attr-defined]  # for who tells of its deaths
        return call


class _Ranks:
    """The runs of all ranks; the output of their items is shown in the order of the whole input."""

    def __init__(self) -> None:
        self._runs: list[PipelineRun] = []
        self._silent: list[tuple[int, PipelineRun]] = []
        """Start positions of runs whose output has not been shown completely."""

        self._printer = Printer()

    def add(self, start: int, run: PipelineRun) -> None:
        """Add the run of the next rank, whose items start at `start`."""
        self._runs.append(run)
        self._silent.append((start, run))

    def done(self) -> Iterator[int]:
        """Yield the number of finished items, repeatedly until all are, or a rank has failed."""
        over = False
        while not over:
            under_way = [run for run in self._runs if not run.done]
            over = not under_way or any(run.state == "failed" for run in self._runs)
            yield sum(run.snapshot.done for run in self._runs)
            self._show_output()
            if not over:
                under_way[0].is_over_within(TICK)

    def results(self) -> list[Any]:
        """Return the values of all ranks, or raise the exception of one."""
        failed = [run for run in self._runs if run.state == "failed"]
        return [value for run in failed or self._runs for value in run.get()]

    def close(self) -> None:
        """Stop the current runs, and show the rest of the output."""
        for run in self._runs:
            run.cancel()
        self._show_output()
        self._printer.close(sum(run.output.left_out for run in self._runs))

    def _show_output(self) -> None:
        while self._silent:
            start, run = self._silent[0]
            over = run.done  # read before its output, so that all of it is included
            self._printer.show(_moved(piece, start) for piece in run.take_output())
            if not over:
                return
            del self._silent[0]


def _moved(piece: Piece, start: int) -> Piece:
    """Return a piece with the index of its item in the whole input."""
    return piece if piece.index < 0 else replace(piece, index=piece.index + start)


def _bounded(items: Any) -> Any:
    """Return an iterator that ends at the length of an object without an end of its own."""
    if hasattr(items, "__iter__") or not (hasattr(items, "__getitem__") and hasattr(items, "__len__")):
        return items
    return islice(items, len(items))


def _parts(items: Any, number: int) -> Iterator[tuple[int, Any]]:
    """Yield neighboring parts of nearly equal length, the longer ones first, with their starts."""
    size, longer = divmod(len(items), number)
    cuts = [part * size + min(part, longer) for part in range(number + 1)]
    return ((start, _bounded(items[start:stop])) for start, stop in pairwise(cuts))
