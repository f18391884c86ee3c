"""Stands for the socket to the controller where all engines are on this host and there is none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from nbpar.wire.messages import Message

Arrived = list[tuple[bytes, list[Message]]]
"""Messages by the identity of their sender."""


class NoController:
    """Nothing arrives through it, and nothing leaves."""

    handle: int | None = None
    there = lost = has_news = False

    def __init__(self) -> None:
        self.identity = b"nbpar." + os.urandom(8).hex().encode()
        self.beats: list[bytes] = []

    def admit(self, identity: bytes) -> None:
        """Do nothing."""

    def dismiss(self, identity: bytes) -> None:
        """Do nothing."""

    def feel(self, identity: bytes) -> None:
        """Do nothing."""

    def send(self, identity: bytes, frames: Sequence[Any]) -> bool:  # noqa: ARG002 (dropped)
        """Drop what is sent."""
        return False

    def read(self) -> Arrived:
        """Return nothing."""
        return []

    def reopen(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
