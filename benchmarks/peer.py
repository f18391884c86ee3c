"""The protocol of a tool that is measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Function = Callable[[int], int]


class Peer(Protocol):
    """A tool that maps functions over items."""

    key: str
    """Name on the command line."""

    name: str
    """Name in the table."""

    calls: str
    """The calls that are measured, for the legend."""

    in_our_group: bool
    """Its workers share this process's group, so that they get the terminal's Ctrl-C."""

    def open(self, workers: int) -> None:
        """Start the workers."""

    def map(self, function: Function, items: Sequence[int], *, cheap: bool) -> list[int]:
        """Apply the function to the items, in order, the way a user of the tool would."""

    def map_one_by_one(self, function: Function, items: Sequence[int]) -> list[int]:
        """Apply the function with each item in a message of its own.

        Raises:
            Unsupported: there is no such way.
        """

    def submit_each(self, function: Function, items: Sequence[int]) -> list[int]:
        """Submit a call for each item, and wait for their futures when all are submitted.

        Raises:
            Unsupported: there is no such way.
        """

    def close(self) -> None:
        """Stop the workers; may be called twice, and before `open`."""


class Unsupported(Exception):  # noqa: N818 (it is an answer, not a fault)
    """The tool has no such call; the message says what it does instead."""


def static_chunk(items: int, workers: int) -> int:
    """Return the chunk size that `multiprocessing.Pool.map` chooses automatically."""
    return max(1, math.ceil(items / (4 * workers)))
