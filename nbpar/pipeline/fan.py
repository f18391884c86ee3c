"""From one source to several branches, and from their outcomes back to one."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Any

from nbpar.core.outcome import Part
from nbpar.pipeline.appetite import Appetite, Reader
from nbpar.pipeline.backlog import Backlog
from nbpar.pipeline.links import Feed, Link, Wake


class Tee:
    """One source for several stages: each gets every item, and none gets far ahead of the others.

    Args:
        source: where the items come from.
        number: of stages that read.
        least: items that one stage must be able to be ahead of another: those that may be held where
            batches come together, before something comes out of both.
    """

    def __init__(self, source: Feed, number: int, *, least: int = 1) -> None:
        self.source = source
        self.lock = threading.Lock()  # the stages may be in several threads
        self._next = 0
        self._open = number
        self._wakes: list[Wake] = []
        self._refused = False
        """Whether a stage would have got more if another had not so much before it."""

        self.outlets = [Outlet(self, Appetite(least)) for _ in range(number)]

    def feed(self, wake: Wake, reader: Reader) -> None:
        """Take in that a stage reads here."""
        self._wakes.append(wake)
        self.source.feed(wake, reader)

    def spare(self) -> int:
        """How many items more the stages have room for."""
        return min(outlet.spare for outlet in self.outlets)

    def want(self, total: int) -> None:
        """Allow that the input is read as far as there is room for it."""
        self.source.want(min(total, self._next + self.spare()))

    def was_taken(self) -> None:
        """Items have been taken, which gives room; the lock is not held."""
        if self._refused:
            self._refused = False
            for wake in self._wakes:
                wake()

    def pull(self, limit: int) -> None:
        """Read up to `limit` items more for everybody; the lock is held."""
        self._pull_all_known()
        if limit > (spare := self.spare()):
            self._refused, limit = True, spare
        items = self.source.take(limit, eager=True) if limit > 0 else ()
        if len(items):
            self._put(Part(self._next, items))
            self._pull_all_known()  # it may complete a batch

    def close(self) -> None:
        """One stage reads no more."""
        self._open -= 1
        close = getattr(self.source, "close", None)
        if not self._open and close is not None:
            close()

    def pull_known(self) -> bool:
        """Read what is next if it is an outcome that is final; the lock is held."""
        part = self.source.known()
        if part is not None:
            self._put(part)
        return part is not None

    def _pull_all_known(self) -> None:
        while self.pull_known():
            pass

    def _put(self, part: Part) -> None:
        self._next = part.stop
        for outlet in self.outlets:
            outlet.put(part)


class Outlet:
    """What one stage reads from a tee."""

    def __init__(self, tee: Tee, appetite: Appetite) -> None:
        self._tee = tee
        self._appetite = appetite
        self._most = 1
        """How many items may wait here, as the stage saw it last."""

        self.backlog = Backlog()

    def put(self, part: Part) -> None:
        """Take the next items, which are those of every stage."""
        self._appetite.weigh(part)
        self.backlog.put(part)

    @property
    def waiting(self) -> int:
        return self.backlog.size

    @property
    def spare(self) -> int:
        """How many items more may wait here; may be negative."""
        return self._most - self.backlog.size

    def feed(self, wake: Wake, reader: Reader) -> None:
        self._appetite.of(reader)
        self._tee.feed(wake, reader)

    def hand_out(self, batch: int | None) -> None:
        self.backlog.batch = batch

    @property
    def error(self) -> BaseException | None:
        return self._tee.source.error

    @property
    def ended(self) -> bool:
        return self._tee.source.ended and not self.backlog.size

    @property
    def remaining(self) -> int | None:
        rest = self._tee.source.remaining
        return None if rest is None else rest + self.backlog.size

    @property
    def ready(self) -> bool:
        return self.backlog.ready > 0 or (self._tee.source.ready and self._tee.spare() > 0)

    def take(self, limit: int, *, eager: bool) -> Sequence[Any]:
        with self._tee.lock:
            self._tee.pull(limit - self.backlog.ready)
            items = self.backlog.take(limit, eager=eager, over=self._tee.source.ended)
        if len(items):
            self._tee.was_taken()
        return items

    def known(self) -> Part | None:
        with self._tee.lock:
            if not self.backlog.size:
                self._tee.pull_known()
            part = self.backlog.known()
        if part is not None:
            self._tee.was_taken()
        return part

    def want(self, total: int) -> None:
        self._most = self._appetite.bound(sys.maxsize)
        self._tee.want(total)

    def close(self) -> None:
        """Read no more."""
        self._tee.close()


class Merge:
    """The outcomes of several branches, item by item: tuples, in the order of the branches."""

    def __init__(self, links: Sequence[Link]) -> None:
        self._links = links

    @property
    def waiting(self) -> int:
        return max(link.waiting for link in self._links)

    def feed(self, wake: Wake, reader: Reader) -> None:
        for link in self._links:
            link.feed(wake, reader)

    def hand_out(self, batch: int | None) -> None:
        """Joining goes item by item."""

    @property
    def error(self) -> BaseException | None:
        return next((link.error for link in self._links if link.error is not None), None)

    @property
    def ended(self) -> bool:
        return all(link.ended for link in self._links)

    @property
    def remaining(self) -> int | None:
        rest = [link.remaining for link in self._links]
        known = [number for number in rest if number is not None]
        return min(known) if len(known) == len(rest) else None

    @property
    def ready(self) -> bool:
        return all(link.ready for link in self._links)

    def take(self, limit: int, *, eager: bool) -> Sequence[Any]:
        number = min(limit, *(link.at_hand for link in self._links))
        if not number or (number < limit and not eager and self.remaining is None):
            return ()
        return list(zip(*(link.take(number, eager=True) for link in self._links), strict=True))

    def known(self) -> Part | None:
        """Take the item that is next if it failed in one of the branches; or those that no branch touched."""
        if not all(link.waiting for link in self._links) or all(link.at_hand for link in self._links):
            return None
        failed = next(link for link in self._links if not link.at_hand)
        part = failed.known()
        for link in self._links:
            if link is not failed:
                link.drop()
        return part

    def want(self, total: int) -> None:
        """Each branch reads ahead by itself."""
