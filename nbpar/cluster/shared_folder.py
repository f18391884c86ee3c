"""A private folder for one cluster in a place that several hosts share, such as the user's cache.

Unlike a runtime directory (`directory.py`) it may be on a network file system, where locks are not reliable.
So a file says whose it is, and only processes of the owner's machine judge whether the owner is gone.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

from nbpar.host.machine import is_here, this_process

SHARED_PREFIX = "nbpar-jobs-"
"""Begins the names of such folders."""

OWNER = "owner"
"""Name of the file that says whose a folder is."""


def make_shared_folder(place: str | os.PathLike[str] | None) -> Path:
    """Make a folder that only this user can enter, and remove those of killed owners on this machine.

    Args:
        place: where; "" or None for the user's cache.

    Raises:
        OSError: that is impossible.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        base = Path(place or f"{cache}/nbpar").expanduser()
    except RuntimeError as error:  # a container's user without a home
        raise OSError(str(error)) from error
    base.mkdir(parents=True, exist_ok=True)
    for folder in base.glob(f"{SHARED_PREFIX}*"):
        with suppress(OSError, ValueError, KeyError):
            owner = json.loads((folder / OWNER).read_text())
            if is_here(owner) and not psutil.pid_exists(int(owner["pid"])):
                shutil.rmtree(folder, ignore_errors=True)
    base = base.absolute()  # and not resolved: links may lead elsewhere on nodes
    made = Path(tempfile.mkdtemp(prefix=SHARED_PREFIX, dir=base))
    (made / OWNER).write_text(json.dumps(this_process()))
    return made
