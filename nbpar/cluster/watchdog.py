"""Detect the end of a process, and end with it, even after SIGKILL."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from nbpar.cluster.directory import remove_directory

_PR_SET_PDEATHSIG = 1


def open_process(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends, None if the system has none."""
    opener = getattr(os, "pidfd_open", None)
    if opener is None:
        return None
    try:
        descriptor: int = opener(pid)
    except OSError:  # an old kernel or a sandbox
        return None
    return descriptor


def end_with_parent(parent: int) -> None:
    """Kill this process as soon as `parent` ends; it must be the parent.

    On Linux the kernel does it, even if this process hangs in C code.  On other systems a thread
    checks once a second.
    """
    if sys.platform == "linux":
        _ask_for(signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the call above
            os._exit(1)
    else:
        threading.Thread(target=_poll_parent, args=(parent,), name="nbpar-parent", daemon=True).start()


def clean_up_with_parent(parent: int, leave: Callable[[], None]) -> None:
    """Call `leave` when `parent` ends, instead of being killed; does nothing without a signal for that."""
    if sys.platform == "linux":
        signal.signal(signal.SIGUSR1, lambda *_: leave())
        _ask_for(signal.SIGUSR1)
        if os.getppid() != parent:
            leave()


def _ask_for(number: int) -> None:
    """Request a signal from Linux at the end of this process's parent."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


class Ended(NamedTuple):
    """A child that has ended."""

    pid: int
    status: int
    """As of `os.waitpid`."""

    peak: int
    """The most bytes that it held at once; 0 if unknown."""


def reap_one(*, wait: bool) -> Ended | None:
    """Return a child that has ended, or None.

    Other processes in the child's process group are killed before its pid can be
    used again.
    """
    try:
        if hasattr(os, "waitid"):
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | (0 if wait else os.WNOHANG))
            if ended is None:
                return None
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(ended.si_pid, signal.SIGKILL)
            pid, status, usage = os.wait4(ended.si_pid, 0)
            return Ended(pid, status, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
        pid, status = os.waitpid(-1, 0 if wait else os.WNOHANG)
    except ChildProcessError:
        return None
    return Ended(pid, status, 0) if pid else None


def stopped_or_continued() -> Iterator[tuple[int, bool]]:
    """Yield the children that were stopped since the last call, or went on: pid, whether it was stopped."""
    while hasattr(os, "waitid"):
        try:
            seen = os.waitid(os.P_ALL, 0, os.WSTOPPED | os.WCONTINUED | os.WNOHANG)
        except ChildProcessError:
            return
        if seen is None:
            return
        if seen.si_code in (os.CLD_STOPPED, os.CLD_CONTINUED):  # not by a debugger
            yield seen.si_pid, seen.si_code == os.CLD_STOPPED


@contextmanager
def guard_imports(owner: int, directory: Path) -> Iterator[None]:
    """End this process, and its directory, if the owner exits while imports block it."""

    def look(*_: object) -> None:
        if os.getppid() != owner:
            remove_directory(directory)
            os._exit(1)

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 1.0, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def wait_gone(pid: int, timeout: float) -> bool:
    """Wait up to `timeout` seconds for the end of a process, of any user; return whether it is gone."""
    descriptor = open_process(pid)
    if descriptor is not None:
        try:
            return bool(select.select([descriptor], [], [], timeout)[0])
        finally:
            os.close(descriptor)
    import psutil

    try:
        psutil.Process(pid).wait(timeout)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


def _poll_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
