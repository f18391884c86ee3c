"""Try a few items here and recommend a backend: `nbpar.advise(fn, items)`.

Speed-ups are computed from the measurements by plain arithmetic (`diagnostics/suitability.py`), so the
advice can be verified by hand.
"""

from __future__ import annotations

import pickle
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import cycle, islice
from operator import mul
from typing import Any

from nbpar.core import text
from nbpar.core.checks import check_function, number_of_workers
from nbpar.core.tables import text_table
from nbpar.core.text import function_name, short
from nbpar.diagnostics.gil import gil_share
from nbpar.diagnostics.suitability import GAIN, WORTH, Measurements
from nbpar.host.cpus import ThreadClock, has_gil, usable_cpus
from nbpar.host.event_loops import no_event_loop
from nbpar.host.frames import entrance
from nbpar.pool.inputs import can_iterate, length_of

TRIED = 32
"""Maximal number of measured items."""

SPENT = 0.25
"""Seconds per measurement; a single slow item may take longer."""


@dataclass(frozen=True, slots=True)
class Advice:
    """A recommendation with the figures behind it; displayed as a table.

    Attributes:
        figures: the measurements.
        function: the name of the measured function.
    """

    function: str
    figures: Measurements

    @property
    def backend(self) -> str:
        """The recommendation: "serial", "threads" or "engines"."""
        return self.figures.backend

    def reason(self) -> str:
        """The reason, in one sentence."""
        known = self.figures
        if known.items is not None and known.items * known.seconds < WORTH:
            return (
                f"all of it takes {text.seconds(known.items * known.seconds)}: a plain loop is quick enough"
            )
        if self.backend == "serial" and known.reach < GAIN:
            return "there is one CPU, and the function keeps it busy"
        if self.backend == "serial":
            return "sending an item costs as much as computing it: give each item more to do"
        if known.free_threaded and self.backend == "threads":
            return "this Python has no GIL: threads compute at the same time"
        if known.busy < 0.5:
            return "it mostly waits: there may be more threads than CPUs"
        if self.backend == "threads":
            return "it releases the GIL: threads compute at the same time, and nothing is pickled"
        return "it holds the GIL: threads would take turns"

    def __repr__(self) -> str:
        return "\n".join([self._title(), *text_table(self._rows())])

    def _repr_html_(self) -> str:
        cell, wide = 'style="text-align:left"', 'style="text-align:left;white-space:nowrap"'
        rows = "".join(
            f'<tr><th scope="row" {cell}>{escape(name)}</th><td {cell}>{escape(value)}</td></tr>'
            for name, value in self._rows()
        )
        title = f"<caption {wide}><strong>{escape(self._title())}</strong></caption>"
        return f"<table>{title}<tbody>{rows}</tbody></table>"

    def _title(self) -> str:
        return f"{self.function}: {self.backend}, because {self.reason()}"

    def _rows(self) -> list[tuple[str, str]]:
        known = self.figures
        gil = "there is none" if known.free_threaded else f"{text.percent(known.gil)} of the time"
        tried = f" (measured: {known.tried:.1f})" if known.tried else ""
        return [
            ("time per item", text.seconds(known.seconds)),
            ("holds the GIL", gil),
            ("pickled", f"item {text.size(known.item_bytes)}, result {text.size(known.result_bytes)}"),
            ("workers", f"{known.workers}, on {text.plural(known.cpus, 'CPU')}"),
            ("threads", f"{known.threads:.1f} times as fast{tried}"),
            ("engines", known.problem or f"{known.engines:.1f} times as fast"),
            ("chunks", f"of {text.plural(known.chunksize, 'item')}, chosen automatically"),
        ]


@entrance
def advise(fn: Callable[[Any], Any], items: Iterable[Any], *, workers: int | None = None) -> Advice:
    """Run `fn` on a few items here and recommend threads, engines or neither.

    It takes a second, or as long as six slow items.  `fn` is called several times per item, so it should
    be idempotent; items taken from an iterator are consumed.

    Args:
        fn: the function that would be mapped.
        items: the items of the map.
        workers: their number; by default the CPUs available to this process.

    Raises:
        TypeError: `fn` is no function, or `items` cannot be iterated.
        ValueError: there are no items.
        Exception: any exception of `fn`.
    """
    check_function("the first argument", fn)
    cpus = usable_cpus()
    number = cpus if workers is None else number_of_workers(workers)
    if not can_iterate(items):
        raise TypeError(f"items must be iterable, was {short(items)}")
    sample = list(islice(items, TRIED))
    if not sample:
        raise ValueError("advise needs at least one item to try")
    with no_event_loop():
        return _advise(fn, sample, length_of((items,)), number, cpus)


