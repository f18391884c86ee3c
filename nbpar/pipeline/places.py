"""Which pool's workers each stage uses."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from nbpar.cluster.limits import usable_cpus
from nbpar.defaults import default_pool
from nbpar.launch import Launcher
from nbpar.pipeline.stage import Stage
from nbpar.pool import Pool


class Places:
    """The pools of one pipeline; those that were made for it are closed with it.

    Stages on engines use the given pool, or the default pool where its engines are enough, or
    else a pool of their own.
    """

    def __init__(self, stages: Sequence[Stage], pool: Pool | None) -> None:
        self._stages = stages
        self._given = pool
        self._pools: dict[str, Pool] = {}
        self._own: list[Pool] = []
        self._lock = threading.Lock()

    @property
    def progress(self) -> str:
        """What runs show unless they are told."""
        return "auto" if self._given is None else self._given.progress

    @property
    def can_limit(self) -> bool:
        """Whether there is a stage whose items can be stopped at a time limit."""
        return any(self.kind_of(stage) != "threads" for stage in self._stages)

    def kind_of(self, stage: Stage) -> str:
        """Return the backend that a stage runs on."""
        if stage.workers == 0:
            return "serial"
        return stage.backend or (self._given.backend if self._given is not None else "engines")

    def pool_of(self, stage: Stage) -> Pool:
        """Return the pool whose workers a stage uses; it is started when it is first asked for."""
        kind = self.kind_of(stage)
        if self._given is not None and kind == self._given.backend:
            return self._given
        with self._lock:
            pool = self._pools.get(kind)
            if pool is None or pool.closed:
                pool = self._pools[kind] = self._pool(kind)
            return pool

    def launchers(self) -> dict[str, Launcher]:
        """Return where the stages of one run begin, by their backend.

        Each pool is asked once: inside its own items it makes another launcher each time.
        """
        launchers: dict[str, Launcher] = {}
        for stage in self._stages:
            if (kind := self.kind_of(stage)) not in launchers:
                launchers[kind] = self.pool_of(stage).launcher
        return launchers

    def workers_of(self, stage: Stage) -> int:
        """Return how many workers a stage may have."""
        size = self.pool_of(stage).size
        return min(stage.workers, size) if stage.workers else size

    def close(self) -> None:
        """Close the pools that were made for this pipeline.  May be called twice."""
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
