"""Check this installation: what works, what does not, how to repair it."""

from __future__ import annotations

import argparse
import html
import importlib.metadata
import math
import os
import platform
import re
import socket
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nbpar.cluster.client import NEEDED_DESCRIPTORS
from nbpar.cluster.cluster import Cluster
from nbpar.cluster.directory import create_directory, remove_directory
from nbpar.cluster.fork_server.server import can_fork
from nbpar.core.text import plural
from nbpar.host.cpus import (
    THREAD_VARIABLES,
    cpu_limits,
    has_gil,
    usable_cpus,
    workers_by_default,
)
from nbpar.host.descriptors import free_descriptors
from nbpar.host.memory import free_memory, whole_memory
from nbpar.host.shell import this_shell
from nbpar.pool.idle import idle_choice
from nbpar.version import __version__

State = Literal["fine", "note", "problem"]

MARKS: dict[State, str] = {"fine": "ok", "note": "--", "problem": "!!"}
COLORS: dict[State, str] = {"fine": "#2e7d32", "note": "#8a6d00", "problem": "#c62828"}

SLOW_START = 10.0
"""Seconds after which a cluster's start counts as slow."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The finding of one check."""

    name: str
    """The subject of the check."""

    found: str
    """The observation."""

    state: State = "fine"
    """The severity."""

    advice: str = ""
    """The advice, if any."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings; displayed as text or as a table."""

    findings: tuple[CheckResult, ...]

    @property
    def healthy(self) -> bool:
        """Whether there are no problems; notes do not count."""
        return all(finding.state != "problem" for finding in self.findings)

    @property
    def summary(self) -> str:
        """The outcome in one sentence."""
        problems = sum(finding.state == "problem" for finding in self.findings)
        return f"{plural(problems, 'problem')} found" if problems else "all is well"

    def __str__(self) -> str:
        width = max((len(finding.name) for finding in self.findings), default=0)
        lines = []
        for finding in self.findings:
            lines.append(f"{MARKS[finding.state]}  {finding.name:{width}}  {finding.found}")
            if finding.advice:
                lines.append(f"{'':{width + 6}}-> {finding.advice}")
        return "\n".join([*lines, self.summary])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(_row(finding) for finding in self.findings)
        return f"<table><tbody>{rows}</tbody></table><p>nbpar: {html.escape(self.summary)}</p>"


def examine(run_map: Callable[[], str] | None = None, *, workers: int = 2) -> Diagnosis:
    """Check everything, start a small cluster and stop it again; takes a few seconds.

    Args:
        run_map: runs a small map and describes the result; skipped if None.
        workers: engines of the cluster that is started.
    """
    checks: list[tuple[str, Callable[[], CheckResult]]] = [
        ("Python", _python),
        ("nbpar", _installation),
        *((f"package {name}", _package_check(name, floor)) for name, floor in _requirements()),
        ("front end", _front_end),
        ("CPUs", _cpus),
        ("idle engines", _idle_engines),
        ("memory", _memory),
        ("open files", _descriptors),
        ("warm start", _fork),
        ("runtime directory", _runtime_directory),
        ("loopback", _loopback),
        ("cluster", lambda: _cluster(workers)),
    ]
    if run_map is not None:
        checks.append(("map", lambda: CheckResult("map", run_map())))
    return Diagnosis(tuple(_checked(name, check) for name, check in checks))


def main(arguments: Sequence[str] | None = None) -> int:
    """`nbpar doctor`: print the diagnosis; the exit status is 1 if there is a problem."""
    parser = argparse.ArgumentParser(prog="nbpar doctor", description=__doc__)
    parser.add_argument("--workers", type=int, default=2, help="engines to try (2)")
    options = parser.parse_args(arguments)
    diagnosis = examine(lambda: run_small_map(options.workers), workers=options.workers)
    sys.stdout.write(f"{diagnosis}\n")
    return 0 if diagnosis.healthy else 1


def run_small_map(workers: int) -> str:
    """Map a small function over a few items on a pool of its own; describe the result."""
    from nbpar.pool.pool import Pool

    begun = time.perf_counter()
    with Pool(workers, progress="none") as pool:
        squares = pool.map(pow, range(10), [2] * 10)
    if list(squares) != [i * i for i in range(10)]:
        raise RuntimeError(f"ten squares came back as {list(squares)}")
    took = f"{time.perf_counter() - begun:.1f} s, start and stop included"
    return f"10 items on {plural(workers, 'worker')} in {took}"


# ---- checks


def _python() -> CheckResult:
    text = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}"
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        return CheckResult("Python", f"{text}, with the GIL")
    if has_gil():
        advice = "a module without support for free threading switched the GIL on; PYTHON_GIL=0 keeps it off"
        return CheckResult("Python", f"{text}, free-threaded build, GIL on", "note", advice)
    return CheckResult("Python", f'{text}, free-threaded: backend="threads" runs Python code in parallel')


def _installation() -> CheckResult:
    if _version("nbpar"):
        return CheckResult("nbpar", __version__)
    folder = Path(__file__).parents[2]
    advice = f"pip install -e '{folder}' says which packages it needs, and lets them be looked at here"
    return CheckResult("nbpar", f"{__version__}, not installed, from {folder}", "note", advice)


def _requirements() -> Iterator[tuple[str, str]]:
    """Name and floor of every package that nbpar uses, from its own metadata, if it is installed."""
    lines = importlib.metadata.requires("nbpar") if _version("nbpar") else None
    for line in lines or ():
        match = re.match(r"([A-Za-z0-9_.-]+)\s*>=\s*([0-9.]+)", line)
        if match and ("extra ==" not in line or re.search(r"extra == ['\"]notebook['\"]", line)):
            yield match[1], match[2]
    yield "ipykernel", "6.17"


