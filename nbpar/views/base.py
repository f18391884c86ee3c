"""What a view does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from nbpar.core.progress import Snapshot


@dataclass(frozen=True, slots=True)
class Controls:
    """What a view's buttons do; each may be called from any thread."""

    stop: Callable[[], None]
    pause: Callable[[], None]
    resume: Callable[[], None]
    resize: Callable[[int], None] | None = None
    """Add or take away so many workers; None where that cannot be done."""


class View(Protocol):
    """One run's picture.  Called from the thread that waits for the run, at most ten times a second."""

    def show(self, snapshot: Snapshot) -> None:
        """Show how the run is now."""

    def close(self, snapshot: Snapshot) -> None:
        """Show how the run ended; what stays is static."""
