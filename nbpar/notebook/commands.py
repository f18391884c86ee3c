"""`%nbpar`: show, start and stop the workers, and say which are used."""

from __future__ import annotations

import difflib
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from nbpar.cluster.cluster import Cluster
from nbpar.core.tables import html_table, text_table
from nbpar.core.text import plural
from nbpar.host.devices.load import Reading, described, reading_of, readings, short_device
from nbpar.host.frames import entrance
from nbpar.host.machine import is_here
from nbpar.notebook.places import BACK, place_named, workers_of
from nbpar.notebook.start_line import StartLine, parse_start
from nbpar.pool.idle import idle_choice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from nbpar.diagnostics.doctor import Diagnosis
    from nbpar.notebook.pools import MapPool, Place, Pools
    from nbpar.run.history import Runs

_COLUMNS = ("worker", "host", "pid", "CPU", "memory", "runs")
_DEVICE = "device"
_NOTHING = "no workers are running; a map starts them by itself, `%nbpar start 4` starts four now"

_KEPT = (
    "connected anew: the engines are not nbpar's and keep their imports and their state, until the "
    "cluster itself is told to restart them"
)


@dataclass(frozen=True, slots=True)
class Usage:
    """The current resource usage of a process."""

    cpu: float
    """Share of one CPU, in percent."""

    memory: int
    """Bytes of memory."""


@dataclass(frozen=True, slots=True)
class Status:
    """A table of workers, as text or as HTML."""

    rows: tuple[tuple[str, ...], ...]
    """One line for each worker."""

    sentence: str = ""
    """The sentence above them; by default their number."""

    columns: tuple[str, ...] = _COLUMNS
    """The names of the columns; `device` is among them if a worker has one."""

    def __repr__(self) -> str:
        if not self.rows:
            return self.sentence or _NOTHING
        return "\n".join([self._title(), *text_table([self.columns, *self.rows])])

    def _repr_html_(self) -> str:
        if not self.rows:
            return f"<p>{escape(self.sentence or _NOTHING)}</p>"
        numbers = [place for place, name in enumerate(self.columns) if place > 1 and name != _DEVICE]
        return html_table(self.columns, self.rows, caption=self._title(), right=numbers)

    def _title(self) -> str:
        return self.sentence or plural(len(self.rows), "worker")


def status(
    pools: Iterable[MapPool], measure: Callable[[Sequence[int]], dict[int, Usage]] | None = None
) -> Status:
    """Measure the workers of the pools.

    CPU, memory and the load of devices are known for this machine only.  This takes a tenth of a second, with
    devices that of `nvidia-smi`, too.  Workers whose processes end meanwhile are omitted.
    """
    return status_of([worker for pool in pools for worker in pool.workers], measure=measure)


def status_of(
    workers: Sequence[Mapping[str, Any]],
    sentence: str = "",
    measure: Callable[[Sequence[int]], dict[int, Usage]] | None = None,
) -> Status:
    """Measure some workers, and return the table with a sentence."""
    here = sorted({worker["pid"] for worker in workers if _is_here(worker)})
    usage = (measure or usage_of)(here) if here else {}
    there = [worker for worker in workers if not _is_here(worker) or worker["pid"] in usage]
    rows = tuple(_row(worker, usage) for worker in there)
    if not any(worker.get(_DEVICE) for worker in there):
        return Status(rows, sentence)
    known = readings() if any(worker.get(_DEVICE) and _is_here(worker) for worker in there) else {}
    shown = (_device(worker, known) for worker in there)
    rows = tuple((*row[:-1], device, row[-1]) for row, device in zip(rows, shown, strict=True))
    return Status(rows, sentence, (*_COLUMNS[:-1], _DEVICE, _COLUMNS[-1]))


def _device(worker: Mapping[str, Any], known: Mapping[str, Reading]) -> str:
    device = str(worker.get(_DEVICE, ""))
    return device and described(short_device(device), reading_of(device, known) if _is_here(worker) else None)


def _is_here(worker: Mapping[str, Any]) -> bool:
    return is_here(worker) and "pid" in worker


