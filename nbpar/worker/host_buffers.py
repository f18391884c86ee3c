"""Large pickles that the workers of a host get once: asked for by name, and kept for the others."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from nbpar.wire.messages import FoundBuffers, KeptBuffers, Load, SeekBuffers
from nbpar.wire.pickling import Packed, Unreceived
from nbpar.wire.shared_memory import CAN_LODGE, Mapped, NotMappedError, SharedBuffers
from nbpar.worker.mail.mailbox import Mailbox

KEPT = 8
"""Number of functions and shared objects whose buffers are kept."""

Buffers = Sequence[Any] | Mapped
"""Buffers, or their place."""


class HostBuffers:
    """The buffers of one worker; any thread may ask.

    Args:
        mailbox: leads to the client.
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._there: OrderedDict[bytes, Buffers | None] = OrderedDict()
        """What has come, by name; None if the client does not have it."""

        self._kept: dict[bytes, SharedBuffers] = {}
        """Those of them that other workers of this host map."""

        self._not_at: dict[bytes, str] = {}
        """Names of memory that is gone."""

        mailbox.take_buffers = self._take

    def complete(self, load: Load) -> Load | None:
        """Return a function with its pickle; None: it must be sent with that, or is not needed any more.

        Raises:
            NotMappedError: it is not where it was said to be.
        """
        if not isinstance(load.function, Packed) or not _is_sought(load.function.buffers):
            return load
        parts = self._of(load.digest)
        if parts is None:
            return None
        head: Any
        buffers: Any
        if isinstance(parts, Mapped):
            (head,) = parts._replace(spans=parts.spans[:1]).buffers(writable=False)
            buffers = parts._replace(spans=parts.spans[1:]) if len(parts.spans) > 1 else []
        else:
            head, *buffers = parts
        return load._replace(function=load.function._replace(head=head, buffers=buffers))

    def parts(self, name: bytes) -> Sequence[Any] | None:
        """Return the parts of a shared object; None if the client does not have it any more."""
        for _ in range(2):
            buffers = self._of(name)
            if not isinstance(buffers, Mapped):
                return buffers
            with suppress(NotMappedError):
                return buffers.buffers(writable=False)
            self.forget(name)
        return None

    def forget(self, name: bytes) -> None:
        """Drop buffers that are not where they were said to be."""
        if isinstance(place := self._there.pop(name, None), Mapped):
            self._not_at[name] = place.name
        self._close(name)

    def clear(self) -> None:
        """Drop all."""
        self._there.clear()
        for name in list(self._kept):
            self._close(name)

    def _of(self, name: bytes) -> Buffers | None:
        there = self._there.get(name)
        if there is None:
            self._there.pop(name, None)
            self._mailbox.put([SeekBuffers(name, self._not_at.pop(name, ""))])
            self._mailbox.wait(lambda: name in self._there or self._mailbox.is_abandoned, None)
            there = self._there.get(name)
        return there

    def _take(self, found: FoundBuffers) -> None:
        """Keep what has come; in the thread that reads."""
        name, content = found.name, found.content
        buffers: Buffers | None = None if content is None else content.buffers
        if found.keep and buffers is not None:
            place = self._keep(name, buffers)
            self._mailbox.put([KeptBuffers(name, () if place is None else tuple(place))])
            buffers = place or buffers  # one copy is enough for all
        self._there[name] = buffers
        self._there.move_to_end(name)
        while len(self._there) > KEPT:
            self._close(self._there.popitem(last=False)[0])

    def _keep(self, name: bytes, buffers: Buffers) -> Mapped | None:
        """Put buffers into shared memory; None if there is none for them."""
        if CAN_LODGE and Unreceived not in map(type, buffers):
            with suppress(OSError, MemoryError):
                self._close(name)
                self._kept[name] = SharedBuffers(buffers)
                return self._kept[name].lodged
        return None

    def _close(self, name: bytes) -> None:
        if (kept := self._kept.pop(name, None)) is not None:
            kept.close()


def _is_sought(buffers: Any) -> bool:
    """Whether buffers must be asked for: their place has no path."""
    return isinstance(buffers, Mapped) and not buffers.path
