"""Settings of controllers and engines, and the modules imported before the fork."""

from __future__ import annotations

import importlib
import sys
import sysconfig
from contextlib import suppress
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import cast

from nbpar.cluster.remote import SILENCE

LOOPBACK = "--ip=127.0.0.1"
"""Lets nothing but this host reach a controller."""

_QUIET = (
    "--log-level=30",
    "--usethreads",
    "--nodb",
    "--HeartMonitor.period=3000",
)
"""Keep a controller small."""

CONTROLLER_SETTINGS = (LOOPBACK, *_QUIET)
"""Command line of a controller whose engines are on this host."""

ENGINE_SETTINGS = (
    "--log-level=30",
    "--IPEngine.enable_nanny=False",
    "--IPEngine.max_heartbeat_misses=0",
    "--IPEngine.auto_create=True",
)
"""Command line of an engine that its template watches; it recreates its profile if necessary."""

LAUNCHED_SETTINGS = (*_QUIET, f"--QuickHeartMonitor.silence={SILENCE + 15:.0f}")
"""The same for a controller that engines of other machines reach, and may lose for a while."""

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
    "nbpar.cluster.controller",
    "nbpar.worker.engine",
)
"""Modules that a controller or an engine would otherwise import after the fork."""

WORKER_STACK = ("nbpar.worker.engine", "nbpar.cluster.entered")
"""The same for workers without a controller."""

HIDDEN = ("numpy", "debugpy")
"""Modules that the stack would import if installed, and must not.

Numpy, because its BLAS starts threads before engines have their limits; a debugger, because an
engine has no channel for one and it costs each engine megabytes.  Engines can import both.
"""


def import_stack(kind: str) -> None:
    """Import the modules that every child needs, but not those in `HIDDEN`.

    Args:
        kind: "engines" with their controller, or "workers" without one.
    """
    hidden = [name for name in HIDDEN if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden, cast("ModuleType", None)))
    try:
        for name in STACK if kind == "engines" else WORKER_STACK:
            with suppress(ImportError):  # missing in some versions of IPython and ipykernel
                importlib.import_module(name)
        sysconfig.get_config_vars()  # has a module of its own, which each child would import
    finally:
        for name in hidden:
            del sys.modules[name]


def preload(names: list[str], path: list[str], *, devices: bool = False) -> str:
    """Import the user's modules for every engine; returns the error as text, if any.

    If engines get `devices` of their own, no module may use one: a library that has done so sees all
    devices in every engine, and fails in a fork.
    """
    from nbpar.host.devices.visible import initialized_devices

    sys.path[:] = path or sys.path
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException as error:  # noqa: BLE001 (a user's module may raise anything)
            return f"cannot preload {name!r}: {type(error).__name__}: {error}"
        if devices and initialized_devices():
            return (
                f"cannot preload {name!r}: it uses a GPU when it is imported, before engines have their own; "
                "leave it out of preload=, and import it in items or in an initializer"
            )
    return ""


_NAME = "ipyparallel.serialize.codeutil"


def import_what_parses() -> None:
    """Import only that module, because all of ipyparallel takes long; its package finds it later."""
    package = None if _NAME in sys.modules else find_spec("ipyparallel")
    if package is None or package.origin is None:
        return
    file = Path(package.origin).parent / "serialize" / "codeutil.py"
    spec = spec_from_file_location(_NAME, file)
    if not file.exists() or spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[_NAME] = module
