"""What items need of their host: as many are under way at once as fit.

A worker runs one item at a time, so a run holds what one of its items needs once for each worker that has
calls of it, and for each item under way of an async function.  Hosts are shared by all pools of this process.
"""

from __future__ import annotations

import math
import re
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from nbpar.core.text import short, size
from nbpar.host.deadlines import real_number

ALLOWED = '{"memory": "2GB", "cores": 2}, or one of the two'

UNITS = {"K": 1, "M": 2, "G": 3, "T": 4}

_TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT])(i?B|)\s*", re.IGNORECASE)

SLACK = 1e-9
"""Shares of a core that sums of fractions may be off."""

Stir = Callable[[], None]


class Needs(NamedTuple):
    """What one item needs at once, for `needs=` of maps and stages."""

    memory: int = 0
    """Bytes; 0: nothing is said."""

    cores: float = 0.0
    """Likewise."""

    @classmethod
    def of(cls, given: Any) -> Needs | None:
        """Return the needs for a user's `needs=`; None for none.

        Raises:
            TypeError, ValueError: they are invalid; the message says what is allowed.
        """
        if given is None or isinstance(given, Needs):
            return given
        if not isinstance(given, Mapping):
            raise TypeError(f"needs must be None or {ALLOWED}, was {short(given)}")
        if not given or not set(given) <= {"memory", "cores"}:
            raise ValueError(f"needs must be {ALLOWED}, was {short(dict(given))}")
        memory = _bytes(given["memory"]) if "memory" in given else 0
        return cls(memory, _cores(given["cores"]) if "cores" in given else 0.0)

    def __str__(self) -> str:
        memory = size(self.memory) if self.memory else ""
        cores = in_cores(self.cores) if self.cores else ""
        return " and ".join(part for part in (memory, cores) if part)


class Host:
    """A host's memory and cores, and what runs hold of them.  Thread-safe.

    Who was refused stands in a line, which nobody may pass: otherwise an item that needs much would wait as
    long as there are others that need little.
    """

    def __init__(self, memory: int, cores: float, name: str = "this host") -> None:
        self.memory = memory
        self.cores = cores
        self.name = name
        self._used = Counter[Needs]()
        self._line: weakref.WeakKeyDictionary[Claim, None] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        self._lost: list[tuple[Needs, int]] = []
        """What runs held that were dropped; any thread may append, without the lock."""

    def fits(self, needs: Needs) -> bool:
        """Whether one item may be there at all."""
        return needs.memory <= self.memory and needs.cores <= self.cores + SLACK

    def lacks(self, needs: Needs) -> str:
        """Say why not even one item fits."""
        parts = []
        if needs.memory > self.memory:
            parts.append((size(needs.memory), size(self.memory)))
        if needs.cores > self.cores + SLACK:
            parts.append((in_cores(needs.cores), f"{self.cores:g}"))
        wanted, there = (" and ".join(texts) for texts in zip(*parts, strict=True))
        return f"an item needs {wanted}, {self.name} has {there}"

    def has_room(self, claim: Claim | None) -> bool:
        """Whether one more item of a run may begin, now; of a run without needs always."""
        if claim is None:
            return True
        with self._lock:
            return self._admits(claim)

    def take(self, claim: Claim) -> bool:
        """Take what one item needs; False if there is not as much, or others wait for it."""
        with self._lock:
            if not self._admits(claim):
                self._line.setdefault(claim, None)
                return False
            self._used[claim.needs] += 1
            waited = self._line.pop(claim, self) is None
            following = self._first() if waited else None
        _stir(following)
        return True

    def give_back(self, needs: Needs, number: int = 1) -> None:
        """Give back what items held."""
        with self._lock:
            self._used[needs] -= number
            first = self._first()
        _stir(first)

    def lose(self, needs: Needs, number: int) -> None:
        """Give it back later: this may be called in the middle of anything."""
        self._lost.append((needs, number))

    def leave(self, claim: Claim) -> None:
        """Let a run wait no more."""
        if claim not in self._line:
            return
        with self._lock:
            self._line.pop(claim, None)
            first = self._first()
        _stir(first)

    def _first(self) -> Claim | None:
        return next(iter(self._line), None)

    def _admits(self, claim: Claim) -> bool:
        while self._lost:
            needs, number = self._lost.pop()
            self._used[needs] -= number
        if self._first() not in (None, claim):
            return False
        memory = sum(needs.memory * number for needs, number in self._used.items())
        cores = sum(needs.cores * number for needs, number in self._used.items())
        left = Needs(self.memory - memory, self.cores - cores)
        return claim.needs.memory <= left.memory and claim.needs.cores <= left.cores + SLACK


