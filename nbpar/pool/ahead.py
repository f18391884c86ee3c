"""Import what the notebook has imported on its idle workers, before an item needs it.

Begun after each cell, in a thread of its own: one package on one worker at a time, and only while no worker
has a loop.  So a map that begins meanwhile has all workers but one at once, and that one when the package at
hand is imported.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Protocol

from nbpar.host.interpreter_exit import interpreter
from nbpar.host.memory import free_memory, resident_bytes_of
from nbpar.wire.modules.versions import OWN, is_installed

SWITCH = "NBPAR_IMPORT_AHEAD"
"""The environment variable that turns it off, by "0"."""

PAUSE = 1.5
"""Seconds from the end of a cell until anything is imported; a pool keeps its loops for one after a map."""

WITHIN = 120.0
"""Seconds that an import may take."""

SHARE = 0.25
"""Most of the free memory that a package may take on all workers."""

ACTING = frozenset({"horovod", "mpi4py", "pycuda"})
"""Packages that join or take something when they are imported."""

PROGRAM = "from nbpar.worker.modules.ahead import import_ahead\nimport_ahead(settings)\n"
"""What a worker runs; its engine runs this Python, with this nbpar."""


class IdleWorkers(Protocol):
    """Workers of a pool, as far as this needs them.  Thread-safe."""

    @property
    def idle(self) -> bool:
        """Whether they are there and none has a loop."""

    def processes(self) -> Mapping[str, int]:
        """Return the process of each worker, by its identity."""

    def run_idle(self, uuid: str, program: str, settings: dict[str, Any]) -> Any:
        """Run a program on a worker; return its end, as a future."""

    def changed_world(self) -> tuple[Any, ...]:
        """What has changed in this process since they were started."""


class ImportsAhead:
    """What the workers of one pool have imported so, and the thread that has it done.

    Args:
        workers: who imports; they may go at any time.
    """

    def __init__(self, workers: IdleWorkers) -> None:
        self._workers = weakref.ref(workers)
        self._lock = threading.Lock()
        self._wanted: tuple[str, ...] = ()
        self._thread: threading.Thread | None = None
        self._tried: set[tuple[str, str]] = set()
        """Worker and module."""

        self._refused: set[str] = set()
        """Modules that ended a worker, or are too large."""

    def want(self, modules: Iterable[str]) -> None:
        """Have workers import modules as soon as they are idle; returns at once."""
        wanted = tuple(modules)
        with self._lock:
            self._wanted = wanted
            if not wanted or self._thread is not None:
                return
            self._thread = threading.Thread(target=self._run, name="nbpar imports", daemon=True)
        interpreter.start(self._thread)

    def _run(self) -> None:
        while True:
            _pause()
            wanted = self._wanted
            while self._import_next():
                pass
            with self._lock:
                if self._wanted is wanted:  # otherwise a cell has just ended
                    self._thread = None
                    return

    def _import_next(self) -> bool:
        """Have one worker import one module; return whether there may be another."""
        if (workers := self._workers()) is None:
            return False
        try:
            if not (is_on() and workers.idle):
                return False
            processes = workers.processes()
            if (task := self._next(processes)) is None:
                return False
            self._tried.add(task)
            uuid, module = task
            before = resident_bytes_of(processes[uuid]) or 0
            over = threading.Event()
            workers.run_idle(
                uuid, PROGRAM, {"module": module, "world": workers.changed_world()}
            ).add_done_callback(lambda _: over.set())
            del workers  # they may be dropped while this waits
            return over.wait(WITHIN) and self._weigh(module, processes[uuid], before, len(processes) - 1)
        except Exception:  # noqa: BLE001 (they were stopped meanwhile: nobody has asked for this)
            return False

    def _next(self, processes: Iterable[str]) -> tuple[str, str] | None:
        tasks = ((uuid, module) for module in self._wanted for uuid in processes)
        return next((it for it in tasks if it not in self._tried and it[1] not in self._refused), None)

    def _weigh(self, module: str, pid: int, before: int, others: int) -> bool:
        """Refuse a module that has ended its worker, or is too large for the others; return True: go on."""
        after = resident_bytes_of(pid)
        if after is None or (after - before) * others > SHARE * free_memory():
            self._refused.add(module)
        return True


def _pause() -> None:
    threading.Event().wait(PAUSE)


def is_on() -> bool:
    """Whether the user has not turned it off."""
    return os.environ.get(SWITCH) != "0"


def imported_by(namespace: Mapping[str, Any]) -> list[str]:
    """Return the modules of installed packages whose names, functions or classes a notebook has imported."""
    found = Counter(filter(None, map(_module_of, list(namespace.values()))))
    return [name for name in found if _may_be_imported(name)]


def _module_of(value: Any) -> str | None:
    """Return the name of a module, or of that which a function or class is from; looks at nothing else."""
    kind = type(value)
    with suppress(Exception):  # of a class with a metaclass of its own
        if kind is ModuleType:
            return str(value.__name__)
        if kind in (FunctionType, BuiltinFunctionType) or issubclass(kind, type):
            name = value.__module__
            return name if type(name) is str else None
    return None


def _may_be_imported(name: str) -> bool:
    top = name.partition(".")[0]
    if top in OWN or top in ACTING or top in sys.stdlib_module_names:
        return False
    file = getattr(sys.modules.get(name), "__file__", None)
    return isinstance(file, str) and is_installed(file)


_followed: weakref.WeakKeyDictionary[IdleWorkers, ImportsAhead] = weakref.WeakKeyDictionary()
_MARK = "_nbpar_imports_ahead"


def follow(workers: IdleWorkers, shell: Any) -> None:
    """Have workers import what a shell's cells have imported, from now on."""
    _followed[workers] = ahead = ImportsAhead(workers)
    if not getattr(shell, _MARK, False):
        setattr(shell, _MARK, True)
        shell.events.register("post_run_cell", lambda *_: after_cell(shell.user_ns))
    if is_on():
        ahead.want(imported_by(dict(shell.user_ns)))


def after_cell(namespace: Mapping[str, Any]) -> None:
    """Look what a cell has imported."""
    if followed := list(_followed.values()) if is_on() else []:
        modules = imported_by(namespace)
        for ahead in followed:
            ahead.want(modules)
