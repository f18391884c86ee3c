"""Send large pickles to each other host once: one of its engines keeps them for the rest.

An engine that is reached by a stream through ssh gets a function without its large pickle, and asks for that
when it needs it, as every engine does for shared objects.  The first of a host gets all parts of it and says
where they are; others wait until then, and map them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbpar.backends.base import WorkerId
from nbpar.backends.engines.engine import EngineLoop
from nbpar.wire.messages import FoundBuffers, KeptBuffers, Load, Message, SeekBuffers
from nbpar.wire.pickling import Packed
from nbpar.wire.shared import parts_of
from nbpar.wire.shared_memory import WORTH, Mapped

FUNCTIONS = 8
"""Number of functions whose buffers are kept; an engine that needs another's gets it with them."""

SOUGHT = Mapped("", "", ())
"""Stands for buffers that the engine is to ask for."""


@dataclass
class _Copy:
    """The buffers of one function or shared object on one host."""

    carrier: EngineLoop
    """The engine that gets them, and keeps them."""

    place: Mapped | None = None
    """Where it keeps them; None while they are on their way."""

    waiting: list[EngineLoop] = field(default_factory=list)
    """The others that have asked for them meanwhile."""


class HostCopies:
    """What the engines of other hosts have.

    Args:
        send: sends messages to an engine.
    """

    def __init__(self, send: Callable[[WorkerId, Sequence[Message]], None]) -> None:
        self._send = send
        self._offered: OrderedDict[bytes, Any] = OrderedDict()
        self._copies: dict[tuple[str, bytes], _Copy] = {}
        """By machine and name."""

        self._unable: set[str] = set()
        """Machines that have no shared memory."""

    def offer(self, load: Load) -> Load:
        """Return a function without its pickle, if that is large."""
        parts = [load.function.head, *load.function.buffers]
        if sum(map(len, parts)) < WORTH:
            return load
        self._offered[load.digest] = parts
        self._offered.move_to_end(load.digest)
        while len(self._offered) > FUNCTIONS:
            self._offered.popitem(last=False)
        return load._replace(function=load.function._replace(head=b"", buffers=SOUGHT))

    def take(self, engine: EngineLoop, message: SeekBuffers | KeptBuffers) -> None:
        """Handle a message of an engine."""
        if isinstance(message, KeptBuffers):
            self._take_place(engine, message)
        else:
            self._answer(engine, message)

    def lose(self, engine: EngineLoop) -> None:
        """Handle the end of an engine, or of its loop."""
        for key, copy in list(self._copies.items()):
            if engine in copy.waiting:
                copy.waiting.remove(engine)
            if copy.carrier is engine:
                del self._copies[key]
                self._send_next(key[1], copy)

    def pass_over(self, silent: Collection[EngineLoop]) -> None:
        """Let no engine wait for one that has fallen silent, if it answers itself."""
        for key, copy in list(self._copies.items()):
            if copy.place is None and copy.carrier in silent and not all(it.silent for it in copy.waiting):
                del self._copies[key]
                self._send_next(key[1], copy)

    def clear(self) -> None:
        """Drop all: the pool is idle."""
        self._offered.clear()

    def _answer(self, engine: EngineLoop, seek: SeekBuffers) -> None:
        key = (engine.shares_on, seek.name)
        copy = self._copies.get(key)
        if copy is not None and copy.place is not None and copy.place.name == seek.not_at:
            del self._copies[key]
            copy = None
        if copy is None:
            self._send_whole(engine, seek.name)
        elif copy.place is not None:
            self._send_content(engine, seek.name, copy.place)
        elif copy.carrier is not engine and engine not in copy.waiting:
            copy.waiting.append(engine)

    def _take_place(self, engine: EngineLoop, kept: KeptBuffers) -> None:
        key = (engine.shares_on, kept.name)
        copy = self._copies.get(key)
        if copy is None or copy.carrier is not engine:
            return  # others did not wait for it
        if kept.place:
            copy.place = Mapped(*kept.place)
            for other in copy.waiting:
                self._send_content(other, kept.name, copy.place)
        else:
            self._unable.add(engine.shares_on)
            del self._copies[key]
            for other in copy.waiting:
                self._send_whole(other, kept.name)
        copy.waiting = []

    def _send_next(self, name: bytes, copy: _Copy) -> None:
        """Send the buffers to the next that waits for them; the others wait for that one."""
        waiting = sorted(copy.waiting, key=lambda engine: engine.silent)
        if not waiting:
            return
        first, *others = waiting
        self._send_whole(first, name)
        new = self._copies.get((first.shares_on, name))
        for other in others:
            if new is None:
                self._send_whole(other, name)
            else:
                new.waiting.append(other)

    def _send_whole(self, engine: EngineLoop, name: bytes) -> None:
        """Send the buffers, to be kept for others if the host can do that."""
        buffers = self._offered[name] if name in self._offered else parts_of(name)
        keep = type(buffers) is list and engine.shares_on not in self._unable | {""}
        if keep:
            self._copies[engine.shares_on, name] = _Copy(engine)
        self._send_content(engine, name, buffers, keep=keep)

    def _send_content(self, engine: EngineLoop, name: bytes, buffers: Any, *, keep: bool = False) -> None:
        content = None if buffers is None else Packed(b"", None, buffers)
        self._send(engine.worker, [FoundBuffers(name, keep, content)])
