"""A view that shows nothing."""

from __future__ import annotations

from nbpar.core.progress import Snapshot


class Silent:
    """Shows nothing, not even at the end."""

    def show(self, snapshot: Snapshot) -> None:
        """Show nothing."""

    def close(self, snapshot: Snapshot) -> None:
        """Show nothing."""
