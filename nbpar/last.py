"""The last run that a user began, for `nbpar.last_run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbpar.run import Run

run: Run | None = None


def remember(begun: Run) -> None:
    """Make this the last run."""
    global run  # noqa: PLW0603 (there is one for the process)
    run = begun
    begun.remembered = True
