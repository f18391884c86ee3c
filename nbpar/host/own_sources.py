"""The source code of nbpar's own modules, to be sent to processes where nbpar is not installed."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from typing import Any

WORKER_PACKAGES = ("nbpar.host", "nbpar.wire", "nbpar.endpoint", "nbpar.worker")
"""Packages of the worker's side, which are sent whole, with their subpackages."""

WORKER_MODULES = (
    "nbpar.version",
    "nbpar.errors",
    "nbpar.core.call_style",
    "nbpar.core.inner_bars",
    "nbpar.core.rates.retry_after",
    "nbpar.core.safe_exceptions",
    "nbpar.core.text",
    "nbpar.integrations.pandas_arguments",
)
"""Single modules that these need."""

Sources = dict[str, tuple[bool, str, str]]
"""Name of a module to: whether it is a package, its source, the file name in tracebacks."""


def sources(packages: Iterable[str], modules: Iterable[str]) -> Sources:
    """The sources of whole packages and single modules, with the packages that these are in."""
    found: Sources = {"nbpar": _init_of("nbpar")}
    for package in packages:
        found.update(_package(package))
    for module in modules:
        package, _, name = module.rpartition(".")
        above = package.split(".")
        for depth in range(2, len(above) + 1):
            found.setdefault(inside := ".".join(above[:depth]), _init_of(inside))
        found[module] = (False, source(package, f"{name}.py"), _origin(package, f"{name}.py"))
    return found


def packed(found: Sources) -> bytes:
    """Sources as `nbpar/worker/bootstrap.py` installs them."""
    return zlib.compress(json.dumps(found).encode())


@cache
def source(package: str, name: str) -> str:
    """The text of a file of a package."""
    module = import_module(package)  # by its loader, because `importlib.resources` takes long to import
    loader: Any = module.__spec__.loader if module.__spec__ is not None else None
    text: bytes = loader.get_data(os.path.join(module.__path__[0], name))  # noqa: PTH118 (a loader's path)
    return text.decode("utf-8")


def _package(package: str) -> Sources:
    """A package's modules, with its subpackages."""
    from importlib.resources import files

    found: Sources = {package: _init_of(package)}
    for entry in files(package).iterdir():
        name = entry.name.removesuffix(".py")
        if entry.is_dir() and entry.joinpath("__init__.py").is_file():
            found.update(_package(f"{package}.{name}"))
        elif entry.name.endswith(".py") and name != "__init__":
            found[f"{package}.{name}"] = (False, entry.read_text("utf-8"), _origin(package, entry.name))
    return found


def _init_of(package: str) -> tuple[bool, str, str]:
    return (True, source(package, "__init__.py"), _origin(package, "__init__.py"))


def _origin(package: str, name: str) -> str:
    return f"<sent>/{package.replace('.', '/')}/{name}"
