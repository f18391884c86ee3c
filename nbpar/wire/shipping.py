"""The worker's source code, for engines on which nbpar is not installed."""

from __future__ import annotations

from functools import cache

from nbpar.host.own_sources import WORKER_MODULES, WORKER_PACKAGES, packed, source, sources


@cache
def shipment() -> bytes:
    """Return the modules of the worker's side, compressed: name to (is package, source, file name)."""
    return packed(sources(WORKER_PACKAGES, WORKER_MODULES))


@cache
def bootstrap() -> str:
    """Return the program that an engine executes to start the worker loop."""
    return source("nbpar.worker", "bootstrap.py") + "\nenter(settings)\n"
