"""Measure how fast large data gets to workers and back, and how much memory that takes, beside peers.

    python benchmarks/data.py [--quick] [--workers N] [--sizes MB ...] [--only NAME ...] [--total MB]

Each line is one case: arrays of one size as items, as results, as both, and one array that is an argument of
every item.  All tools take turns within one run, and each is timed three times after a first one; the best
counts.  Beside the time is the peak of the memory of all processes above that before the call, in which
shared memory counts once, sampled by a process of its own.  `copy` is the time of one copy of all data.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.opening import private_surroundings

MB = 1_000_000
SIZES = (1, 8, 40, 400)
ROUNDS = 3
SAMPLE = 0.05
"""Seconds between two looks at the memory."""

Map = Callable[[Callable[[Any], Any], Sequence[Any]], Sequence[Any]]


def total(array: Any) -> float:
    """Use an item: read one number of each page."""
    return float(array.reshape(-1)[::512].sum())


def made(size_and_number: tuple[int, int]) -> Any:
    """Make a result."""
    size, number = size_and_number
    return np.full(size // 8, float(number))


def changed(array: Any) -> Any:
    """Return an item that is changed: a copy, because those of joblib are read-only."""
    return array + 1


def with_argument(item: tuple[int, Any]) -> float:
    """Use an argument that is the same in every item."""
    return item[0] + total(item[1])


def cases(size: int, items: int) -> dict[str, tuple[Callable[[Any], Any], list[Any], Callable[[Any], bool]]]:
    """Return the cases: function, items, and a check of the results."""
    pages = len(np.ones(size // 8)[::512])
    arrays = [np.full(size // 8, float(number)) for number in range(items)]
    numbers = [float(number) for number in range(items)]
    return {
        "items": (total, arrays, lambda found: found == [number * pages for number in numbers]),
        "results": (
            made, [(size, number) for number in range(items)],
            lambda found: [array[-1] for array in found] == numbers,
        ),
        "both": (changed, arrays, lambda found: [array[-1] for array in found] == [n + 1 for n in numbers]),
        "argument": (
            with_argument, [(number, arrays[0]) for number in range(items)],
            lambda found: found == [float(number) for number in range(items)],
        ),
    }  # fmt: skip


class Watcher:
    """A process that samples the memory of this one and of its descendants."""

    def __init__(self) -> None:
        self._ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("fork").Process(
            target=_watch, args=(os.getpid(), theirs), daemon=True
        )
        self._process.start()

    def begin(self) -> None:
        """Take the memory now as the base."""
        self._ours.send("begin")
        self._ours.recv()

    def peak(self) -> int:
        """Return the largest memory since then, above the base."""
        self._ours.send("end")
        return int(self._ours.recv())

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()


def _watch(pid: int, pipe: Connection) -> None:
    base = peak = 0
    while True:
        if pipe.poll(SAMPLE):
            if pipe.recv() == "begin":
                base = peak = _memory(pid)
                pipe.send(base)
            else:
                pipe.send(peak - base)
        peak = max(peak, _memory(pid))


def _memory(pid: int) -> int:
    """Return the bytes of a process and its descendants, but for the caller.

    Of memory that is shared the most that one of them has counts.  The kernel keeps these numbers; adding
    up pages (PSS) would hold up the very processes that get new ones.
    """
    own, shared = 0, [0]
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            if process.pid != os.getpid():
                with suppress(OSError, IndexError):
                    text = Path(f"/proc/{process.pid}/status").read_text()
                    own += _kilobytes(text, "RssAnon")
                    shared.append(_kilobytes(text, "RssShmem"))
    return 1024 * (own + max(shared))


def _kilobytes(status: str, name: str) -> int:
    return int(status.split(f"\n{name}:")[1].split()[0])


def tools(stack: ExitStack, workers: int, only: Sequence[str]) -> dict[str, Map]:
    """Open the tools; the ones that fork first."""

    def with_pool() -> Map:
        pool = stack.enter_context(multiprocessing.get_context("fork").Pool(workers))
        return lambda function, items: pool.map(function, items, chunksize=1)

    def with_executor() -> Map:
        context = multiprocessing.get_context("fork")
        executor = stack.enter_context(ProcessPoolExecutor(workers, mp_context=context))
        return lambda function, items: list(executor.map(function, items))

    def with_joblib() -> Map:
        from joblib import Parallel, delayed

        parallel = stack.enter_context(Parallel(workers))
        return lambda function, items: parallel(delayed(function)(item) for item in items)  # type: ignore[no-any-return]

    def with_nbpar() -> Map:
        import nbpar

        pool = stack.enter_context(nbpar.Pool(workers, progress="none"))
        return pool.map

    known = {"pool": with_pool, "executor": with_executor, "joblib": with_joblib, "nbpar": with_nbpar}
    opened = {name: make() for name, make in known.items() if not only or name in only}
    for map_ in opened.values():
        map_(abs, range(4 * workers))
    return {name: opened[name] for name in sorted(opened, key=lambda name: name != "nbpar")}


def copied(items: Sequence[Any]) -> float:
    """Return the seconds of one copy of all arrays, into fresh memory each time."""
    began = time.perf_counter()
    for item in items:
        np.array(item[-1] if isinstance(item, tuple) else item)
    return time.perf_counter() - began


def measured(map_: Map, case: tuple[Any, list[Any], Any], watcher: Watcher, rounds: int) -> tuple[float, int]:
    """Return the best time of a case, and its peak memory."""
    function, items, right = case
    best, peak = float("inf"), 0
    for number in range(rounds + 1):
        watcher.begin()
        began = time.perf_counter()
        found = map_(function, items)
        seconds = time.perf_counter() - began
        peak = max(peak, watcher.peak())
        if not right(list(found)):
            raise SystemExit(f"wrong results of {function.__name__}")
        if number or rounds == 1:
            best = min(best, seconds)
    return best, peak


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print one table."""
    options = parse(arguments)
    rounds = 1 if options.quick else ROUNDS
    watcher = Watcher()
    with private_surroundings(), ExitStack() as stack:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # by which pools that are forked end their workers
        stack.callback(watcher.close)
        maps = tools(stack, options.workers, options.only)
        print(f"{'case':24}{'copy':>9}" + "".join(f"{name:>20}" for name in maps), flush=True)
        for size in options.sizes:
            items = max(2, options.total // size)
            for name in ("items", "results", "both", "argument"):
                line = f"{f'{name}, {items} x {size} MB':24}"
                base = copied(cases(size * MB, items)[name][1]) if name != "results" else None
                line += f"{base:7.2f} s" if base is not None else " " * 9
                for map_ in maps.values():
                    seconds, peak = measured(map_, cases(size * MB, items)[name], watcher, rounds)
                    line += f"{seconds:8.2f} s {peak / MB:6.0f} MB"
                print(line, flush=True)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--workers", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="of an array, in MB")
    parser.add_argument("--total", type=int, default=800, help="of all arrays of a case, in MB")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="pool, executor, joblib, nbpar")
    parser.add_argument("--quick", action="store_true", help="one round each")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
