"""Apply the client's log levels on an engine during a run."""

from __future__ import annotations

import logging

Levels = tuple[tuple[str, int], ...]
"""Loggers by name, with their levels; the empty name has the level of `logging.disable`."""


def levels_here() -> Levels:
    """Return the levels set in this process."""
    manager = logging.root.manager
    # a logger of a custom class must be made by its owner: made by its name it would have another class
    levels = [
        (logger.name, logger.level)
        for logger in list(manager.loggerDict.values())
        if type(logger) is logging.Logger and logger.level
    ]
    root = logging.root
    return (("", int(manager.disable)), *([(root.name, root.level)] if root.level else ()), *levels)


class BorrowedLevels:
    """The log levels of another process, in effect here until they are restored."""

    def __init__(self) -> None:
        self._applied: Levels = ()
        self._before: list[tuple[str, int]] = []

    def apply(self, levels: Levels) -> None:
        """Set these levels; those of an earlier call are restored first."""
        if levels == self._applied:
            return
        self.restore()
        self._applied = levels
        self._before = [(name, _set_level(name, level)) for name, level in levels]

    def restore(self) -> None:
        """Restore the original levels."""
        before, self._before, self._applied = self._before, [], ()
        for name, level in before:
            _set_level(name, level)


def _set_level(name: str, level: int) -> int:
    """Set one level; return the previous one."""
    if not name:
        before = int(logging.root.manager.disable)
        logging.disable(level)
        return before
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    return before
