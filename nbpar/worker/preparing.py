"""Make an engine like the client's process for the length of a run, as far as items notice."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nbpar.wire.frames import Begin, Load
from nbpar.wire.levels import BorrowedLevels
from nbpar.worker.execution import Look
from nbpar.worker.output import Piece

if TYPE_CHECKING:
    from typing_extensions import Self


class Preparing:
    """What an engine's loop does before each run; at the end of the block the engine is as it was."""

    def __init__(self, look: Look | None) -> None:
        self._look = look
        self._levels = BorrowedLevels()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._levels.restore()

    @contextmanager
    def prepared(self, begin: Begin | None, load: Load, note: Callable[[Piece], None]) -> Iterator[None]:  # noqa: ARG002
        """Make the engine ready for a run, in whose function is made in the block."""
        if self._look is not None:
            self._look.seen = False
        if begin is not None:
            self._levels.apply(begin.levels)
        forget_warnings()
        yield


def forget_warnings() -> None:
    """Have each place warn again, as a cell does that runs again."""
    with warnings.catch_warnings():
        pass  # leaving it makes every module's registry outdated
