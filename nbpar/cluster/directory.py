"""A private directory for one cluster's sockets, connection files and logs.

Its path is short, because a Unix socket's path is limited to about 100 characters.  A lock that
ends with its holders distinguishes a directory in use from one that a double `kill -9` left behind.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from nbpar.errors import ClusterError

PREFIX = "nbpar-run-"
"""Prefix of the names of clusters' directories, used by `sweep`."""

LONGEST = 68
"""Maximal length of the directory's path, so that sockets in it can have names of 35 characters."""

LOCK = "lock"

_GRACE = 60.0
"""Seconds for which a new directory may lack a lock."""


def create_directory(bases: list[Path] | None = None) -> Path:
    """Make a directory that only this user can enter, and check that it takes files.

    Directories whose processes have all ended are removed as well.

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


class RuntimeDirectory:
    """A private directory that is in use until it is removed.  Thread-safe.

    Raises:
        ClusterError: no place is writable, with free space and a short path.
    """

    def __init__(self) -> None:
        self.path = create_directory()
        self._lock = threading.Lock()
        try:
            self._held: int | None = hold(self.path)
        except BaseException:
            remove_directory(self.path)
            raise

    def restore(self) -> None:
        """Recreate the directory if it was cleaned up, like old files below /tmp.

        Raises:
            OSError: that is impossible, the existing one is not this user's alone, or it was removed.
        """
        with self._lock:
            if self._held is None:
                raise FileNotFoundError(f"{self.path} was removed")
            if (self.path / LOCK).exists():
                return
            with suppress(FileExistsError):
                self.path.mkdir(mode=0o700)
            if not _private(self.path.lstat()):
                raise PermissionError(f"{self.path} is not a private directory of this user any more")
            held, self._held = self._held, hold(self.path)
            os.close(held)

    def remove(self) -> None:
        """Remove the directory with its contents.  Idempotent."""
        with self._lock:
            held, self._held = self._held, None
            if held is not None:
                remove_directory(self.path)
                os.close(held)


def hold(directory: Path) -> int:
    """Mark the directory as used for as long as the returned descriptor is open."""
    lock = directory / LOCK
    if lock.exists():
        return _open_locked(lock)
    fresh = directory / f"{LOCK}.{os.getpid()}"
    descriptor = _open_locked(fresh)
    fresh.replace(lock)  # it appears locked, so it never looks abandoned
    return descriptor


def remove_directory(directory: Path) -> None:
    """Remove a directory with its contents; does nothing if it does not exist."""
    shutil.rmtree(directory, ignore_errors=True)


def sweep(base: Path) -> None:
    """Remove this user's directories below `base` that no process uses."""
    for directory in base.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if directory.stat().st_uid == _user() and _abandoned(directory):
                remove_directory(directory)


def ipython_folder(private: Path) -> Path:
    """The user's IPython folder if it is complete, otherwise one in `private`, so that none is created."""
    try:
        theirs = Path(os.environ.get("IPYTHONDIR") or Path.home() / ".ipython")
    except RuntimeError:  # a container's user without a home
        return private / "ipython"
    return theirs if (theirs / "profile_default" / "startup").is_dir() else private / "ipython"


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
    """Candidate places, best first."""
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
        descriptor = os.open(directory / LOCK, os.O_RDWR)
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
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    _lock(descriptor, exclusive=False)
    return descriptor


def _lock(descriptor: int, *, exclusive: bool) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: a directory with open files cannot be removed anyway
        return
    fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)


def is_runtime_directory(path: Path) -> bool:
    """Whether it is such a directory of this user."""
    try:
        return path.name.startswith(PREFIX) and _private(path.lstat())
    except (OSError, ValueError):
        return False


def _private(found: os.stat_result) -> bool:
    """Whether it is a directory accessible to this user only."""
    mode = found.st_mode
    return stat.S_ISDIR(mode) and found.st_uid == _user() and not stat.S_IMODE(mode) & 0o077


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def tail(path: Path, lines: int = 12) -> str:
    """The last lines of a log, "" if there is none."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
