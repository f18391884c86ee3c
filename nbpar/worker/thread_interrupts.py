"""Interrupt the item of a worker that is a thread of this process, at the user's request.

An exception is raised into the thread (`PyThreadState_SetAsyncExc`), which it meets at its next step in
Python: not while it waits in C, as in `time.sleep` or for a lock.
"""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING

from nbpar.worker.signals import Interrupted, Interrupts

if TYPE_CHECKING:
    from typing_extensions import Self


class ThreadInterrupts(Interrupts):
    """Interrupts of the thread that enters it; `strike` comes from others.

    What has been raised and not met yet when the user's code is over is taken back, under the lock that
    `strike` needs, so it can hit no other code.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._armed = self._raised = False
        super().__init__()

    def __enter__(self) -> Self:
        self._thread = threading.get_ident()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.armed = False
        self._thread = None

    def made(self, error: BaseException) -> bool:
        made = super().made(error)
        if made:
            self.armed = False  # it has struck: the next code is the loop's own
        return made

    @property
    def armed(self) -> bool:
        """Whether user code runs, which may be interrupted."""
        return self._armed

    @armed.setter
    def armed(self, armed: bool) -> None:
        if armed:
            self._armed = True
            return
        with self._lock:
            self._armed = False
            if self._raised:
                self._raised = False
                _take_back()

    def strike(self) -> bool:
        """Interrupt the user code that runs there, if there is any; returns whether there was."""
        with self._lock:
            if self._armed and self._thread is not None:
                self._raised = True
                _raise_into(self._thread)
            return self._armed


def _raise_into(thread: int) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Interrupted))


def _take_back() -> None:
    """Meet here what was raised into this thread, or was met already.

    Raising NULL would withdraw it too, but up to Python 3.12 it leaves the mark that an exception is pending
    somewhere: every thread looks for it at each step from then on, and in Python 3.11 a traced one forever.
    """
    try:
        _raise_into(threading.get_ident())
        while True:
            pass
    except Interrupted:
        return