def _advise(
    fn: Callable[[Any], Any], sample: Sequence[Any], total: int | None, number: int, cpus: int
) -> Advice:
    results = [fn(sample[0])]  # initialization at first use does not count
    seconds, busy = _timed(fn, sample, results)
    free = not has_gil()
    sizes, packing, problem = _packed(fn, sample, results)
    return Advice(
        function_name(fn),
        Measurements(
            seconds=seconds,
            busy=busy,
            gil=0.0 if free else gil_share(lambda: _repeat(fn, sample)),
            item_bytes=sizes[0],
            result_bytes=sizes[1],
            packing=packing,
            tried=_try_threads(fn, sample, min(number, cpus)),
            items=total,
            workers=number,
            cpus=cpus,
            problem=problem,
            free_threaded=free,
        ),
    )


def _timed(fn: Callable[[Any], Any], sample: Sequence[Any], results: list[Any]) -> tuple[float, float]:
    """Run items for a while; return the seconds per item and the busy share."""
    with ThreadClock() as clock:
        began, busy, until = clock.running(), time.thread_time(), time.perf_counter() + SPENT
        for item in sample:
            results.append(fn(item))
            if time.perf_counter() > until:
                break
        elapsed, busy = clock.running() - began, time.thread_time() - busy
    elapsed = max(elapsed, busy, 1e-9)
    return elapsed / (len(results) - 1), busy / elapsed


def _packed(
    fn: Callable[[Any], Any], sample: Sequence[Any], results: Sequence[Any]
) -> tuple[tuple[float, float], float, str]:
    """Return pickled sizes of an item and a result, the time for pickling, and any unpicklable object."""
    from nbpar.wire.pickling import dumps

    pairs = list(zip(sample, results[1:], strict=False))
    try:
        what = "the function"
        dumps(fn)
        began = time.thread_time()
        what = "an item"
        items = [dumps(item) for item, _ in pairs]
        what = "a result"
        values = [dumps(value) for _, value in pairs]
        for text in (*items, *values):
            pickle.loads(text)
    except Exception as error:  # noqa: BLE001 (a user's class may raise anything)
        return (0.0, 0.0), 0.0, f"cannot be used: {what} cannot be pickled ({error})"
    seconds = (time.thread_time() - began) / len(pairs)
    return (statistics.fmean(map(len, items)), statistics.fmean(map(len, values))), seconds, ""


def _repeat(fn: Callable[[Any], Any], sample: Sequence[Any]) -> tuple[list[float], list[int]]:
    """Repeat the sample until the time of a measurement is used up.

    Returns the seconds and the number of calls of each item; the share of other processes is subtracted.
    """
    seconds, calls = [0.0] * len(sample), [0] * len(sample)
    with ThreadClock() as clock:
        began, running = time.perf_counter(), clock.running()
        now = began
        for place, item in cycle(enumerate(sample)):
            fn(item)
            before, now = now, time.perf_counter()
            seconds[place] += now - before
            calls[place] += 1
            if now > began + SPENT:
                break
        share = (clock.running() - running) / (time.perf_counter() - began)
    return [share * spent for spent in seconds], calls


def _try_threads(fn: Callable[[Any], Any], sample: Sequence[Any], number: int) -> float:
    """Return the throughput of a number of threads over that of one.

    Work is measured by an item's time alone, because items differ and each of several threads does fewer.
    """
    if number < 2:
        return 0.0
    alone = [seconds / calls for seconds, calls in zip(*_repeat(fn, sample), strict=True) if calls]
    speeds: list[float] = []

    def run() -> None:
        seconds, calls = _repeat(fn, sample[: len(alone)])
        speeds.append(sum(map(mul, alone, calls)) / sum(seconds))

    threads = [threading.Thread(target=run, daemon=True) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(speeds)
