"""Fan out one source to several branches, and merge their outcomes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Any

from nbpar.core.outcome import Part
from nbpar.pipeline.backlog import Backlog
from nbpar.pipeline.links import Link, StageInput, Wake
from nbpar.pipeline.lookahead import LookAhead, Reader


class Tee:
    """One source for several stages: each gets every item, and none gets far ahead of the others.

    Args:
        source: where the items come from.
        number: of stages that read.
        least: items that one stage must be able to be ahead of another: those that may be held while
            batches fill up, before both produce output.
    """

    def __init__(self, source: StageInput, number: int, *, least: int = 1) -> None:
        self.source = source
        self.lock = threading.Lock()  # the stages may be in several threads
        self._next = 0
        self._open = number
        self._wakes: list[Wake] = []
        self._refused = False
        """Whether a stage was refused items because of another one's backlog."""

        self.outlets = [Outlet(self, LookAhead(least)) for _ in range(number)]

    def feed(self, wake: Wake, reader: Reader) -> None:
        """Add a stage that reads from here."""
        self._wakes.append(wake)
        self.source.feed(wake, reader)

    def spare(self) -> int:
        """Number of items that the stages have room for."""
        return min(outlet.spare for outlet in self.outlets)

    def want(self, total: int) -> None:
        """Let the input be read as far as there is room."""
        self.source.want(min(total, self._next + self.spare()))

    def was_taken(self) -> None:
        """Items have been taken, which makes room; call without the lock."""
        if self._refused:
            self._refused = False
            for wake in self._wakes:
                wake()

    def pull(self, limit: int) -> None:
        """Read up to `limit` items for all stages; call with the lock held."""
        self._pull_all_known()
        if limit > (spare := self.spare()):
            self._refused, limit = True, spare
        items = self.source.take(limit, eager=True) if limit > 0 else ()
        if len(items):
            self._put(Part(self._next, items))
            self._pull_all_known()  # it may complete a batch

    def close(self) -> None:
        """One stage stops reading."""
        self._open -= 1
        if not self._open:
            self.source.close()

    def pull_known(self) -> bool:
        """Read the next element if it is a final outcome; call with the lock held."""
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
        for wake in self._wakes:  # items read for one stage are available to all
            wake()


class Outlet:
    """The input of one stage that reads from a tee."""

    reading = 0.0

    def __init__(self, tee: Tee, appetite: LookAhead) -> None:
        self._tee = tee
        self._appetite = appetite
        self._most = 1
        """Bound of the queue, as last set by the stage."""

        self.backlog = Backlog()

    def put(self, part: Part) -> None:
        """Append the next items, which all stages get."""
        self._appetite.weigh(part)
        self.backlog.put(part)

    @property
    def waiting(self) -> int:
        return self.backlog.size

    @property
    def spare(self) -> int:
        """Free places in the queue; may be negative."""
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
        """Stop reading."""
        self._tee.close()


class Merge:
    """The outcomes of several branches, item by item: tuples, in the order of the branches."""

    reading = 0.0

    def __init__(self, links: Sequence[Link]) -> None:
        self._links = links

    @property
    def waiting(self) -> int:
        return max(link.waiting for link in self._links)

    def feed(self, wake: Wake, reader: Reader) -> None:
        for link in self._links:
            link.feed(wake, reader)

    def hand_out(self, batch: int | None) -> None:
        """Ignored: joining is done item by item."""

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
        """Take the next item if it failed in a branch, or the next items that no branch computed."""
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

    def close(self) -> None:
        """Each branch ends by itself."""
