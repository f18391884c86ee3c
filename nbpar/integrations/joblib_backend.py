"""A backend of joblib; `nbpar.register_joblib` registers it.

joblib reads the input and orders the results; it hands in batches, whose tasks are items of one run.
"""

from __future__ import annotations

import sys
from contextvars import copy_context
from threading import Thread
from types import TracebackType
from typing import Any

from joblib.parallel import FallbackToBackend, ParallelBackendBase, SequentialBackend

from nbpar.core.checks import PROGRESS, check_word
from nbpar.host.cpus import usable_cpus
from nbpar.host.error_log import call_safely
from nbpar.integrations.joblib_names import label_of, total_of
from nbpar.integrations.joblib_run import Batch, Callback, ParallelRun
from nbpar.integrations.joblib_sealing import Sealer
from nbpar.pool.defaults import default_pool
from nbpar.pool.in_use import check_pool, in_use
from nbpar.pool.pool import Pool
from nbpar.run.display import BackgroundViews, shown
from nbpar.run.run import REFRESH, STOP_WITHIN
from nbpar.worker.nesting import inside_item

BATCH = 0.1
"""Seconds of work that joblib hands in together; workers get them in smaller chunks."""

LARGEST = 4096
"""Maximal number of tasks in a batch."""

GROWTH = 64
"""A batch has at most this number of times the tasks of the one before."""

UNANSWERED = 32
"""Share of the tasks under way that a batch may have before the first answer."""


OPTIONS = ("context", "max_nbytes", "mmap_mode", "prefer", "require", "temp_folder", "verbose")
"""What `Parallel` passes to every backend."""


