"""Levels of loggers: on engines they are what they are in the client's process during a run."""

from __future__ import annotations

import logging

Levels = tuple[tuple[str, int], ...]
"""Loggers by name, with their levels; under an empty name what `logging.disable` has set."""


def levels_here() -> Levels:
    """Return the levels that were set in this process."""
    manager = logging.root.manager
    # a logger of a class of its own is made by whoever has the class: made by its name it would be another
    named = [logger for logger in list(manager.loggerDict.values()) if type(logger) is logging.Logger]
    levels = [(logger.name, logger.level) for logger in (logging.root, *named) if logger.level]
    return (("", int(manager.disable)), *levels)


class BorrowedLevels:
    """The levels of another process, in force here until they are put back."""

    def __init__(self) -> None:
        self._applied: Levels = ()
        self._before: list[tuple[str, int]] = []

    def apply(self, levels: Levels) -> None:
        """Set these levels; those that were set by an earlier call are put back first."""
        if levels == self._applied:
            return
        self.restore()
        self._applied = levels
        self._before = [(name, _set_level(name, level)) for name, level in levels]

    def restore(self) -> None:
        """Put back what was before."""
        before, self._before, self._applied = self._before, [], ()
        for name, level in before:
            _set_level(name, level)


def _set_level(name: str, level: int) -> int:
    """Set one level; return what it was."""
    if not name:
        before = int(logging.root.manager.disable)
        logging.disable(level)
        return before
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    return before