def _row(worker: Mapping[str, Any], usage: Mapping[int, Usage]) -> tuple[str, ...]:
    found = usage.get(worker["pid"]) if _is_here(worker) else None
    cpu, memory = (f"{found.cpu:.0f} %", f"{found.memory / 1e6:.0f} MB") if found else ("", "")
    place = (str(worker.get(fact, "")) for fact in ("worker", "host", "pid"))
    problem = f"left out: {worker['problem']}" if "problem" in worker else ""
    runs = str(worker.get("runs", problem))
    if worker.get("silent"):
        runs = f"does not answer; {runs}" if runs else "does not answer"
    return *place, cpu, memory, runs


def usage_of(pids: Sequence[int], seconds: float = 0.1) -> dict[int, Usage]:
    """Measure processes of this machine for a moment; those that have ended are omitted."""
    import psutil

    processes = [process for process in psutil.process_iter() if process.pid in pids]
    for process in processes:
        with suppress(psutil.Error):
            process.cpu_percent()  # the first call only starts the measurement
    time.sleep(seconds)
    found = {}
    for process in processes:
        with suppress(psutil.Error):
            memory = process.memory_info().rss
            if memory:  # otherwise it has ended, unnoticed by its parent so far
                found[process.pid] = Usage(process.cpu_percent(), memory)
    return found


LEAVING = 2.0
"""Seconds that `%nbpar resize` waits for workers to leave; busy ones take longer."""


class Commands:
    """The commands of one shell, by the word that follows `%nbpar`."""

    def __init__(self, pools: Pools, names: Callable[[], Mapping[str, Any]]) -> None:
        self._pools = pools
        self._names = names
        self._cluster: Cluster | None = None
        """The cluster that `%nbpar start --ssh` has started."""

        self._its_place: Place | None = None
        """The use of that."""

        self.table: Mapping[str, Callable[[list[str]], Status | Runs | Diagnosis]] = {
            "start": self._start,
            "stop": self._stop,
            "restart": self._restart,
            "resize": self._resize,
            "use": self._use,
            "runs": _runs,
            "doctor": _doctor,
        }

    @entrance
    def nbpar(self, line: str) -> Status | Runs | Diagnosis:
        """Show the workers, or start and stop them.

        ::

            %nbpar              the workers: host, process, CPU, memory, and their devices
            %nbpar start [N]    start N workers, by default one for each CPU
            %nbpar start --gpus auto
                                start one for each GPU, which it has for itself; --gpus 2 uses two of them,
                                --gpus 0,3 or UUIDs these; with N more workers share them in turn
            %nbpar start 8 --ssh gpu01 --ssh ann@gpu02:16
                                start them on other hosts, through ssh, and use those; 8 on each host without
                                a number.  --python PYTHON names the Python there, --install makes one
            %nbpar start --idle 60
                                end the workers of this machine after 60 minutes without work, in place of 15;
                                0: never
            %nbpar stop         end all workers, and use none of another place
            %nbpar restart      replace them by fresh ones, also those of `start --ssh`; engines of another
                                cluster that is used stay as they are
            %nbpar resize N     change their number to N
            %nbpar use NAME     from now on use a pool or cluster: a variable, a profile, a connection file;
                                None: the workers of this machine; without NAME say what is used
            %nbpar runs         the maps and pipelines of this kernel, running and finished
            %nbpar doctor       check the installation, with advice for each problem
        """
        command, *arguments = line.split() or [""]
        if not command:
            return self._status()
        if command not in self.table:
            raise UsageError(_unknown_command(command, self.table))
        return self.table[command](arguments)

    def _status(self) -> Status:
        used = self._pools.used_place()
        if used is not None:
            return status_of(*workers_of(used))
        table, notices = status(self._pools.default_pools()), self._pools.notices()
        if not notices:
            return table
        numbers = [plural(len(table.rows), "worker")] if table.rows else []
        return replace(table, sentence="; ".join([*numbers, *notices]))

    def _start(self, arguments: list[str]) -> Status:
        line = parse_start(arguments)
        if line.hosts:
            return self._start_on_hosts(line)
        if line.idle is not None:
            idle_choice.choose(line.idle, "`%nbpar start --idle`")
        if (used := self._pools.used_place()) is not None:
            raise UsageError(
                f"`%nbpar start` starts workers of this machine, but calls run on {used.what}; {BACK}"
            )
        if line.gpus is None:
            self._pools.default_pool(workers=line.count)
        else:
            self._start_on_devices(line)
        return self._status()

    def _start_on_devices(self, line: StartLine) -> None:
        try:
            self._pools.default_pool(workers=line.count, gpus=line.gpus)
        except (TypeError, ValueError) as error:
            raise UsageError(str(error)) from None

    def _start_on_hosts(self, line: StartLine) -> Status:
        """Start a cluster on other hosts and use it, instead of the last one that was started here."""
        cluster = Cluster.ssh(line.hosts, line.count, python=line.python, install=line.install).start()
        before, self._cluster = self._cluster, cluster
        self._its_place = self._pools.use(cluster)
        if before is not None:
            before.stop()
        return self._status()

    def _stop(self, arguments: list[str]) -> Status:
        _refuse_arguments(arguments, "%nbpar stop")
        used = self._pools.used_place()
        left = None if used is None else _left(used)
        self._pools.close_default_pools()
        cluster, self._cluster, self._its_place = self._cluster, None, None
        if cluster is not None:
            cluster.stop()
        return self._status() if left is None else Status((), left)

    def _restart(self, arguments: list[str]) -> Status:
        _refuse_arguments(arguments, "%nbpar restart")
        used = self._pools.used_place()
        cluster = self._cluster if used is not None and used is self._its_place else None
        if cluster is not None:
            cluster.restart()
        for pool in self._pools.default_pools() if used is None else [used.pool]:
            _operation(pool, "restart")()
        status = self._status()
        if used is not None and used.pool.joined and cluster is None:
            return replace(status, sentence=f"{_KEPT}; {status.sentence}")
        return status

    def _resize(self, arguments: list[str]) -> Status:
        count = _count(arguments, "%nbpar resize N")
        pool = self._pools.default_pool()
        before = len(pool.workers)
        _operation(pool, "resize")(count)
        leaving = _wait_for_those_that_leave(pool, count)
        return status_of(pool.workers[:count], _resized(before, count, leaving))

    def _use(self, arguments: list[str]) -> Status:
        if arguments:
            try:
                self._pools.use(place_named(" ".join(arguments), self._names()))
            except TypeError as error:
                raise UsageError(f"{' '.join(arguments)}: {error}") from None
        if self._pools.used_place() is None:
            return Status((), "calls run on the workers of this machine")
        return self._status()


