"""What a backend does for the dispatcher, which alone calls it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from nbpar.wire.messages import Message

WorkerId = str


class Backend(Protocol):
    """A kind of worker, and the way to it.

    All calls but `wake` come from one thread.  A worker takes part from its `Ready` to its
    `Bye` or `Lost`, which arrive by `receive` like everything else.
    """

    in_process: bool
    """Objects pass as they are, without being pickled."""

    blocking: bool
    """Calls run inside `receive`, in the caller's thread."""

    def acquire(self) -> None:
        """Make the workers come that are not here; each says `Ready` when it is."""

    def coming(self) -> Sequence[WorkerId]:
        """Return the workers that were made to come a while ago at most and are not here yet."""

    def send(self, worker: WorkerId, messages: Sequence[Message]) -> None:
        """Send messages to one worker; an item that cannot be sent comes back as its own failure."""

    def keep_packed(self, call: int) -> None:
        """Hand on the values of a call as `PackedItems`; does nothing where nothing is packed."""

    def receive(self, timeout: float | None) -> list[tuple[WorkerId, Message]]:
        """Return what has arrived; wait up to `timeout` seconds for something, or until `wake`."""

    def wake(self) -> None:
        """Make `receive` return now.  May be called from any thread."""

    def interrupt(self, worker: WorkerId) -> bool:
        """Stop the item that a worker runs; False where that cannot be done."""

    def kill(self, worker: WorkerId, reason: str) -> bool:
        """End a worker that nothing else stops; False where it would not be replaced.

        It is `Lost` then, for this reason.
        """

    def release(self, worker: WorkerId) -> None:
        """Let a worker go when it has answered what it has; it says `Bye`."""

    def retire(self, worker: WorkerId) -> None:
        """Let a worker go like `release`, and do not make it come again."""

    def describe(self) -> list[dict[str, object]]:
        """Facts of each place where a worker is or could be: `worker`, `host`, `pid`, ..."""

    def close(self) -> None:
        """Let all workers go and free everything.  May be called twice."""