ANYWHERE = Host(sys.maxsize, math.inf)
"""A host without limits."""


class Claim:
    """What one run holds of the hosts of its workers.

    Args:
        needs: of each item.
        stir: called when there may be room after it was refused; thread-safe.
        each: whether each call counts, because those of one worker are under way at once.
    """

    def __init__(self, needs: Needs, stir: Stir, *, each: bool = False) -> None:
        self.needs = needs
        self.stir = stir
        self._each = each
        self._calls = Counter[str]()
        """Calls of each worker."""

        self._hosts: dict[str, Host] = {}
        """Where these workers are."""

        self._held: dict[Host, int] = {}
        self.lines: set[Host] = set()
        """The hosts that have refused it."""

        weakref.finalize(self, _abandon, needs, self._held).atexit = False

    def is_mixed(self, worker: str, calls: int) -> bool:
        """Whether some of a worker's calls, which are run one after the other, are of other runs."""
        return not self._each and self._calls[worker] != calls

    def begin(self, worker: str, host: Host) -> bool:
        """Take what one more call on a worker needs; False if it must wait."""
        if self._each or not self._calls[worker]:
            if not host.take(self):
                self.lines.add(host)
                return False
            self.lines.discard(host)
            self._held[host] = self._held.get(host, 0) + 1
            self._hosts[worker] = host
        self._calls[worker] += 1
        return True

    def end(self, worker: str) -> None:
        """Give back what a call needed that is over."""
        if not self._calls[worker]:
            return  # all was given back
        self._calls[worker] -= 1
        host = self._hosts[worker]
        if not self._calls[worker]:
            del self._calls[worker], self._hosts[worker]
        elif not self._each:
            return
        self._held[host] -= 1
        host.give_back(self.needs)

    def leave(self, host: Host | None = None) -> None:
        """Wait no more for room, at one host or at all."""
        for one in [host] if host is not None else list(self.lines):
            self.lines.discard(one)
            one.leave(self)

    def close(self) -> None:
        """Give back everything."""
        self.leave()
        self._calls.clear()
        self._hosts.clear()
        held = dict(self._held)
        self._held.clear()
        for host, number in held.items():
            host.give_back(self.needs, number)


def in_cores(number: float) -> str:
    """Return a number of cores as text."""
    return f"{number:g} core" if number == 1 else f"{number:g} cores"


def _stir(claim: Claim | None) -> None:
    if claim is not None:
        claim.stir()


def _abandon(needs: Needs, held: dict[Host, int]) -> None:
    """Give back what a run held that is gone."""
    for host, number in held.items():
        if number:
            host.lose(needs, number)


def _bytes(given: Any) -> int:
    if isinstance(given, str):
        if found := _TEXT.fullmatch(given):
            base = 1000 if found[3].upper() == "B" else 1024
            number = float(found[1]) * base ** UNITS[found[2].upper()]
        else:
            raise ValueError(f'memory of needs must be bytes or "2GB", "500MB", "2GiB", was {short(given)}')
    elif (real := real_number(given)) is None:
        raise TypeError(f'memory of needs must be bytes or "2GB", "500MB", "2GiB", was {short(given)}')
    else:
        number = real
    if not 1 <= number < sys.maxsize:
        raise ValueError(f"memory of needs must be at least 1 byte, was {short(given)}")
    return int(number)


def _cores(given: Any) -> float:
    number = real_number(given)
    if number is None:
        raise TypeError(f"cores of needs must be a number, was {short(given)}")
    if not 0 < number < math.inf:
        raise ValueError(f"cores of needs must be above 0, was {short(given)}")
    return number
