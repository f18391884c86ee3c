"""Compare the packages that a function imports with those of this Python, before its first item."""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Iterable

from nbpar.errors import MissingPackagesError
from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.wire.messages import Package

MISSING = "missing"


class PackageCheck:
    """The packages that were compared; lives as long as the process.

    A missing one is looked for again in each run: it may be installed meanwhile.
    """

    def __init__(self) -> None:
        self._known: dict[Package, str] = {}

    def compare(self, packages: Iterable[tuple[str, str, str]], *, what: str) -> str:
        """Return a text about new packages that have other versions here; "" if there are none.

        Args:
            packages: those of the client.
            what: who imports them, for messages: "the function `f`".

        Raises:
            MissingPackagesError: some are missing here; it has the table of all that differ, and a command.
        """
        wanted = [Package(*package) for package in packages]
        new = [package for package in wanted if package not in self._known]
        here = {package: _version_here(package) for package in new}
        self._known.update((package, version) for package, version in here.items() if version != MISSING)
        differing = [package for package in wanted if self._here(package, here) not in ("", package.version)]
        missing = [package for package in new if here[package] == MISSING]
        if missing:
            table = _table([(it, self._here(it, here)) for it in differing])
            raise MissingPackagesError(
                f"{what} imports {_named(missing)}, which {_python()} does not have; install there what is "
                f"installed here: `{_command(missing)}`{table}"
            )
        others = [package for package in new if package in differing]
        if not others:
            return ""
        table = _table([(it, here[it]) for it in others])
        return f"{_python()} has other versions of packages that {what} imports than this Python:{table}"

    def _here(self, package: Package, new: dict[Package, str]) -> str:
        return new.get(package, "") or self._known.get(package, "")


def _version_here(package: Package) -> str:
    """Return the version of a package; "" if it is here and does not tell."""
    if package.module not in sys.modules and not _is_found(package.module):
        return MISSING
    from importlib import metadata

    try:
        return metadata.version(package.distribution)
    except metadata.PackageNotFoundError:  # of another packager's name, or a folder on the path
        return ""


def _is_found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except BaseException as error:  # a finder, or what a package does when it is looked for
        if may_be_ctrl_c(error):
            raise
        return True  # the function will tell


def _named(packages: list[Package]) -> str:
    names = [f"`{package.module}`" for package in packages]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _python() -> str:
    return f"Python {platform.python_version()} ({sys.executable or sys.prefix}) on {platform.node()}"


def _command(packages: list[Package]) -> str:
    wanted = " ".join(f"{package.distribution}=={package.version}" for package in packages)
    return f"{sys.executable or 'python'} -m pip install {wanted}"


def _table(lines: list[tuple[Package, str]]) -> str:
    rows = [("package", "here", "there"), *((it.distribution, it.version, there) for it, there in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "".join(
        "\n  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
