"""The user's end of a channel: it knows the worker's name and where to show what comes of it."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from nbpar.channels.origin import Origin
from nbpar.channels.unseen import note
from nbpar.wire.messages import Message, Printed
from nbpar.worker.channels import INTERRUPTED
from nbpar.worker.end import End

if TYPE_CHECKING:
    from nbpar.channels.port import ClientPort


class ClientEnd(End):
    """An end on the side of the one who began the channel."""

    def __init__(self, number: int, port: ClientPort, **bounds: int) -> None:
        super().__init__(number, port, **bounds)
        self.how = "bare"
        self.worker = port.worker
        self.changed = threading.Condition()
        self.waiting = 0
        """Threads that wait for `changed`."""

        self._origin = Origin()
        self.printed: deque[tuple[str, str]] = deque()
        self._showing = threading.RLock()  # pieces of a line stay together
        self._line_begun = False
        self._fault_shown = False

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
                self._origin.write(stream, self._labelled(text))

    def drop(self) -> None:
        super().drop()
        if self.fault is not None:
            self.show_unseen()

    def show_unseen(self) -> None:
        """Show an error of the code that nobody has seen, once; it can still be raised."""
        with self._lock:
            fault, shown, self._fault_shown = self.fault, self._fault_shown, True
        if fault is not None and not shown and fault.message != INTERRUPTED:
            self._origin.write(
                "stderr", f"[{self.worker}] nobody looked at this error of a channel:\n{fault.text}"
            )

    @property
    def in_cell(self) -> bool:
        """Whether a cell of a notebook began the channel."""
        return self._origin.in_cell

    def _note_fault(self) -> None:
        if self.handle is None or self.handle() is None:
            self.show_unseen()
        else:
            note(self)

    def _labelled(self, text: str) -> str:
        """Put the worker's name before each line."""
        label = f"[{self.worker}] "
        pieces = text.splitlines(keepends=True)
        labelled = "".join(
            piece if at == 0 and self._line_begun else label + piece for at, piece in enumerate(pieces)
        )
        self._line_begun = bool(pieces) and not pieces[-1].endswith("\n")
        return labelled
