"""A private directory for one cluster's sockets, connection files and logs.

Its path is short, because a Unix socket's name may have about 100 characters.  A lock that
ends with its holders tells a directory in use from one that a double `kill -9` left behind.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from nbpar.errors import ClusterError

PREFIX = "nbpar-run-"
"""What the directories of clusters, and no others, are called; `sweep` goes by it."""

LONGEST = 68
"""Characters in the directory's path, so that sockets below it get a name of up to 35."""

LOCK = "lock"

_GRACE = 60.0
"""Seconds in which a directory may still be without a lock, because it has just been made."""


def create_directory(bases: list[Path] | None = None) -> Path:
    """Make a directory that only this user can enter, and check that it takes files.

    Directories that died with all their processes are removed on the way.

    Raises:
        ClusterError: no place is writable, has room and has a short enough path.
    """
    refusals = []
    for base in bases or list(_bases()):
        try:
            return _create_in(base)
        except OSError as error:
            refusals.append(f"{base}: {error.strerror or error}")
    raise ClusterError(
        "no place for the cluster's runtime directory; set TMPDIR to a writable directory "
        f"with a short path and some room (tried {'; '.join(refusals)})"
    )


def hold(directory: Path) -> int:
    """Say that the directory is in use for as long as the returned descriptor is open."""
    lock = directory / LOCK
    if lock.exists():
        return _open_locked(lock)
    fresh = directory / f"{LOCK}.{os.getpid()}"
    descriptor = _open_locked(fresh)
    fresh.replace(lock)  # it appears locked: nobody can take the directory for an abandoned one
    return descriptor


def remove_directory(directory: Path) -> None:
    """Remove the directory and everything in it; nothing happens when it is gone."""
    shutil.rmtree(directory, ignore_errors=True)


def sweep(base: Path) -> None:
    """Remove this user's directories below `base` that no process holds any more."""
    for directory in base.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if directory.stat().st_uid == _user() and _abandoned(directory):
                remove_directory(directory)


def _create_in(base: Path) -> Path:
    if len(str(base)) + len(PREFIX) + 9 > LONGEST:
        raise OSError(f"its path has {len(str(base))} characters, too many for a socket's name")
    sweep(base)
    directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    try:
        probe = directory / "probe"
        probe.write_bytes(bytes(65536))
        probe.unlink()
    except OSError:
        remove_directory(directory)
        raise
    return directory


def _bases() -> Iterator[Path]:
    """Where to try, best first."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        yield Path(runtime)
    for name in (os.environ.get("TMPDIR"), "/tmp", "/var/tmp", "/dev/shm"):  # noqa: S108 (mkdtemp makes it private)
        if name:
            yield Path(name)
    if os.name == "nt":
        yield Path(tempfile.gettempdir())


def _abandoned(directory: Path) -> bool:
    try:
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return time.time() - directory.stat().st_mtime > _GRACE
    try:
        _lock(descriptor, exclusive=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _open_locked(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    _lock(descriptor, exclusive=False)
    return descriptor


def _lock(descriptor: int, *, exclusive: bool) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: a directory with open files cannot be removed anyway
        return
    fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0
