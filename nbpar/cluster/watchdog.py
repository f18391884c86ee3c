"""Learn that a process is gone, and go with it, also when it had no time to say so."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress

_PR_SET_PDEATHSIG = 1


def open_process(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends, None where the system has none."""
    opener = getattr(os, "pidfd_open", None)
    if opener is None:
        return None
    try:
        descriptor: int = opener(pid)
    except OSError:  # an old kernel or a sandbox
        return None
    return descriptor


def end_with_parent(parent: int) -> None:
    """Have this process killed as soon as `parent` ends; it must be the parent.

    On Linux the kernel does it, even when this process hangs in C code.  Elsewhere a thread
    looks once a second.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the call above
            os._exit(1)
    else:
        threading.Thread(target=_poll_parent, args=(parent,), name="nbpar-parent", daemon=True).start()


def wait_gone(pid: int, timeout: float) -> bool:
    """Whether a process, of anybody, is gone within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    descriptor = open_process(pid)
    if descriptor is not None:
        try:
            return bool(select.select([descriptor], [], [], timeout)[0])
        finally:
            os.close(descriptor)
    while time.monotonic() < deadline:
        with suppress(PermissionError):
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return True
        time.sleep(0.02)
    return False


def _poll_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
