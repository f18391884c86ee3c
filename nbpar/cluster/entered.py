"""A worker's process without a controller: run what enters it, one program after the other."""

from __future__ import annotations

import base64
import os
import pickle
import signal
import socket
import sys
from collections.abc import Iterator
from types import ModuleType

from nbpar.cluster.fork_server.protocol import Line, LineBuffer, encode

INLINE = "module://matplotlib_inline.backend_inline"
"""How matplotlib draws in an engine: without a window."""


def serve(link: socket.socket) -> int:
    """Run programs that come through `link`, in the main thread, until the template is gone; return 0.

    Each gets its settings as the global variable `settings`.  In between SIGINT is ignored, as by an engine.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.modules["__main__"] = ModuleType("__main__")  # an item's, not the fork server's
    os.environ.setdefault("MPLBACKEND", INLINE)
    link.sendall(encode({"up": True}))
    for line in _lines(link):
        link.sendall(encode({"left": line["enter"], "failure": _failure_of(line)}))
    return 0


def _lines(link: socket.socket) -> Iterator[Line]:
    lines = LineBuffer()
    while block := link.recv(1 << 16):
        yield from lines.feed(block)


def _failure_of(line: Line) -> list[str] | None:
    """Run a program; return the name and the text of the exception that ended it, if one did."""
    try:
        program, settings = pickle.loads(base64.b64decode(line["packed"]))
        exec(program, {"settings": settings})  # noqa: S102 (as an engine does)
    except BaseException as error:  # noqa: BLE001 (of an item's leftovers, for example; the owner decides)
        return [type(error).__name__, str(error)]
    return None