class NbparBackend(ParallelBackendBase):  # type: ignore[misc]  # joblib has no types
    """Runs joblib's tasks on a pool's workers; those of one call of `Parallel` are one run.

    Args:
        pool: provides the workers; by default the default pool with `n_jobs` workers, or the pool in use.
        progress: "auto", "widget", "text" or "none"; unless given, that of the pool.
        label: name of the runs in views; by default the function's name.
        nesting_level: joblib's number of calls around.
        inner_max_num_threads: maximal number of threads that a numerical library uses in a task.
        others: none.

    Raises:
        TypeError: there is no such option; it may be one of loky.
    """

    default_n_jobs = 1
    supports_retrieve_callback = True
    supports_inner_max_num_threads = True
    supports_sharedmem = False
    uses_threads = False

    def __init__(
        self,
        *,
        pool: Pool | None = None,
        progress: str | None = None,
        label: str | None = None,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        **others: Any,
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        _refuse(others)
        check_pool(pool)
        if progress is not None:
            check_word("progress", progress, PROGRESS)
        self._given = pool
        self._progress = progress
        self._label = label
        self._pool: Pool | None = None
        self._serves: Any = None
        """The `Parallel` that it works for."""

        self._options: dict[str, Any] = {}
        self._run: ParallelRun | None = None
        self._show: _Show | None = None
        self._size = 1

    # ---- workers

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return the number of workers."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if inside_item():
            return 1
        if self._given is not None:
            return self._given.size
        if n_jobs is None:
            return 1
        used = in_use()
        if used is None:
            return n_jobs if n_jobs > 0 else max(1, usable_cpus() + 1 + n_jobs)
        size = max(1, used.size)
        return min(n_jobs, size) if n_jobs > 0 else max(1, size + 1 + n_jobs)

    def configure(self, n_jobs: int | None = 1, parallel: Any = None, **options: Any) -> int:
        """Get workers for one `Parallel`; return their number."""
        number = self.effective_n_jobs(n_jobs)
        alone = self._given is None and (n_jobs in (None, 1) or in_use() is None)
        if number == 1 and alone:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        if self._serves not in (None, parallel):  # `parallel_config` has one for all that are in its block
            raise FallbackToBackend(self._twin())
        _refuse({name: value for name, value in options.items() if name not in OPTIONS})
        self._pool = self._given or default_pool(number)
        if self.inner_max_num_threads is not None and self._pool.backend == "threads":
            raise ValueError(
                "inner_max_num_threads needs engines: threads of one process share the libraries' threads"
            )
        self._serves = self.parallel = parallel
        self._options = options
        return number

    def terminate(self) -> None:
        """Release the pool, which stays open."""
        self._pool = self._serves = None

    def _twin(self) -> NbparBackend:
        return NbparBackend(
            pool=self._given, progress=self._progress, label=self._label, nesting_level=self.nesting_level,
            inner_max_num_threads=self.inner_max_num_threads,
        )  # fmt: skip

    # ---- one call

    def start_call(self) -> None:
        """Start accepting batches."""
        self._run = self._show = None
        self._size = 1

    def submit(self, batch: Any, callback: Callback | None = None) -> Batch:
        """Run a batch; `callback` gets it with its results when it is done."""
        run = self._run
        first = run is None
        if run is None:
            run = self._run = self._new_run(batch.items[0])
        taken = run.put(batch.items, callback)
        if first:
            run.start()
            self._begin_show(run)
        return taken

    apply_async = submit
    """Its name before joblib 1.5."""

    def retrieve_result_callback(self, out: Batch) -> list[Any]:
        """Return a batch's results, or raise its exception."""
        return out.result()

    def compute_batch_size(self) -> int:
        """Return the number of tasks in the next batch: enough work for a while, not many unread ones."""
        run = self._run
        if run is None:
            return 1
        if (seconds := run.chunker.seconds_per_item) is None:
            return max(1, run.count // UNANSWERED)
        self._size = max(1, min(int(BATCH / seconds), GROWTH * self._size, LARGEST))
        return self._size

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: ARG002 (workers stay)
        """Stop the current tasks; the error that joblib is about to raise gets the worker's frames again."""
        run = self._run
        if run is None:
            return
        error = sys.exc_info()[1]
        if error is not None and (trace := run.trace_of(error)) is not None:
            _append(error.__traceback__, trace)
        run.cancel()

    def stop_call(self) -> None:
        """Accept no more batches, and end the run."""
        run, self._run = self._run, None
        show, self._show = self._show, None
        if run is None:
            return
        try:
            run.complete()
            run.is_over_within(STOP_WITHIN)
        finally:
            run.close()
            if show is not None:
                show.close()

    def _new_run(self, task: Any) -> ParallelRun:
        pool, parallel = self._pool, self.parallel
        assert pool is not None
        function, _, kwargs = task
        return ParallelRun(
            pool.launcher,
            self.get_nested_backend(),
            None if pool.backend == "threads" else self._sealer(pool),
            threads=self.inner_max_num_threads,
            label=self._label or label_of(function, kwargs),
            total=total_of(kwargs, getattr(parallel, "n_tasks", None)),  # as of joblib 1.5
            progress=self._progress or pool.progress,
            keep=getattr(parallel, "return_as", "list") == "list",
        )

    def _sealer(self, pool: Pool) -> Sealer:
        launcher, mode = pool.launcher, self._options.get("mmap_mode", "r")
        at_least = self._options.get("max_nbytes", 1 << 20) if mode is not None else None
        return Sealer(launcher.share, at_least, writable=mode != "r", same_host=launcher.same_host)

    def _begin_show(self, run: ParallelRun) -> None:
        """Show the run under the cell that waits for it; that of a generator as one of `map_async`."""
        assert self._pool is not None
        progress = self._progress or self._pool.progress
        if run.keeps:
            self._show = _Show(run, progress, self._pool)
            return
        resize = self._pool._resize_by  # noqa: SLF001 (of our own kind)
        views = BackgroundViews(progress=progress, total=run.total, resize=resize)
        run.prepare_views(views, at_once=views.wanted or progress == "text")


def _refuse(options: dict[str, Any]) -> None:
    """Raise TypeError if there are options: a worker's own must not be ignored in silence."""
    for name in options:
        instead = {
            "initializer": "; give it to the pool: `pool=nbpar.Pool(2, initializer=f)`",
            "initargs": "; give them to the pool: `pool=nbpar.Pool(2, initializer=f, initargs=(1,))`",
            "idle_worker_timeout": "; its workers end with the pool",
        }.get(name, "")
        raise TypeError(f"the joblib backend nbpar has no option {name!r}{instead}")


class _Show:
    """Shows a run under the cell that waits for it: joblib waits there by itself."""

    def __init__(self, run: ParallelRun, progress: str, pool: Pool) -> None:
        self._run = run
        self._shown = shown(run, progress, total=run.total, resize=pool._resize_by)  # noqa: SLF001 (of our own kind)
        self._watch = self._shown.__enter__()
        self._thread = Thread(
            target=copy_context().run, args=(self._refresh,), name="nbpar view", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Show how it has ended."""
        self._thread.join()
        self._shown.__exit__(None, None, None)

    def _refresh(self) -> None:
        while not self._run.is_over_within(REFRESH):
            call_safely(self._watch, f"progress of {self._run.label} is shown no more")


def _append(trace: TracebackType | None, more: TracebackType) -> None:
    """Let a traceback go on in another."""
    while trace is not None and trace is not more:
        if trace.tb_next is None:
            trace.tb_next = more
            return
        trace = trace.tb_next
