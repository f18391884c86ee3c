"""Location of journals."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from nbpar.errors import JournalError

ENDING = ".sqlite"
ADVICE = "set the environment variable NBPAR_JOURNALS to a folder that you may write to, and that lasts"

ASIDE = ".aside"
"""Suffix of files that were set aside."""


def journal_folder() -> Path:
    """Return the folder of this user's journals: `$NBPAR_JOURNALS`, or one in the user's data directory."""
    if chosen := os.environ.get("NBPAR_JOURNALS"):
        return Path(chosen)
    try:
        home = Path.home()
    except RuntimeError as error:  # a container's user without an entry in the list of users
        raise JournalError(f"there is no place for journals: {error} {ADVICE}") from error
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local"
    else:
        base = os.environ.get("XDG_DATA_HOME") or home / ".local" / "share"
    return Path(base) / "nbpar" / "journals"


def path_of(name: str) -> Path:
    """Return the file of a journal; its folder is created, readable for this user only.

    Raises:
        JournalError: it cannot be created.
    """
    folder = journal_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise JournalError(
            f"journal {name!r} cannot be kept: its folder {folder} cannot be made "
            f"({error.strerror}); {ADVICE}"
        ) from error
    return folder / f"{name}{ENDING}"


def set_aside(path: Path) -> Path:
    """Rename a file, and SQLite's files beside it, so that it does not count as a journal."""
    stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    aside = path.with_name(f"{path.name}.{stamp}{ASIDE}")
    for beside in ("-journal", "-wal", "-shm"):
        companion = path.with_name(path.name + beside)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + beside))
    path.rename(aside)
    return aside


def remove(path: Path) -> None:
    """Delete a journal's file, and SQLite's files beside it."""
    for beside in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + beside).unlink(missing_ok=True)
