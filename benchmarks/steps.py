"""Count the steps of a map on an engine: calls from one file of nbpar into another, on both sides.

    python benchmarks/steps.py [--list]

A step is a call of a function or method that another file of nbpar defines; reading a property is none.
"One chunk" counts each pair of caller and callee once, however often it occurs; "a further chunk" counts how
often pairs occur for each of twenty more chunks, if at least for every other one.  `--list` names the latter.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # when this file itself is run

import nbpar
from benchmarks.table import Row, Section, render
from nbpar.core import chunking

CHUNK = 4
"""Items of a chunk."""

FURTHER = 20
"""Further chunks."""

ROUNDS = 5
"""Maps of each kind, of which the one with the fewest steps counts: others have waits in between."""

Step = tuple[str, str]
"""Caller and callee, each as file and function."""


class StepCounter:
    """A profile function that counts steps between `take` and `take`."""

    def __init__(self, package: str) -> None:
        self._package = package
        self._calls: Counter[tuple[CodeType, CodeType]] = Counter()

    def __call__(self, frame: FrameType, event: str, _arg: object) -> None:
        if event != "call" or self._package not in frame.f_code.co_filename:
            return
        caller = frame.f_back
        while caller is not None and self._package not in caller.f_code.co_filename:
            caller = caller.f_back
        if caller is not None and caller.f_code.co_filename != frame.f_code.co_filename:
            self._calls[caller.f_code, frame.f_code] += 1

    def take(self) -> Counter[Step]:
        """Return the steps counted since the last time."""
        calls, self._calls = self._calls, Counter()
        getters = self._getters()
        steps: Counter[Step] = Counter()
        for (caller, callee), number in calls.items():
            if callee not in getters and not callee.co_name.startswith("<"):
                steps[self._named(caller), self._named(callee)] += number
        return steps

    def _named(self, code: CodeType) -> str:
        return f"{code.co_filename.rpartition(self._package)[2]} {code.co_name}"

    def _getters(self) -> set[CodeType]:
        """Return the code of all properties of the package's classes."""
        modules = [module for name, module in list(sys.modules.items()) if name.startswith("nbpar")]
        classes = {kind for module in modules for kind in vars(module).values() if isinstance(kind, type)}
        properties = [
            value for kind in classes for value in vars(kind).values() if isinstance(value, property)
        ]
        return {code for one in properties if (code := getattr(one.fget, "__code__", None)) is not None}


def count_here(counter: StepCounter) -> None:
    """Count in this thread from now on; as an initializer it stays for all items that follow."""
    sys.setprofile(counter)


def steps_there(_item: int) -> Counter[Step]:
    """Return an engine's steps since the last time."""
    counter: Any = sys.getprofile()
    steps: Counter[Step] = counter.take()
    return steps


def same(item: int) -> int:
    """Do nothing."""
    return item


def count_map(pool: nbpar.Pool, here: StepCounter, chunks: int) -> tuple[Counter[Step], Counter[Step]]:
    """Return the steps of one map, here and on the engine."""
    counts, before = [], sys.getprofile()
    for _ in range(ROUNDS):
        pool.map(steps_there, [0])
        here.take()
        sys.setprofile(here)
        try:
            pool.map(same, range(CHUNK * chunks), chunksize=CHUNK)
        finally:
            sys.setprofile(before)
        counts.append((here.take(), pool.map(steps_there, [0])[0]))
    return min(counts, key=lambda count: count[0].total() + count[1].total())


def further(more: Counter[Step], one: Counter[Step]) -> dict[Step, float]:
    """Return how often each step occurs for a further chunk."""
    rates = {step: (more[step] - one[step]) / FURTHER for step in more}
    return {step: rate for step, rate in rates.items() if rate >= 0.5}


class Steps(NamedTuple):
    """The steps of one side."""

    one: Counter[Step]
    """Of a map of one chunk."""

    rates: dict[Step, float]
    """How often each occurs for a further chunk."""

    @property
    def further(self) -> int:
        """Number of steps of a further chunk."""
        return round(sum(self.rates.values()))


def steps_of_maps() -> tuple[Steps, Steps]:
    """Return the steps here and on the engine."""
    joined, chunking.MOST_JOINED = chunking.MOST_JOINED, 1  # short chunks would share the steps of one call
    here, before = StepCounter(f"{Path(nbpar.__file__).parent}/"), threading.getprofile()
    threading.setprofile(here)
    there = StepCounter("/nbpar/")
    try:
        with nbpar.Pool(1, initializer=count_here, initargs=(there,), progress="none") as pool:
            one, more = (count_map(pool, here, chunks) for chunks in (1, 1 + FURTHER))
    finally:
        threading.setprofile(before)  # type: ignore[arg-type]  # it takes None, as `sys.setprofile` does
        chunking.MOST_JOINED = joined
    return Steps(one[0], further(more[0], one[0])), Steps(one[1], further(more[1], one[1]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="name the steps of a further chunk")
    listed = parser.parse_args().list
    sides = steps_of_maps()
    figures = [(len(side.one), side.further) for side in sides]
    rows = [
        Row(name, tuple(map(str, pair)))
        for name, pair in (
            ("here", figures[0]),
            ("on the engine", figures[1]),
            ("together", (figures[0][0] + figures[1][0], figures[0][1] + figures[1][1])),
        )
    ]
    print(render([Section("Steps of a map", ("one chunk", "a further chunk"), tuple(rows))]))
    for side, name in enumerate(("here", "on the engine")) if listed else ():
        print(f"\n{name}:")
        for (caller, callee), rate in sorted(sides[side].rates.items()):
            print(f"  {rate:.1f}  {caller} -> {callee}")


if __name__ == "__main__":
    main()
