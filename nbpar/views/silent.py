"""A view that shows nothing."""

from __future__ import annotations

from nbpar.core.progress import Snapshot
from nbpar.views.base import Look


class Silent:
    """Shows nothing, not even at the end."""

    def show(self, look: Look) -> None:
        """Show nothing."""

    def close(self, snapshot: Snapshot) -> None:
        """Show nothing."""
