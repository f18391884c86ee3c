"""The interface between a backend and the dispatcher, which is its only caller."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from nbpar.wire.messages import Message
from nbpar.wire.pickling import Packed

WorkerId = str


class CtrlC(AbstractContextManager[Any], Protocol):
    """Defers SIGINT in the block, but for the time that it is armed; for a thread that runs items itself."""

    armed: bool


class Backend(Protocol):
    """A kind of worker, and its transport.

    All methods but `wake` are called from one thread.  A worker is present from its `Ready` to its
    `Bye` or `Lost`, which arrive by `receive` like all messages.  In between it may be `Silent` until it is
    `Answering`.
    """

    in_process: bool
    """Whether objects are passed by reference, without being pickled."""

    blocking: bool
    """Whether calls run inside `receive`, in the caller's thread."""

    @property
    def interrupts(self) -> CtrlC | None:
        """Defers Ctrl-C between two steps of a blocking backend; None where items run elsewhere."""

    def acquire(self) -> None:
        """Start the missing workers; each sends `Ready` when it is present."""

    def coming(self) -> Sequence[WorkerId]:
        """Return the workers that were started recently and are not present yet."""

    def send(self, worker: WorkerId, messages: Sequence[Message]) -> None:
        """Send messages to one worker; an item that cannot be sent returns as its own failure."""

    def keep_packed(self, call: int) -> None:
        """Pass on the values of a call as `PackedItems`; does nothing if values are not pickled."""

    def take_pickled(self) -> Sequence[tuple[int, Packed]]:
        """Take what is worth keeping of items pickled since the last time, by call; nothing if none are."""

    def in_transit(self, worker: WorkerId) -> tuple[int, int]:
        """Unsent bytes for a worker, and missing ones of a large message of it, as far as that is known."""

    def receive(self, timeout: float | None) -> list[tuple[WorkerId, Message]]:
        """Return the received messages; wait up to `timeout` seconds for one, or until `wake`."""

    def wake(self) -> None:
        """Make `receive` return now.  Thread-safe."""

    def interrupt(self, worker: WorkerId, *, skip: bool = False) -> bool:
        """Stop the item that a worker runs; False if that is impossible.

        Threads are interrupted only to `skip` an item, which the user has asked for by name; when a whole run
        is stopped, their items end by themselves.
        """

    def kill(self, worker: WorkerId, reason: str) -> bool:
        """Kill a worker that cannot be stopped otherwise; False if it would not be replaced.

        It is then `Lost`, for this reason.
        """

    def release(self, worker: WorkerId) -> None:
        """Release a worker after it has answered its calls; it sends `Bye`."""

    def retire(self, worker: WorkerId) -> None:
        """Release a worker, and do not start it again."""

    def describe(self) -> list[dict[str, object]]:
        """Facts of each present or possible worker: `worker`, `host`, `pid`, ..."""

    def close(self) -> None:
        """Release all workers and free all resources.  Idempotent."""
