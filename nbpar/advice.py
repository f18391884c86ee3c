"""Try a few items here and say which backend suits the work: `nbpar.advise(fn, items)`.

What is measured becomes expected speed-ups by plain arithmetic (`core/suitability.py`), so that the
advice can be followed by hand.
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

from nbpar.cluster.limits import usable_cpus
from nbpar.core import units
from nbpar.core.columns import text_table
from nbpar.core.short import function_name
from nbpar.core.suitability import GAIN, WORTH, Figures
from nbpar.gil import ThreadClock, gil_share, has_gil
from nbpar.inputs import length_of
from nbpar.options import at_least

TRIED = 32
"""Items that are tried, at most."""

SPENT = 0.25
"""Seconds for each of the measurements; a single slow item may take longer."""


@dataclass(frozen=True, slots=True)
class Advice:
    """A recommendation with the figures that led to it; shows itself as a table.

    Attributes:
        figures: what was measured.
        function: the name of what was tried.
    """

    function: str
    figures: Figures

    @property
    def backend(self) -> str:
        """Where to run it: "serial", "threads" or "engines"."""
        return self.figures.backend

    def reason(self) -> str:
        """Why, in one sentence."""
        known = self.figures
        if known.items is not None and known.items * known.seconds < WORTH:
            return (
                f"all of it takes {units.seconds(known.items * known.seconds)}: a plain loop is quick enough"
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
        return f"<table><caption {wide}>{escape(self._title())}</caption><tbody>{rows}</tbody></table>"

    def _title(self) -> str:
        return f"{self.function}: {self.backend}, because {self.reason()}"

    def _rows(self) -> list[tuple[str, str]]:
        known = self.figures
        gil = "there is none" if known.free_threaded else f"{units.percent(known.gil)} of the time"
        tried = f" ({known.tried:.1f} when tried here)" if known.tried else ""
        return [
            ("time per item", units.seconds(known.seconds)),
            ("holds the GIL", gil),
            ("pickled", f"item {units.size(known.item_bytes)}, result {units.size(known.result_bytes)}"),
            ("workers", f"{known.workers}, on {units.plural(known.cpus, 'CPU')}"),
            ("threads", f"{known.threads:.1f} times as fast{tried}"),
            ("engines", known.problem or f"{known.engines:.1f} times as fast"),
            ("chunks", f"of {units.plural(known.chunksize, 'item')}, found by themselves"),
        ]


def advise(fn: Callable[[Any], Any], items: Iterable[Any], *, workers: int | None = None) -> Advice:
    """Run `fn` on a few items here and say whether threads, engines or neither would be faster.

    It takes a second, or as long as six slow items.  Items are tried several times, so `fn` should
    do no harm when it is called again; from an iterator those that are tried are gone.

    Args:
        fn: the function that would be mapped.
        items: what it would be mapped over.
        workers: how many there would be; by default the CPUs that this process may use.

    Raises:
        ValueError: there are no items.
        Exception: what `fn` raises.
    """
    sample = list(islice(items, TRIED))
    if not sample:
        raise ValueError("advise needs at least one item to try")
    total = length_of((items,))
    cpus = usable_cpus()
    number = cpus if workers is None else at_least(1, "workers", workers)
    results = [fn(sample[0])]  # what is made at first use is not the work
    seconds, busy = _timed(fn, sample, results)
    free = not has_gil()
    sizes, packing, problem = _packed(fn, sample, results)
    return Advice(
        function_name(fn),
        Figures(
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
    """Run items for a while; return the seconds of one and the share in which it was busy."""
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
    """Return pickled sizes of an item and a result, the time that it takes, and what cannot be pickled."""
    import cloudpickle

    pairs = list(zip(sample, results[1:], strict=False))
    try:
        what = "the function"
        cloudpickle.dumps(fn)
        began = time.thread_time()
        what = "an item"
        items = [cloudpickle.dumps(item) for item, _ in pairs]
        what = "a result"
        values = [cloudpickle.dumps(value) for _, value in pairs]
        for text in (*items, *values):
            pickle.loads(text)
    except Exception as error:  # noqa: BLE001 (anything may be raised by a class of the user's)
        return (0.0, 0.0), 0.0, f"cannot be used: {what} cannot be pickled ({error})"
    seconds = (time.thread_time() - began) / len(pairs)
    return (statistics.fmean(map(len, items)), statistics.fmean(map(len, values))), seconds, ""


def _repeat(fn: Callable[[Any], Any], sample: Sequence[Any]) -> tuple[list[float], list[int]]:
    """Go through the sample, over and over, until the time of a measurement is used up.

    Returns the seconds and the number of calls of each item; other processes' share is taken out.
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
    """Return how many times as much work so many threads do in a second as one.

    Work is the time that an item takes alone: items differ, and each of several threads gets less far.
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
