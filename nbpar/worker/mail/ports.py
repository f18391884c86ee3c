"""What a worker's mailbox is connected to: a transport to the client, and the worker's channels."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from nbpar.wire.messages import Message


class Transport(Protocol):
    """A transport to the client.  Any thread may send and wake; one at a time polls and receives."""

    @property
    def ended(self) -> bool:
        """Whether the client has gone."""

    def poll(self, timeout: float) -> None:
        """Wait up to `timeout` seconds until a message may have arrived, or `wake` is called."""

    def receive(self, timeout: float) -> Sequence[Message]:
        """Return the received messages; wait up to `timeout` seconds for one."""

    def send(self, messages: Sequence[Message]) -> None:
        """Send messages together."""

    def wake(self) -> None:
        """Make `poll` return; takes no lock."""


class ChannelEnds(Protocol):
    """The worker's channels, as the mailbox needs them."""

    def take(self, message: Any) -> bool:
        """Handle one `OF_CHANNELS`; False if it is for the loop."""

    dropped: deque[Any]
    """Ends of unreferenced channels."""

    def close_dropped(self) -> None:
        """Close these; called before a thread waits or flushes."""

    def tell_printed(self) -> None:
        """Send what code has printed so far, ahead of the messages that are about to be sent."""
