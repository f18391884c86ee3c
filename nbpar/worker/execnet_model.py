"""execnet's model of execution, for programs that ask a gateway for locks, queues and threads."""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

MODELS = ("thread", "main_thread_only", "eventlet", "gevent")
"""What execnet knows; all of them are threads here."""


class ExecModel:
    """What execnet's class of this name offers; the names are execnet's."""

    queue = queue
    subprocess = subprocess
    socket = socket
    sleep = staticmethod(time.sleep)
    get_ident = staticmethod(threading.get_ident)
    Lock = RLock = staticmethod(threading.RLock)
    Event = staticmethod(threading.Event)

    def __init__(self, backend: str) -> None:
        self.backend = backend

    def start(self, func: Callable[..., object], args: tuple[Any, ...] = ()) -> None:
        """Call a function in a new thread."""
        threading.Thread(target=func, args=args, daemon=True).start()

    def fdopen(self, fd: int, mode: str, bufsize: int = 1, closefd: bool = True) -> Any:
        """Open a file descriptor as a text file."""
        return os.fdopen(fd, mode, bufsize, encoding="utf-8", closefd=closefd)

    def __repr__(self) -> str:
        return f"<ExecModel {self.backend!r}>"


def exec_model(backend: str | ExecModel) -> ExecModel:
    """Return the model of this name.

    Raises:
        ValueError: execnet knows none of that name.
    """
    if isinstance(backend, ExecModel):
        return backend
    if backend not in MODELS:
        raise ValueError(f"unknown execution model {backend!r}; execnet's are {', '.join(MODELS)}")
    return ExecModel(backend)
