"""The view protocol, and the views of background runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from nbpar.core.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Controls:
    """The actions of a view's buttons.  Thread-safe.

    All but `resize` return at once: they are called in the thread that receives a kernel's messages.
    """

    stop: Callable[[], None]
    pause: Callable[[], None]
    resume: Callable[[], None]
    resize: Callable[[int], None] | None = None
    """Adds or removes a number of workers; None if that is impossible."""

    skip: Callable[[int], None] | None = None
    """Lets go of an item, by its index; None if that is impossible."""


Look = Callable[[], Snapshot]
"""Returns the current snapshot; it has a cost with many workers, so a view calls it on demand."""

Gain = Callable[[Snapshot], float | None]
"""Returns a run's speed-up over one worker; None if unknown."""


def unknown_gain(snapshot: Snapshot) -> float | None:  # noqa: ARG001 (it is a `Gain`)
    """Return None for every run."""
    return None


class View(Protocol):
    """The display of one run, called from the thread that waits for the run.

    Call `show` about ten times a second, also without changes: between
    two calls buttons do not work on ipykernel 6.  Calling it more often does no harm.
    """

    def show(self, look: Look) -> None:
        """Show the current state of the run."""

    def close(self, look: Look) -> None:
        """Show how the run ended; the remaining display is static."""


class Views(Protocol):
    """Live views of a background run."""

    wanted: bool
    """Whether displaying the run adds a view."""

    def show(self, run: Any) -> None:
        """Add a view here; the run is passed each time, because it refers to these views."""


class Silent:
    """Shows nothing."""

    def show(self, look: Look) -> None:
        """Show nothing."""

    def close(self, look: Look) -> None:
        """Show nothing."""
