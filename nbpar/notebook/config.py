"""What IPython's configuration sets: default and cap of the number of workers, and the idle engines' time."""

from __future__ import annotations

from typing import Any

from traitlets import Float, Integer, observe
from traitlets.config import Configurable

from nbpar.core.checks import MOST_WORKERS
from nbpar.host.cpus import NumberOfWorkers, worker_settings
from nbpar.pool.idle import idle_choice


class NbparMagics(Configurable):  # type: ignore[misc]  # IPython's class has no types
    """Settings of nbpar in IPython: `c.NbparMagics.workers = 4` in `ipython_config.py`, or by `%config`.

    They hold for this process, and for pools that are made afterwards.
    """

    workers = Integer(
        None, allow_none=True, min=1, max=MOST_WORKERS,
        help="Number of workers where none is asked for.  By default the CPUs available to this process.",
    ).tag(config=True)  # fmt: skip

    max_workers = Integer(
        None, allow_none=True, min=1, max=MOST_WORKERS,
        help="Cap of that number, beside NBPAR_MAX_WORKERS.  A number that is asked for may be larger.",
    ).tag(config=True)  # fmt: skip

    idle_minutes = Float(
        None, allow_none=True, min=0,
        help="Minutes without work after which engines of the default pool end; 0: never.  "
        "By default that of NBPAR_IDLE_MINUTES, or 15.",
    ).tag(config=True)  # fmt: skip

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._use()

    @observe("workers", "max_workers", "idle_minutes")  # type: ignore[untyped-decorator]  # likewise
    def _use(self, _: Any = None) -> None:
        worker_settings.default = _number(self.workers, "workers")
        worker_settings.cap = _number(self.max_workers, "max_workers")
        idle_choice.choose(self.idle_minutes, _name("idle_minutes"))

    def leave(self) -> None:
        """Have its settings hold no longer."""
        worker_settings.default = worker_settings.cap = None
        idle_choice.choose(None, "")


def _number(value: int | None, trait: str) -> NumberOfWorkers | None:
    return None if value is None else NumberOfWorkers(value, _name(trait))


def _name(trait: str) -> str:
    return f"c.{NbparMagics.__name__}.{trait}"
