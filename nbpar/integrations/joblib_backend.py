"""A backend of joblib; `nbpar.register_joblib` registers it.

joblib decides the batches, their number in flight, and the order of results; a batch is one call
of the pool.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from joblib.parallel import AutoBatchingMixin, FallbackToBackend, ParallelBackendBase, SequentialBackend

from nbpar.host.cpus import usable_cpus
from nbpar.pool.defaults import default_pool
from nbpar.pool.in_use import check_pool, in_use
from nbpar.pool.pool import Pool
from nbpar.wire.shared import Shared
from nbpar.wire.shared_memory import WORTH
from nbpar.worker.nesting import inside_item


class NbparBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]  # joblib has no types
    """Runs joblib's batches on a pool's workers.

    Args:
        pool: provides the workers; by default the default pool with `n_jobs` workers, or the pool in use.
        backend_kwargs: joblib's arguments for every backend.
    """

    default_n_jobs = 1
    supports_retrieve_callback = True
    supports_inner_max_num_threads = False
    supports_sharedmem = False
    uses_threads = False

    def __init__(self, *, pool: Pool | None = None, **backend_kwargs: Any) -> None:
        super().__init__(**backend_kwargs)
        check_pool(pool)
        self._given = pool
        self._pool: Pool | None = None
        self._futures: set[Future[Any]] = set()
        self._shared: dict[int, _ValueOf] = {}
        """Large arrays among the arguments, by identity; each stays alive with its replacement."""

        self._callbacks: ThreadPoolExecutor | None = None
        """The thread in which joblib requests the next batch: reading its input may take long."""

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

    def configure(self, n_jobs: int | None = 1, parallel: Any = None, **_: Any) -> int:
        """Get workers for one `Parallel`; return their number."""
        number = self.effective_n_jobs(n_jobs)
        alone = self._given is None and (n_jobs in (None, 1) or in_use() is None)
        if number == 1 and alone:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        self._pool = self._given or default_pool(number)
        return number

    def start_call(self) -> None:
        """Start accepting batches."""
        self._callbacks = ThreadPoolExecutor(1, "nbpar joblib")

    def stop_call(self) -> None:
        """Accept no more batches."""
        self._shared.clear()
        if self._callbacks is not None:
            self._callbacks.shutdown(wait=False)

    def terminate(self) -> None:
        """Release the pool, which stays open."""
        self.reset_batch_stats()
        self._pool = None

    def submit(self, batch: Any, callback: Callable[[Future[Any]], Any] | None = None) -> Future[Any]:
        """Run a batch; `callback` gets its future when it is done."""
        assert self._pool is not None
        if self._pool.backend == "engines":
            batch.items = [
                (
                    fn,
                    tuple(map(self._lighter, args)),
                    {name: self._lighter(arg) for name, arg in kwargs.items()},
                )
                for fn, args, kwargs in batch.items
            ]
        future = self._pool.submit(type(batch).__call__, batch)  # a function that workers have already
        self._futures.add(future)
        future.add_done_callback(lambda done: self._take(done, callback))
        return future

    apply_async = submit
    """Its name before joblib 1.5."""

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """Return a batch's results, or raise its exception."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: ARG002 (workers stay)
        """Stop the current calls."""
        for future in list(self._futures):
            future.cancel()

    def _lighter(self, argument: Any) -> Any:
        """Return the replacement of an argument: a large array is sent once, and arrives read-only."""
        if type(argument).__name__ != "ndarray" or argument.nbytes < WORTH or argument.dtype.hasobject:
            return argument
        if id(argument) not in self._shared:
            assert self._pool is not None
            self._shared[id(argument)] = _ValueOf(self._pool.share(argument))
        return self._shared[id(argument)]

    def _take(self, future: Future[Any], callback: Callable[[Future[Any]], Any] | None) -> None:
        self._futures.discard(future)
        if callback is not None and self._callbacks is not None and not future.cancelled():
            self._callbacks.submit(callback, future)


class _ValueOf:
    """Unpickles to the value of a shared object."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self._shared, "value")
