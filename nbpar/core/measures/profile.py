"""A sampling profile of all workers: seconds by stack, function and line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeVar

from nbpar.core.events import StacksSampled

MOST_STACKS = 20_000
"""Maximal number of distinct stacks in the profile of a run."""

Key = TypeVar("Key")


class Place(NamedTuple):
    """A line of a function."""

    file: str
    function: str
    first_line: int
    """The first line of the function."""

    line: int


Stack = tuple[Place, ...]
"""Places, the outermost first."""


class FunctionTime(NamedTuple):
    """A function in a profile."""

    function: str
    file: str
    first_line: int
    self_seconds: float
    """Seconds in its own lines, and in functions that are not written in Python."""

    total_seconds: float
    """The same with all functions that it has called."""


class LineTime(NamedTuple):
    """A line in a profile."""

    file: str
    line: int
    function: str
    self_seconds: float
    total_seconds: float


@dataclass(frozen=True)
class Profile:
    """Where the items of a run have spent their time, over all workers.

    Seconds are wall time: an item that waits is sampled as one that computes, but a coroutine only in its
    steps.
    """

    stacks: Mapping[Stack, float]
    """Seconds by stack."""

    samples: int = 0
    """Number of samples."""

    left_out: float = 0.0
    """Seconds in further stacks, which were too many to be kept."""

    @cached_property
    def seconds(self) -> float:
        """Sum over all stacks, those left out included."""
        return sum(self.stacks.values()) + self.left_out

    @cached_property
    def functions(self) -> list[FunctionTime]:
        """The functions, those with the most seconds of their own first."""
        own, total = self._sums(lambda place: (place.function, place.file, place.first_line))
        rows = [FunctionTime(*key, own.get(key, 0.0), seconds) for key, seconds in total.items()]
        return sorted(rows, key=lambda row: (-row.self_seconds, -row.total_seconds))

    @cached_property
    def lines(self) -> list[LineTime]:
        """The lines, likewise."""
        own, total = self._sums(lambda place: (place.file, place.line, place.function))
        rows = [LineTime(*key, own.get(key, 0.0), seconds) for key, seconds in total.items()]
        return sorted(rows, key=lambda row: (-row.self_seconds, -row.total_seconds))

    def folded(self) -> str:
        """Return the stacks as text, a line with its milliseconds for each.

        Other tools read it: flamegraph.pl, inferno, speedscope.
        """
        lines = (
            f"{';'.join(_plain(place) for place in stack)} {round(seconds * 1000)}"
            for stack, seconds in self.stacks.items()
            if seconds >= 0.0005
        )
        return "\n".join(lines)

    def _sums(self, key_of: Callable[[Place], Key]) -> tuple[dict[Key, float], dict[Key, float]]:
        """Return seconds by key: of innermost places, and of all, each key once for each stack."""
        own: dict[Key, float] = {}
        total: dict[Key, float] = {}
        for stack, seconds in self.stacks.items():
            inner = key_of(stack[-1])
            own[inner] = own.get(inner, 0.0) + seconds
            for key in {key_of(place) for place in stack}:
                total[key] = total.get(key, 0.0) + seconds
        return own, total


def _plain(place: Place) -> str:
    """Return a place without the separators of `folded`."""
    return f"{place.function} ({place.file}:{place.line})".replace(";", ",").replace("\n", " ")


class ProfileFold:
    """Merges the samples of all workers; written by one thread, read by any."""

    def __init__(self) -> None:
        self._stacks: dict[Stack, float] = {}
        self._samples = 0
        self._left_out = 0.0

    def take(self, event: StacksSampled) -> None:
        """Add samples of a worker."""
        places = [Place(*place) for place in event.places]
        self._samples += event.samples
        self._left_out += event.left_out
        for numbers, seconds in event.stacks:
            stack = tuple(places[number] for number in numbers)
            if stack in self._stacks or len(self._stacks) < MOST_STACKS:
                self._stacks[stack] = self._stacks.get(stack, 0.0) + seconds
            else:
                self._left_out += seconds

    def profile(self) -> Profile:
        """Return the profile so far."""
        while True:
            try:
                return Profile(dict(self._stacks), self._samples, self._left_out)
            except RuntimeError:  # it changed in the other thread
                continue


class Flame(NamedTuple):
    """A function in a flame picture: it has run from `start` to `stop`, called by what is below it."""

    depth: int
    start: float
    """Share of all seconds, from 0 to 1."""

    stop: float
    place: Place


def flames(stacks: Mapping[Stack, float], *, least: float = 0.002, deepest: int = 40) -> list[Flame]:
    """Return the rectangles of a flame picture: functions that were called by the same ones are one.

    Args:
        stacks: seconds by stack.
        least: share of all seconds below which a function is left out.
        deepest: maximal number of functions above one another.
    """
    total = sum(stacks.values())
    if total <= 0:
        return []
    found: list[Flame] = []
    _rise(list(stacks.items()), 0, 0.0, total, (found, least, deepest))
    return found


def _rise(
    stacks: Iterable[tuple[Stack, float]],
    depth: int,
    start: float,
    total: float,
    way: tuple[list[Flame], float, int],
) -> None:
    """Add the flames of one depth, and what is above each of them, the widest first."""
    found, least, deepest = way
    by_function: dict[tuple[str, str, int], list[tuple[Stack, float]]] = {}
    for stack, seconds in stacks:
        if len(stack) > depth:
            by_function.setdefault(stack[depth][:3], []).append((stack, seconds))
    for _, group in sorted(by_function.items(), key=lambda pair: -_sum(pair[1])):
        share = _sum(group) / total
        if share < least:
            return
        found.append(Flame(depth, start, start + share, group[0][0][depth]))
        if depth + 1 < deepest:
            _rise(group, depth + 1, start, total, way)
        start += share


def _sum(stacks: Sequence[tuple[Stack, float]]) -> float:
    return sum(seconds for _, seconds in stacks)
