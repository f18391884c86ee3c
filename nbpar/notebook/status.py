"""The workers as a table, for `%nbpar`."""

from __future__ import annotations

import platform
import time
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from nbpar.core.columns import html_table, text_table
from nbpar.core.units import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from nbpar.notebook.pools import MapPool

_COLUMNS = ("worker", "host", "pid", "CPU", "memory", "runs")
_NOTHING = "no workers are running; a map starts them by itself, `%nbpar start 4` starts four now"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process takes now."""

    cpu: float
    """Share of one CPU, in percent."""

    memory: int
    """Bytes of memory."""


@dataclass(frozen=True, slots=True)
class Status:
    """A table of workers, as text or as HTML."""

    rows: tuple[tuple[str, ...], ...]
    """One line for each worker, as it is shown."""

    def __repr__(self) -> str:
        if not self.rows:
            return _NOTHING
        return "\n".join([self._title(), *text_table([_COLUMNS, *self.rows])])

    def _repr_html_(self) -> str:
        if not self.rows:
            return f"<p>{escape(_NOTHING)}</p>"
        return html_table(_COLUMNS, self.rows, caption=self._title())

    def _title(self) -> str:
        return plural(len(self.rows), "worker")


def status(
    pools: Iterable[MapPool], measure: Callable[[Sequence[int]], dict[int, Usage]] | None = None
) -> Status:
    """Look at the workers of the pools.

    CPU and memory are known for this machine only.  The look takes a tenth of a second.
    """
    workers = [worker for pool in pools for worker in pool.workers]
    here = sorted({worker["pid"] for worker in workers if _is_here(worker)})
    usage = (measure or usage_of)(here) if here else {}
    return Status(tuple(_row(worker, usage) for worker in workers))


def _is_here(worker: Mapping[str, Any]) -> bool:
    return worker.get("host") == platform.node() and "pid" in worker


def _row(worker: Mapping[str, Any], usage: Mapping[int, Usage]) -> tuple[str, ...]:
    found = usage.get(worker["pid"]) if _is_here(worker) else None
    cpu, memory = (f"{found.cpu:.0f} %", f"{found.memory / 1e6:.0f} MB") if found else ("", "")
    place = (str(worker.get(fact, "")) for fact in ("worker", "host", "pid"))
    return *place, cpu, memory, str(worker.get("runs", ""))


def usage_of(pids: Sequence[int], seconds: float = 0.1) -> dict[int, Usage]:
    """Watch processes of this machine for a moment; those that are gone are left out."""
    import psutil

    processes = [process for process in psutil.process_iter() if process.pid in pids]
    for process in processes:
        with suppress(psutil.Error):
            process.cpu_percent()  # the first call starts the measurement
    time.sleep(seconds)
    found = {}
    for process in processes:
        with suppress(psutil.Error):
            found[process.pid] = Usage(process.cpu_percent(), process.memory_info().rss)
    return found
