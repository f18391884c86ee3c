"""What the owner of engines does for them: kills, replaces and interrupts them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class ClusterCare:
    """What the owner of the engines does for them; nothing for engines that others own."""

    kill: Callable[[str, str], None] | None = None
    """Kills an engine, by its identity and with a reason, if it will be replaced."""

    heals: bool = False
    """Whether a killed engine is replaced."""

    on_this_host: bool = False
    """Whether all engines are processes of this user on this host."""

    explains_deaths: bool = False
    """Whether `note_death` is called with the reason when an engine dies."""

    interrupt: Callable[[str], bool] | None = None
    """Interrupts an engine on another host, by its identity; returns whether it can."""

    want: Callable[[], None] = lambda: None
    """Is called from time to time while there is work."""


NO_CARE = ClusterCare()
"""For engines that others own."""
