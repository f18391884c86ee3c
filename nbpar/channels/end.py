"""The user's end of a channel, with the worker's name and the cell for output and errors."""

from __future__ import annotations

import atexit
import sys
import threading
import weakref
from collections import deque
from functools import cache
from typing import Any, Protocol

from nbpar.endpoint.end import End, Port
from nbpar.host.error_log import call_safely
from nbpar.host.shell import this_shell
from nbpar.wire.messages import Message, Printed
from nbpar.worker.channel_host import INTERRUPTED

PATIENCE = 2.0
"""Seconds after which an error not retrieved in a notebook is shown."""

_unseen: weakref.WeakSet[ClientEnd] = weakref.WeakSet()


def note(end: ClientEnd) -> None:
    """Code has ended with an error."""
    _unseen.add(end)
    _show_at_exit()
    if end.in_cell:
        timer = threading.Timer(PATIENCE, _show, [weakref.ref(end)])
        timer.daemon = True
        timer.start()


def _show(reference: weakref.ref[ClientEnd]) -> None:
    if (end := reference()) is not None:
        end.show_unseen()


@cache
def _show_at_exit() -> None:
    atexit.register(_show_all)


def _show_all() -> None:
    for end in list(_unseen):
        if not end.in_cell:  # the front end has stopped listening
            end.show_unseen()


class Origin:
    """The cell that runs now; outside a kernel there is none."""

    def __init__(self) -> None:
        self._kernel = _kernel()
        self._parent: Any = None
        if self._kernel is not None:
            self._parent = self._kernel.get_parent()

    @property
    def in_cell(self) -> bool:
        """Whether there is one."""
        return bool(self._kernel is not None and self._parent)

    def write(self, stream: str, text: str) -> None:
        """Write to `stdout` or `stderr`; safe from any thread."""
        if not self.in_cell:
            target = sys.stderr if stream == "stderr" else sys.stdout
            target.write(text)
            return
        self._kernel.session.send(
            self._kernel.iopub_socket, "stream", {"name": stream, "text": text}, parent=self._parent
        )


def _kernel() -> Any:
    kernel = getattr(this_shell(), "kernel", None)
    return kernel if hasattr(kernel, "iopub_socket") and hasattr(kernel, "get_parent") else None


class StoppingPort(Port, Protocol):
    """The services that an end on this side needs from its port."""

    @property
    def known_gateway(self) -> Any:
        """A gateway to the worker; None when nothing refers to one."""

    def stop(self, end: End) -> None:
        """Stop the code at the other end."""


class ClientEnd(End):
    """An end on the side that created the channel.

    Args:
        number: the channel's number.
        port: the worker's port.
        worker: its name.
        bounds: how far each side may be ahead of the other.
    """

    port: StoppingPort

    def __init__(self, number: int, port: StoppingPort, worker: str, **bounds: int) -> None:
        super().__init__(number, port, **bounds)
        self.how = "bare"
        self.worker = worker
        self.changed = threading.Condition()
        self.waiting = 0
        """Number of threads that wait for `changed`."""

        self._origin = Origin()
        self.printed: deque[tuple[str, str]] = deque()
        self._showing = threading.RLock()  # keeps the pieces of a line together
        self._line_begun = False
        self._fault_shown = False

    @property
    def wanted(self) -> bool:
        return self.handle is not None and not self.closed

    def next(self, timeout: float | None) -> Any:
        item = super().next(timeout)
        self.show()
        return item

    def take(self, message: Message) -> None:
        if isinstance(message, Printed):
            self.printed += message.lines
            self.port.call_back(self)
        else:
            super().take(message)
            if self.fault is not None:
                self._note_fault()

    def show(self) -> None:
        if not self.printed:
            return
        with self._showing:
            while self.printed:
                stream, text = self.printed.popleft()
                self._write(stream, self._labeled(text))

    def drop(self) -> None:
        super().drop()
        if self.fault is not None:
            self.show_unseen()

    def show_unseen(self) -> None:
        """Show an error of the code that was not retrieved, once; it can still be raised."""
        with self._lock:
            fault, shown, self._fault_shown = self.fault, self._fault_shown, True
        if fault is not None and not shown and fault.message != INTERRUPTED:
            self._write(
                "stderr",
                f"[{self.worker}] unhandled error in the code of a channel:\n{fault.text_with_lines}",
            )

    @property
    def in_cell(self) -> bool:
        """Whether a cell of a notebook created the channel."""
        return self._origin.in_cell

    def _write(self, stream: str, text: str) -> None:
        """Show text where the channel was created; a broken stream loses only that text."""
        lost = f"what the code of a channel to {self.worker} printed could not be shown"
        call_safely(lambda: self._origin.write(stream, text), lost, passes_ctrl_c=True)

    def _note_fault(self) -> None:
        if self.handle is None or self.handle() is None:
            self.show_unseen()
        else:
            note(self)

    def _labeled(self, text: str) -> str:
        """Put the worker's name before each line."""
        label = f"[{self.worker}] "
        pieces = text.splitlines(keepends=True)
        labeled = "".join(
            piece if at == 0 and self._line_begun else label + piece for at, piece in enumerate(pieces)
        )
        self._line_begun = bool(pieces) and not pieces[-1].endswith("\n")
        return labeled
