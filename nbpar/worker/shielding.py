"""Keep signals out of a worker's own business while a user's code runs.

Every operation of a channel is shielded; where it waits, a signal may come through.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

    from nbpar.worker.interrupting import Interrupts


class Shield:
    """For the thread that made it, which signals reach; in other threads it does nothing.

    A `with` block that may be entered again inside itself.  A signal that came meanwhile raises
    at its end.
    """

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self._owner = threading.get_ident()
        self._depth = 0

    def __enter__(self) -> Self:
        if threading.get_ident() == self._owner:
            if not self._depth:
                self._interrupts.lower()
            self._depth += 1
        return self

    def __exit__(self, *exc_info: object) -> None:
        if threading.get_ident() == self._owner:
            self._depth -= 1
            if not self._depth:
                self._interrupts.restore()

    @property
    def up(self) -> bool:
        """Whether this thread could be interrupted but for the shield."""
        return self._depth > 0 and threading.get_ident() == self._owner

    def wait(self, wait: Callable[[float], None], timeout: float) -> None:
        """Call `wait(timeout)`, which a signal may interrupt; one that came before does so at once."""
        if not self.up:
            wait(timeout)
            return
        try:
            self._interrupts.expose()
            wait(timeout)
        finally:
            self._interrupts.armed = False
