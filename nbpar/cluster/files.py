"""The files that a cluster's hosts are to have: `files=["data/", "model.bin"]`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nbpar.core.text import short

Files = tuple[tuple[str, str], ...]
"""Absolute path here, and path there."""


def parse_files(files: Any) -> Files:
    """Return the files that the argument `files` names.

    A relative path is relative to the current folder here, and to the engines' working folder there; others
    are the same on both sides.

    Raises:
        TypeError: it is no list of paths.
        FileNotFoundError: a path does not exist.
    """
    if isinstance(files, (str, bytes, os.PathLike, Mapping)) or not isinstance(files, Iterable):
        raise TypeError(f"files must be a list of paths, was {short(files)}{_hint(files)}")
    return tuple(_checked(path) for path in files)


def _checked(path: Any) -> tuple[str, str]:
    if not isinstance(path, (str, os.PathLike)) or isinstance(os.fspath(path), bytes):
        raise TypeError(f"files must be a list of paths, had {short(path)}")
    source = Path(os.path.normpath(Path(path).expanduser().absolute()))
    if not os.fspath(path) or not source.exists():
        where = "" if Path(path).is_absolute() else f" in {str(Path.cwd())!r}"
        raise FileNotFoundError(f"files= names {os.fspath(path)!r}, which does not exist{where}")
    return str(source), _destination(Path(path), source)


def _destination(path: Path, source: Path) -> str:
    """Return where a folder goes, or the folder that a file goes into."""
    target = path if source.is_dir() else path.parent
    stays = not path.is_absolute() and ".." not in path.parts
    return str(target) if stays else os.path.normpath(source if source.is_dir() else source.parent)


def _hint(files: Any) -> str:
    return f"; write [{files!r}]" if isinstance(files, str) else ""
