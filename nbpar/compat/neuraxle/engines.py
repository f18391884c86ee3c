"""Engines forked after importing Neuraxle, for all queued pipelines of this process.

Importing Neuraxle takes a second of a core.  Engines of the default pool would each need it at their
first batch.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any

from nbpar.cluster.cluster import Cluster
from nbpar.compat.neuraxle.bases import theirs
from nbpar.pool.in_use import in_use
from nbpar.pool.pool import Pool
from nbpar.worker.nesting import inside_item

PRELOAD = "nbpar.compat.neuraxle"
"""Imports the installed parts of Neuraxle."""


class Engines:
    """One pool, made on first use, as large as the largest request, kept warm."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: Pool | None = None
        self._cluster: Cluster | None = None
        self._size = 0

    def pool(self, workers: int, steps: Iterable[Any]) -> Pool | None:
        """Return a pool of at least `workers` engines, which may still be starting; None inside items.

        A pool of engines in use (`nbpar.use`) stands for them, whatever its size.

        Args:
            workers: the minimal number.
            steps: the steps to run; their modules of Neuraxle are imported once, too.
        """
        if inside_item():
            return None
        if (used := in_use()) is not None and used.backend == "engines":
            return used
        with self._lock:
            if self._pool is None or self._pool.closed or self._gone():
                self._close()
                self._size = workers
                self._cluster = Cluster(workers, preload=[PRELOAD, *sorted(_modules_of(steps))])
                self._pool = Pool(cluster=self._cluster, progress="none")
            elif workers > self._size:
                self._grow(workers)
            return self._pool

    def _gone(self) -> bool:
        assert self._pool is not None
        return self._pool.failed or self._pool.broken

    def _grow(self, workers: int) -> None:
        assert self._pool is not None
        assert self._cluster is not None
        self._pool.wait()
        self._cluster.resize(workers)
        self._size = workers

    def _close(self) -> None:
        pool, self._pool = self._pool, None
        cluster, self._cluster = self._cluster, None
        if pool is not None:
            pool.close()
        if cluster is not None:
            cluster.stop()


def _modules_of(steps: Iterable[Any]) -> set[str]:
    """Return the modules of Neuraxle that define steps, and those in them."""
    if theirs is None:
        return set()
    return {type(step).__module__ for step in _with_inner(steps) if _is_of_neuraxle(type(step))}


def _is_of_neuraxle(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "neuraxle"


def _with_inner(steps: Iterable[Any]) -> Iterator[Any]:
    for step in steps:
        yield step
        children = getattr(step, "get_children", None)
        if children is not None:
            yield from _with_inner(children())


engines = Engines()
"""The only ones of this process."""
