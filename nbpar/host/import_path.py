"""Divide `sys.path` into the folders of Python and its environment, and those of the user."""

from __future__ import annotations

import sys
from pathlib import Path


def environment_folders() -> list[str]:
    """Return the entries of Python and its environment, which every process of this interpreter has."""
    return [entry for entry in sys.path if isinstance(entry, str) and _is_of_environment(entry)]


def user_folders() -> list[str]:
    """Return the other entries as absolute paths; the working directory is one of them."""
    return [
        str(Path(entry).resolve())
        for entry in sys.path
        if isinstance(entry, str) and not _is_of_environment(entry)
    ]


def _is_of_environment(entry: str) -> bool:
    if not entry:
        return False
    homes = {Path(home) for home in (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)}
    homes |= {home.resolve() for home in homes}
    return any(path.is_relative_to(home) for path in (Path(entry), Path(entry).resolve()) for home in homes)
