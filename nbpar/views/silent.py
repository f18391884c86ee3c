"""A view that shows nothing."""

from __future__ import annotations

from nbpar.views.base import Look


class Silent:
    """Shows nothing, not even at the end."""

    def show(self, look: Look) -> None:
        """Show nothing."""

    def close(self, look: Look) -> None:
        """Show nothing."""
