"""Show something where a user asked for it: under the cell that began it, or on this process's streams."""

from __future__ import annotations

import sys
from typing import Any

from nbpar.worker.shell import this_shell


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
