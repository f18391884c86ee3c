"""One adapter per tool that is measured.

Each imports its tool when it is opened, so that one that is not installed is left out.
Functions come from `benchmarks.workloads`, which every worker can import.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from benchmarks.peer import Unsupported, static_chunk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.peer import Function, Peer


class Nbpar:
    """nbpar, by one of its paths."""

    calls = "Pool.map(); Pool.imap(chunksize=1); Pool.executor().submit()"
    in_our_group = False

    def __init__(self, key: str, name: str, **options: Any) -> None:
        self.key = key
        self.name = name
        self._options = options
        self._pool: Any = None

    def open(self, workers: int) -> None:
        import nbpar

        self._pool = nbpar.Pool(workers, progress="none", **self._options)

    def map(self, function: Function, items: Sequence[int], *, cheap: bool) -> list[int]:
        return list(self._pool.map(function, items))

    def map_one_by_one(self, function: Function, items: Sequence[int]) -> list[int]:
        return list(self._pool.imap(function, items, chunksize=1))

    def stream(self, function: Function, items: Iterator[int]) -> Iterator[int]:
        """Stream results as `imap` does by default."""
        results: Iterator[int] = self._pool.imap(function, items)
        return results

    def each(self, function: Callable[[], int]) -> list[int]:
        """Call the function once on every worker."""
        return list(self._pool.each(function))

    def submit_each(self, function: Function, items: Sequence[int]) -> list[int]:
        return _results(self._pool.executor(), function, items)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None


class Engines:
    """One ipyparallel cluster, shared by the adapters of its two views."""

    def __init__(self) -> None:
        self._cluster: Any = None
        self._client: Any = None
        self._before: set[int] = set()

    def open(self, workers: int) -> Any:
        """Start the cluster unless it runs, and give its client."""
        if self._cluster is None:
            import ipyparallel
            import psutil

            self._before = {process.pid for process in psutil.Process().children(recursive=True)}
            self._cluster = ipyparallel.Cluster(n=workers, log_level=logging.ERROR)
            self._client = self._cluster.start_and_connect_sync()
            # The default pickling knows no modules that a function uses.
            self._client[:].use_cloudpickle()
        return self._client

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._cluster is not None:
            import psutil

            cluster, self._cluster = self._cluster, None
            processes = psutil.Process().children(recursive=True)
            cluster.stop_cluster_sync()
            # Nannies outlive their engines for a moment, and write into a profile that is about to go.
            _, left = psutil.wait_procs([one for one in processes if one.pid not in self._before], timeout=5)
            for process in left:
                process.kill()


class LoadBalancedView:
    """ipyparallel's scheduler in the controller."""

    key = "ipyparallel"
    name = "ipyparallel LoadBalancedView"
    calls = "map() where items are cheap with the chunks of Pool.map, else with its default of 1"
    in_our_group = False

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._view: Any = None
        self._workers = 1

    def open(self, workers: int) -> None:
        self._workers = workers
        self._view = self._engines.open(workers).load_balanced_view()

    def map(self, function: Function, items: Sequence[int], *, cheap: bool) -> list[int]:
        return self._map(function, items, static_chunk(len(items), self._workers) if cheap else 1)

    def map_one_by_one(self, function: Function, items: Sequence[int]) -> list[int]:
        return self._map(function, items, 1)

    def _map(self, function: Function, items: Sequence[int], chunk: int) -> list[int]:
        # `map_sync` swallows an interrupt and returns what is not a list; `get` does not.
        return list(self._view.map(function, items, chunksize=chunk, block=False).get())

    def submit_each(self, function: Function, items: Sequence[int]) -> list[int]:
        results = [self._view.apply_async(function, item) for item in items]
        return [result.get() for result in results]

    def close(self) -> None:
        self._engines.close()


class DirectView:
    """ipyparallel's static split: one piece per engine."""

    key = "ipyparallel-direct"
    name = "ipyparallel DirectView"
    calls = "map(), which sends each engine one piece"
    in_our_group = False

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._view: Any = None

    def open(self, workers: int) -> None:
        self._view = self._engines.open(workers)[:]

    def map(self, function: Function, items: Sequence[int], *, cheap: bool) -> list[int]:
        return list(self._view.map(function, items, block=False).get())

    def map_one_by_one(self, function: Function, items: Sequence[int]) -> list[int]:
        raise Unsupported("splits once per engine")

    def submit_each(self, function: Function, items: Sequence[int]) -> list[int]:
        raise Unsupported("submits each call to all engines")

    def close(self) -> None:
        self._engines.close()


