"""The worker's side of nbpar as text, for engines on which nbpar is not installed."""

from __future__ import annotations

import json
import zlib
from functools import cache
from importlib.resources import files

PACKAGES = ("nbpar.wire", "nbpar.worker")
"""Packages that travel whole."""

MODULES = ("nbpar.version", "nbpar.errors", "nbpar.core.spread", "nbpar.core.seeding")
"""Single modules that they need."""


@cache
def shipment() -> bytes:
    """Return the modules of the worker's side, compressed: name to (is package, source, file name)."""
    sources: dict[str, tuple[bool, str, str]] = {}
    for package in ("nbpar", "nbpar.core", *PACKAGES):
        sources[package] = (True, _read(package, "__init__.py"), _origin(package, "__init__.py"))
    for package in PACKAGES:
        for entry in files(package).iterdir():
            if entry.name.endswith(".py") and entry.name != "__init__.py":
                sources[f"{package}.{entry.name[:-3]}"] = (
                    False,
                    entry.read_text("utf-8"),
                    _origin(package, entry.name),
                )
    for module in MODULES:
        package, _, name = module.rpartition(".")
        sources[module] = (False, _read(package, f"{name}.py"), _origin(package, f"{name}.py"))
    return zlib.compress(json.dumps(sources).encode())


@cache
def bootstrap() -> str:
    """Return the program that an engine executes to begin the worker loop."""
    return _read("nbpar.worker", "bootstrap.py") + "\nenter(settings)\n"


def _read(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text("utf-8")


def _origin(package: str, name: str) -> str:
    return f"<sent>/{package.replace('.', '/')}/{name}"
