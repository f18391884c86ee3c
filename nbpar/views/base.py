"""What a view does, and those of a run in the background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from nbpar.core.progress import Snapshot


@dataclass(frozen=True, slots=True)
class Controls:
    """What a view's buttons do; each may be called from any thread.

    All but `resize` return at once: they are called where a kernel receives its messages.
    """

    stop: Callable[[], None]
    pause: Callable[[], None]
    resume: Callable[[], None]
    resize: Callable[[int], None] | None = None
    """Add or take away so many workers; None where that cannot be done."""


Look = Callable[[], Snapshot]
"""Says how the run is now; costs something where there are many workers, so a view asks when it needs it."""


class View(Protocol):
    """One run's picture, called from the thread that waits for the run.

    `show` wants to be called about ten times a second, also when nothing has changed: between
    two calls no button is heard on ipykernel 6.  Calling it more often does no harm.
    """

    def show(self, look: Look) -> None:
        """Show how the run is now."""

    def close(self, look: Look) -> None:
        """Show how the run ended; what stays is static."""


class Views(Protocol):
    """Live views of a run that nobody waits for."""

    wanted: bool
    """Whether displaying the run shows one."""

    def show(self) -> None:
        """Add one here."""
