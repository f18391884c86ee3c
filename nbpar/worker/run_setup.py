"""Set up a worker for a run: its hooks, and the client's environment, log levels and module versions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbpar.errors import PackageVersionWarning
from nbpar.host.world import BorrowedWorld, Changes
from nbpar.wire.log_levels import BorrowedLevels
from nbpar.wire.messages import Begin, Load
from nbpar.worker.cleanup import ItemCleanup
from nbpar.worker.modules.packages import PackageCheck
from nbpar.worker.modules.reload import freshness_of_this_process
from nbpar.worker.output.plain import plain_warning
from nbpar.worker.output.recorder import NOTHING, Piece

if TYPE_CHECKING:
    from typing_extensions import Self


Prepare = Callable[[Begin | None, Load, Callable[[Piece], None]], AbstractContextManager[None]]
"""Prepares the worker for a run while the run's function is made; takes a function that sends output."""


@dataclass(frozen=True)
class WorkerHooks:
    """The calls of one kind of worker; by default nothing is done."""

    cleanup: ItemCleanup | None = None
    """Collects output that bypassed Python's streams, and clears what items leave behind."""

    prepared: Prepare = lambda *_: nullcontext()
    """Prepares for a run."""

    note_imports: Callable[[], None] = lambda: None
    """Called after a call that has imported modules."""


class RunSetup:
    """Prepares an engine before each run; restores it at the end of the block."""

    def __init__(self) -> None:
        self._levels = BorrowedLevels()
        self._modules = freshness_of_this_process()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._levels.restore()

    @contextmanager
    def prepared(self, begin: Begin | None, load: Load, note: Callable[[Piece], None]) -> Iterator[None]:
        """Prepare the engine for a run, whose function is unpickled in the block."""
        wanted = begin.modules if begin is not None else ()
        if begin is not None:
            self._levels.apply(begin.levels)
            if trouble := adopt(Changes(*begin.world)):
                note((NOTHING, "warning", plain_warning(trouble, UserWarning, __file__, 0)))
            if trouble := _packages.compare(begin.packages, what=f"the function `{load.name}`"):
                note((NOTHING, "warning", plain_warning(trouble, PackageVersionWarning, __file__, 1)))
        forget_warnings()
        for told in self._modules.refresh(wanted, load.function.head):
            note((NOTHING, "warning", told))
        yield
        for told in self._modules.check(wanted):
            note((NOTHING, "warning", told))


_packages = PackageCheck()

_world = BorrowedWorld()
"""The environment of the engine's latest client; changes stay between two runs."""


def adopt(changes: Changes) -> str:
    """Adopt the environment of the client; return the failures as text, "" if there are none."""
    return _world.apply(changes)


def forget_warnings() -> None:
    """Reset the warnings already shown, as for a cell that runs again."""
    with warnings.catch_warnings():
        pass  # leaving it invalidates every module's registry
