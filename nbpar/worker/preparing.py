"""Make an engine like the client's process for the length of a run, as far as items notice."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nbpar.wire.levels import BorrowedLevels
from nbpar.wire.messages import Begin, Load
from nbpar.worker.execution import Look
from nbpar.worker.freshness import freshness_of_this_process
from nbpar.worker.output import NOTHING, Piece

if TYPE_CHECKING:
    from typing_extensions import Self


class Preparing:
    """What an engine's loop does before each run; at the end of the block the engine is as it was."""

    def __init__(self, look: Look | None) -> None:
        self._look = look
        self._levels = BorrowedLevels()
        self._modules = freshness_of_this_process()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._levels.restore()

    @contextmanager
    def prepared(self, begin: Begin | None, load: Load, note: Callable[[Piece], None]) -> Iterator[None]:
        """Make the engine ready for a run, whose function is made in the block."""
        if self._look is not None:
            self._look.seen = False
        wanted = begin.modules if begin is not None else ()
        if begin is not None:
            self._levels.apply(begin.levels)
        forget_warnings()
        for told in self._modules.refresh(wanted, load.function.head):
            note((NOTHING, "warning", told))
        yield
        for told in self._modules.check(wanted):
            note((NOTHING, "warning", told))


def forget_warnings() -> None:
    """Have each place warn again, as a cell does that runs again."""
    with warnings.catch_warnings():
        pass  # leaving it makes every module's registry outdated
