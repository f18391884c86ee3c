"""`nbpar demo`: the same measurements in a plain loop and on workers, timed and compared."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nbpar.demo.measuring import Measured, Unreadable, measure, standard_library
from nbpar.demo.report import Timing, table, timing_lines, totals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from tqdm import tqdm

_INTERRUPTED = 130
_DIFFERENT = 1


class Mapper(Protocol):
    """What the demo needs of a pool."""

    def map(
        self, fn: Callable[[str], Any], items: Sequence[str], /, *, label: str | None = None
    ) -> Sequence[Any]:
        """Apply `fn` to each item, in order."""

    def each(self, fn: Callable[[], Any], /) -> Sequence[Any]:
        """Call `fn` once on every worker."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 when both ways agree, 1 when they do not, 130 when it was interrupted."""
    options = _parser().parse_args(arguments)
    try:
        files = spread(standard_library(), options.limit)
        return run(files, lambda: open_pool(options.workers, options.backend), options.backend)
    except KeyboardInterrupt:
        _say("\ninterrupted; the workers are stopped", error=True)
        return _INTERRUPTED


def run(files: Sequence[str], opened: Callable[[], AbstractContextManager[Mapper]], backend: str) -> int:
    """Measure the files both ways, say what came out, and return the exit status."""
    _say(f"Python {platform.python_version()}: {len(files):,} files of the standard library")
    here, serial = in_a_loop(files)
    there, timing = on_workers(files, opened, backend, serial)
    _say(f"\n{table(here)}\n\n{totals(here)}\n\n{timing_lines(timing)}")
    if here != there:
        _say("the results differ: this is a bug in nbpar, please report it", error=True)
        return _DIFFERENT
    _say("both gave the same results in the same order")
    return 0


def in_a_loop(files: Sequence[str]) -> tuple[list[Measured | Unreadable], float]:
    """Measure the files in a plain loop; the results and its seconds.

    All files are read once before, so that neither way is the one that waits for the disk.
    """
    for path in files:
        Path(path).read_bytes()
    began = time.perf_counter()
    with _shown(files) as shown:
        results = [measure(path) for path in shown]
    return results, time.perf_counter() - began


def on_workers(
    files: Sequence[str], opened: Callable[[], AbstractContextManager[Mapper]], backend: str, serial: float
) -> tuple[list[Measured | Unreadable], Timing]:
    """Measure the files on the workers of a fresh pool; the results and all times."""
    began = time.perf_counter()
    with opened() as pool:
        workers = len(pool.each(ready))
        started = time.perf_counter()
        results = list(pool.map(measure, files, label=backend))
        done = time.perf_counter()
    return results, Timing(backend, workers, serial, start=started - began, parallel=done - started)


def ready() -> int:
    """Answer from a worker, which has imported what the measuring needs by then."""
    return os.getpid()


def spread(files: Sequence[str], limit: int | None) -> list[str]:
    """Take `limit` files from all over the list, or all of them."""
    if limit is None or limit >= len(files):
        return list(files)
    return [files[i * len(files) // limit] for i in range(limit)]


def open_pool(workers: int | None, backend: str) -> AbstractContextManager[Mapper]:
    """Open nbpar's pool, which shows its progress as text."""
    from nbpar.pool import Pool

    return Pool(workers, backend=backend, progress="text")


def _shown(files: Sequence[str]) -> tqdm[str]:
    from tqdm import tqdm

    # Where nobody watches (a file, a log) a line every few seconds is enough.
    interval = 0.1 if sys.stderr.isatty() else 5.0
    return tqdm(files, desc="plain loop", unit=" files", mininterval=interval)


def _say(text: str, *, error: bool = False) -> None:
    stream = sys.stderr if error else sys.stdout
    stream.write(text + "\n")
    stream.flush()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, was {number}")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nbpar demo", description=__doc__)
    parser.add_argument(
        "--workers", type=_positive, metavar="N", help="default: the CPUs this process may use"
    )
    parser.add_argument("--backend", choices=["engines", "threads", "serial"], default="engines")
    parser.add_argument(
        "--limit", type=_positive, metavar="N", help="only N files, taken from all over the library"
    )
    return parser
