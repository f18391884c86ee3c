"""One of joblib's backends; `nbpar.register_joblib` makes it known.

joblib says what is a batch, how many go ahead, and in which order results come; a batch is one call
of the pool's.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from joblib.parallel import AutoBatchingMixin, FallbackToBackend, ParallelBackendBase, SequentialBackend

from nbpar.cluster.limits import usable_cpus
from nbpar.defaults import default_pool
from nbpar.pool import Pool
from nbpar.wire.lodging import WORTH
from nbpar.wire.shared import Shared
from nbpar.worker.inside import inside_item


class NbparBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]  # joblib has no types
    """Runs joblib's batches on a pool's workers.

    Args:
        pool: whose workers to use; by default the default pool, with `n_jobs` workers.
        backend_kwargs: what joblib gives every backend.
    """

    default_n_jobs = -1
    supports_retrieve_callback = True
    supports_inner_max_num_threads = False
    supports_sharedmem = False
    uses_threads = False

    def __init__(self, *, pool: Pool | None = None, **backend_kwargs: Any) -> None:
        super().__init__(**backend_kwargs)
        self._given = pool
        self._pool: Pool | None = None
        self._futures: set[Future[Any]] = set()
        self._shared: dict[int, _ValueOf] = {}
        """Large arrays among the arguments, by identity; each stays alive with what stands for it."""

        self._callbacks: ThreadPoolExecutor | None = None
        """The thread in which joblib asks for the next batch: reading its input may take long."""

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many workers there will be."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if inside_item():
            return 1
        if self._given is not None:
            return self._given.size
        if n_jobs is None:
            return 1
        return n_jobs if n_jobs > 0 else max(1, usable_cpus() + 1 + n_jobs)

    def configure(self, n_jobs: int | None = 1, parallel: Any = None, **_: Any) -> int:
        """Get workers for one `Parallel`; return how many there are."""
        number = self.effective_n_jobs(n_jobs)
        if number == 1 and self._given is None:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        self._pool = self._given or default_pool(number)
        return number

    def start_call(self) -> None:
        """Begin to take batches."""
        self._callbacks = ThreadPoolExecutor(1, "nbpar joblib")

    def stop_call(self) -> None:
        """Take no more of them."""
        self._shared.clear()
        if self._callbacks is not None:
            self._callbacks.shutdown(wait=False)

    def terminate(self) -> None:
        """Let go of the pool, which stays open."""
        self.reset_batch_stats()
        self._pool = None

    def submit(self, batch: Any, callback: Callable[[Future[Any]], Any] | None = None) -> Future[Any]:
        """Have a batch run; `callback` takes its future when it is over."""
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
        future = self._pool.submit(type(batch).__call__, batch)  # a function that workers know already
        self._futures.add(future)
        future.add_done_callback(lambda done: self._take(done, callback))
        return future

    apply_async = submit
    """Its name before joblib 1.5."""

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """Return what a batch returned, or raise what it raised."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: ARG002 (workers stay)
        """Stop what is under way."""
        for future in list(self._futures):
            future.cancel()

    def _lighter(self, argument: Any) -> Any:
        """Return what is sent in place of an argument: a large array travels once, and arrives read-only."""
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
    """Becomes the value of a shared object when it is unpickled."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self._shared, "value")
