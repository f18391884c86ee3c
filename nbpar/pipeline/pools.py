"""Assign the stages of a pipeline to pools."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from nbpar.host.cpus import usable_cpus
from nbpar.pipeline.stage import Stage
from nbpar.pool.defaults import default_pool
from nbpar.pool.in_use import in_use
from nbpar.pool.launch import Launcher
from nbpar.pool.pool import Pool


class StagePools:
    """The pools of one pipeline; pools made for it are closed with it.

    Stages on engines use the given pool or the one in use, or the default pool where its engines are enough,
    or else a pool of their own.
    """

    def __init__(self, stages: Sequence[Stage], pool: Pool | None) -> None:
        self._stages = stages
        self._given = pool
        self._pools: dict[str, Pool] = {}
        self._own: list[Pool] = []
        self._lock = threading.Lock()

    @property
    def _main(self) -> Pool | None:
        """The pool of stages that name no backend."""
        return in_use() if self._given is None else self._given

    @property
    def progress(self) -> str:
        """Default view of runs."""
        return "auto" if (main := self._main) is None else main.progress

    @property
    def can_limit(self) -> bool:
        """Whether there is a stage that supports a time limit."""
        return any(self.kind_of(stage) != "threads" for stage in self._stages)

    def kind_of(self, stage: Stage) -> str:
        """Return the backend that a stage runs on."""
        if stage.workers == 0:
            return "serial"
        if stage.backend:
            return stage.backend
        return "engines" if (main := self._main) is None else main.backend

    def pool_of(self, stage: Stage) -> Pool:
        """Return the pool whose workers a stage uses; it is started on first use."""
        kind = self.kind_of(stage)
        main = self._main
        if main is not None and kind == main.backend:
            return main
        with self._lock:
            pool = self._pools.get(kind)
            if pool is None or pool.closed:
                pool = self._pools[kind] = self._pool(kind)
            return pool

    def launchers(self) -> dict[str, Launcher]:
        """Return the launchers of one run's stages, by backend.

        Calls each pool once, because inside its own items it makes a new launcher each time.
        """
        launchers: dict[str, Launcher] = {}
        for stage in self._stages:
            if (kind := self.kind_of(stage)) not in launchers:
                launchers[kind] = self.pool_of(stage).launcher
        return launchers

    def workers_of(self, stage: Stage) -> int:
        """Return the maximal number of workers of a stage."""
        size = self.pool_of(stage).size
        return min(stage.workers, size) if stage.workers else size

    def close(self) -> None:
        """Close the pools made for this pipeline.  Idempotent."""
        for pool in self._own:
            pool.close()
        self._own.clear()
        self._pools.clear()

    def _pool(self, kind: str) -> Pool:
        stages = [stage for stage in self._stages if self.kind_of(stage) == kind]
        fixed = sum(stage.workers for stage in stages if stage.workers)
        by_need = any(stage.workers is None for stage in stages)
        size = max(fixed, usable_cpus() if by_need else 1)
        if kind == "engines" and size <= usable_cpus():
            return default_pool()
        pool = Pool(size, backend=kind, progress="none")
        self._own.append(pool)
        return pool