class Joblib:
    """joblib with its loky processes."""

    key = "joblib"
    name = "joblib (loky)"
    calls = "Parallel(); Parallel(batch_size=1)"
    in_our_group = True

    def __init__(self) -> None:
        self._delayed: Any = None
        self._parallel: Any = None
        self._single: Any = None
        self._executor: Any = None

    def open(self, workers: int) -> None:
        import joblib
        from joblib.externals.loky import get_reusable_executor

        self._delayed = joblib.delayed
        self._parallel = joblib.Parallel(n_jobs=workers)
        self._single = joblib.Parallel(n_jobs=workers, batch_size=1)
        self._executor = get_reusable_executor

    def map(self, function: Function, items: Sequence[int], *, cheap: bool) -> list[int]:
        return list(self._parallel(self._delayed(function)(item) for item in items))

    def map_one_by_one(self, function: Function, items: Sequence[int]) -> list[int]:
        return list(self._single(self._delayed(function)(item) for item in items))

    def submit_each(self, function: Function, items: Sequence[int]) -> list[int]:
        raise Unsupported("has futures in loky only")

    def close(self) -> None:
        if self._executor is not None:
            executor, self._executor = self._executor, None
            executor().shutdown(wait=True, kill_workers=True)


class Mpire:
    """mpire with workers that stay alive between maps."""

    key = "mpire"
    name = "mpire"
    calls = "WorkerPool.map(); WorkerPool.imap(chunk_size=1)"
    in_our_group = True

    def __init__(self) -> None:
        self._pool: Any = None

    def open(self, workers: int) -> None:
        import mpire

        self._pool = mpire.WorkerPool(workers, keep_alive=True)

    def map(self, function: Function, items: Sequence[int], *, cheap: bool) -> list[int]:
        return list(self._pool.map(function, items))

    def map_one_by_one(self, function: Function, items: Sequence[int]) -> list[int]:
        return list(self._pool.imap(function, items, chunk_size=1))

    def submit_each(self, function: Function, items: Sequence[int]) -> list[int]:
        raise Unsupported("has no futures")

    def close(self) -> None:
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.terminate()


class ProcessPoolExecutor:
    """The standard library's executor."""

    key = "executor"
    name = "ProcessPoolExecutor"
    calls = "map() where items are cheap with the chunks of Pool.map, else with its default of 1"
    in_our_group = True

    def __init__(self) -> None:
        self._executor: Any = None
        self._workers = 1

    def open(self, workers: int) -> None:
        from concurrent import futures

        self._workers = workers
        self._executor = futures.ProcessPoolExecutor(workers)

    def map(self, function: Function, items: Sequence[int], *, cheap: bool) -> list[int]:
        chunk = static_chunk(len(items), self._workers) if cheap else 1
        return list(self._executor.map(function, items, chunksize=chunk))

    def map_one_by_one(self, function: Function, items: Sequence[int]) -> list[int]:
        return list(self._executor.map(function, items))

    def submit_each(self, function: Function, items: Sequence[int]) -> list[int]:
        return _results(self._executor, function, items)

    def close(self) -> None:
        if self._executor is not None:
            executor, self._executor = self._executor, None
            executor.shutdown(wait=True, cancel_futures=True)


class MultiprocessingPool:
    """The standard library's pool."""

    key = "pool"
    name = "multiprocessing.Pool"
    calls = "map(); imap()"
    in_our_group = True

    def __init__(self) -> None:
        self._pool: Any = None

    def open(self, workers: int) -> None:
        import multiprocessing

        self._pool = multiprocessing.Pool(workers)

    def map(self, function: Function, items: Sequence[int], *, cheap: bool) -> list[int]:
        return list(self._pool.map(function, items))

    def map_one_by_one(self, function: Function, items: Sequence[int]) -> list[int]:
        return list(self._pool.imap(function, items))

    def submit_each(self, function: Function, items: Sequence[int]) -> list[int]:
        raise Unsupported("has no futures")

    def close(self) -> None:
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.terminate()
            pool.join()


def _results(executor: Any, function: Function, items: Sequence[int]) -> list[int]:
    futures = [executor.submit(function, item) for item in items]
    return [future.result() for future in futures]


def all_peers() -> list[Peer]:
    """Make every adapter, in the order of the table; none is open."""
    engines = Engines()
    return [
        Nbpar("nbpar", "nbpar, same host"),
        Nbpar("nbpar-controller", "nbpar, through the controller", path="controller"),
        Nbpar("nbpar-threads", "nbpar, threads", backend="threads"),
        LoadBalancedView(engines),
        DirectView(engines),
        Joblib(),
        Mpire(),
        ProcessPoolExecutor(),
        MultiprocessingPool(),
    ]
