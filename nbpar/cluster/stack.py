"""What controllers and engines run with: their settings, and the modules imported before the fork."""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from types import ModuleType
from typing import cast

CONTROLLER_SETTINGS = (
    "--ip=127.0.0.1",
    "--log-level=30",
    "--usethreads",
    "--nodb",
    "--HeartMonitor.period=3000",
)
"""Command line that keeps a controller small and quiet."""

ENGINE_SETTINGS = (
    "--log-level=30",
    "--IPEngine.enable_nanny=False",
    "--IPEngine.max_heartbeat_misses=0",
)
"""Command line of an engine that its template watches."""

LAUNCHED_SETTINGS = CONTROLLER_SETTINGS[1:]
"""The same for a controller that engines of other machines may have to reach."""

STACK = (
    "ipyparallel.controller.app",
    "ipyparallel.engine.app",
    "ipykernel.kernelapp",
    "ipykernel.zmqshell",
    "ipykernel.iostream",
    "ipykernel.debugger",
    "IPython.core.completer",
    "IPython.core.completerlib",
    "IPython.core.oinspect",
    "tornado.platform.asyncio",
    "IPython.core.magics",
    "IPython.extensions.storemagic",
    "storemagic",
    "zmq.asyncio",
    "zmq.devices",
    "cloudpickle",
    "nbpar.cluster.controller",
    "nbpar.cluster.engine",
    "nbpar.cluster.queues",
    "nbpar.worker.engine",
)
"""What a controller or an engine would otherwise import after the fork."""

HIDDEN = ("numpy", "debugpy")
"""What the stack would import if it were there, and must not.

Numpy, because its BLAS starts threads before engines have their limits; a debugger, because an
engine has no channel for one and it costs each engine megabytes.  Engines can import both.
"""


def import_stack() -> None:
    """Import what every child needs, but not what `HIDDEN` lists."""
    hidden = [name for name in HIDDEN if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden, cast("ModuleType", None)))
    try:
        for name in STACK:
            with suppress(ImportError):  # not in every version of IPython and ipykernel
                importlib.import_module(name)
    finally:
        for name in hidden:
            del sys.modules[name]


def preload(names: list[str], path: list[str]) -> str:
    """Import what the user wants in every engine; the text says what went wrong, if anything."""
    sys.path[:] = path or sys.path
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException as error:  # noqa: BLE001 (a user's module may raise anything)
            return f"cannot preload {name!r}: {type(error).__name__}: {error}"
    return ""