def _left(used: Place) -> str:
    """Return what `%nbpar stop` does about a place in use."""
    stays = "" if used.made else ", which stays open"
    return (
        f"no longer used: {used.what}{stays}; calls run on the workers of this machine, started by the first"
    )


def _runs(arguments: list[str]) -> Runs:
    _refuse_arguments(arguments, "%nbpar runs")
    from nbpar.run.history import runs

    return runs()


def _doctor(arguments: list[str]) -> Diagnosis:
    _refuse_arguments(arguments, "%nbpar doctor")
    from nbpar.diagnostics.doctor import examine, run_small_map

    return examine(lambda: run_small_map(2))


def _wait_for_those_that_leave(pool: MapPool, count: int) -> int:
    """Wait a moment for surplus workers to leave; return the number still there."""
    deadline = time.monotonic() + LEAVING
    while (leaving := len(pool.workers) - count) > 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    return max(leaving, 0)


def _resized(before: int, count: int, leaving: int) -> str:
    if before == count:
        return f"{plural(count, 'worker')}, as before"
    now = f"{plural(count, 'worker')} now, {before} before"
    if leaving:
        return f"{now}; {plural(leaving, 'worker')} more will leave after the item that runs there"
    return now


def _operation(pool: MapPool, name: str) -> Callable[..., object]:
    """Operations that some pools support."""
    operation: Callable[..., object] | None = getattr(pool, name, None)
    if operation is None:
        raise UsageError(f"this pool offers no {name}; write `%nbpar stop`, then `%nbpar start N`")
    return operation


def _count(arguments: list[str], form: str) -> int:
    if len(arguments) != 1 or not arguments[0].isdecimal() or int(arguments[0]) < 1:
        raise UsageError(
            f"expected one number of workers, from 1, was {' '.join(arguments)!r}; write `{form}`"
        )
    return int(arguments[0])


def _refuse_arguments(arguments: list[str], form: str) -> None:
    if arguments:
        raise UsageError(f"`{form}` takes no arguments, was given {' '.join(arguments)!r}")


def _unknown_command(command: str, table: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(command, table, n=1)
    guess = f"; did you mean `%nbpar {near[0]}`?" if near else ""
    known = ", ".join(f"`%nbpar {name}`" for name in table)
    return f"unknown command `%nbpar {command}`{guess} (the commands are `%nbpar`, {known})"