def _package_check(name: str, floor: str) -> Callable[[], CheckResult]:
    def check() -> CheckResult:
        title = f"package {name}"
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            if name in ("anywidget", "ipywidgets"):
                advice = "the live view in notebooks needs it: pip install 'nbpar[notebook]'"
                return CheckResult(title, "not installed", "note", advice)
            return CheckResult(title, "not installed", "problem", f"pip install '{name}>={floor}'")
        if _numbers(version) < _numbers(floor):
            return CheckResult(title, f"{version}, too old", "problem", f"pip install -U '{name}>={floor}'")
        return CheckResult(title, version)

    return check


def _front_end() -> CheckResult:
    name = "front end"
    if "google.colab" in sys.modules:
        return CheckResult(name, "Google Colab")
    if getattr(this_shell(), "kernel", None) is None:
        return CheckResult(name, "none: this is no notebook")
    where = "VS Code" if "VSCODE_PID" in os.environ else "Jupyter"
    found = [
        f"{package} {version}" for package in ("jupyterlab", "notebook") if (version := _version(package))
    ]
    found += [f"jupyterlab_widgets {version}"] if (version := _version("jupyterlab_widgets")) else []
    text = f"{where}; installed beside this kernel: {', '.join(found) or 'no front end'}"
    if not _version("jupyterlab_widgets") and where == "Jupyter" and _version("jupyterlab"):
        advice = "JupyterLab shows the live view with jupyterlab_widgets: pip install jupyterlab_widgets"
        return CheckResult(name, text, "note", advice)
    return CheckResult(name, text)


def _cpus() -> CheckResult:
    usable, there = usable_cpus(), os.cpu_count() or 1
    text = f"{usable} usable" + (f" of {there} (by {_sources_of(usable)})" if usable < there else "")
    if (workers := workers_by_default(os.environ)).source:
        text += f"; {plural(workers.number, 'worker')} by default, by {workers.source}"
    limits = [f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if name in os.environ]
    if limits:
        text += f"; engines keep your {', '.join(limits)}"
    if usable == 1:
        return CheckResult("CPUs", text, "note", "one CPU computes one thing at a time: expect no speed-up")
    return CheckResult("CPUs", text)


def _sources_of(usable: int) -> str:
    """Return where the limits come from that leave this number of CPUs."""
    lowest = [limit for limit in cpu_limits(os.environ) if math.ceil(limit.number) <= usable]
    return ", ".join(f"{limit.source} {limit.number:g}" for limit in lowest)


def _idle_engines() -> CheckResult:
    limit = idle_choice.limit()
    text = limit.sentence if limit.ends else "stay until they are stopped"
    return CheckResult("idle engines", text + (f", by {limit.source}" if limit.source else ""))


def _memory() -> CheckResult:
    free = free_memory()
    text = f"{free / 1e9:.1f} GB free of {whole_memory() / 1e9:.1f} GB"
    if free < 0.5e9:
        return CheckResult("memory", text, "note", "an idle engine takes about 20 MB, your data comes on top")
    return CheckResult("memory", text)


def _descriptors() -> CheckResult:
    free = free_descriptors()
    if free is None:
        return CheckResult("open files", "no limit that can be seen")
    if free < NEEDED_DESCRIPTORS:
        advice = "close files or raise the limit with `ulimit -n 4096` before starting Jupyter"
        return CheckResult("open files", f"only {free} more allowed", "problem", advice)
    return CheckResult("open files", f"{free} more allowed")


def _fork() -> CheckResult:
    if can_fork():
        return CheckResult("warm start", "engines are forked from a warm process")
    advice = "engines start by ipyparallel's launchers, which takes seconds; everything else is the same"
    return CheckResult("warm start", "this system cannot fork", "note", advice)


def _runtime_directory() -> CheckResult:
    directory = create_directory()
    try:
        if hasattr(socket, "AF_UNIX"):
            with socket.socket(socket.AF_UNIX) as unix:
                unix.bind(str(directory / "socket"))
        return CheckResult("runtime directory", f"{directory.parent} takes files and sockets")
    finally:
        remove_directory(directory)


def _loopback() -> CheckResult:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), 3).close()
    return CheckResult("loopback", "127.0.0.1 takes connections")


def _cluster(workers: int) -> CheckResult:
    begun = time.perf_counter()
    with Cluster(workers) as cluster:
        started = time.perf_counter() - begun
        pids = cluster.client[:].apply_sync(os.getpid)
        told = sorted(engine.pid or 0 for engine in cluster.engines)
    if sorted(pids) != told:
        return CheckResult("cluster", f"engines {pids} answered instead of {told}", "problem")
    text = f"{plural(workers, 'engine')} started in {started:.1f} s and answered"
    if started > SLOW_START:
        advice = "imports are slow: is Python installed on a network drive?"
        return CheckResult("cluster", text, "note", advice)
    return CheckResult("cluster", text)


def _checked(name: str, check: Callable[[], CheckResult]) -> CheckResult:
    """Return the finding of a check; its exception is a finding too."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001 (a failed check is a finding)
        return CheckResult(name, f"{type(error).__name__}: {error}", "problem")


# ---- small functions


def _row(finding: CheckResult) -> str:
    cells = [html.escape(finding.name), html.escape(finding.found).replace("\n", "<br>")]
    if finding.advice:
        cells[1] += f"<br><b>{html.escape(finding.advice)}</b>"
    mark = f'<span style="color: {COLORS[finding.state]}">{MARKS[finding.state]}</span>'
    return "<tr>" + "".join(f'<td style="text-align: left">{cell}</td>' for cell in (mark, *cells)) + "</tr>"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
