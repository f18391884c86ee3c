"""execnet's RSync, on `nbpar.push_files`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nbpar.channels.files import push_files


class RSync:
    """Send a folder to gateways; `filter(path)` may be overridden.

    Args:
        sourcedir: the folder.
        callback: called as `callback("list", bytes, channel)` first, and as
            `callback("ack", bytes, channel)` for each file that was sent.
        verbose: print each file that is sent.
    """

    def __init__(
        self,
        sourcedir: str | os.PathLike[str],
        callback: Callable[[str, int, Any], object] | None = None,
        verbose: bool = True,
    ) -> None:
        self._source = Path(sourcedir)
        self._callback = callback
        self._verbose = verbose
        self._targets: list[tuple[Any, str, Callable[[], object] | None, bool]] = []

    def filter(self, path: str) -> bool:  # noqa: ARG002 (for those who override it)
        """Whether to send a path."""
        return True

    def add_target(
        self,
        gateway: Any,
        destdir: str | os.PathLike[str],
        finishedcallback: Callable[[], object] | None = None,
        *,
        delete: bool = False,
    ) -> None:
        """Add a folder on a gateway, to be sent to by the next `send`."""
        self._targets.append((gateway, str(destdir), finishedcallback, delete))

    def send(self, raises: bool = True) -> None:
        """Send to all targets; OSError when there are none, if it `raises`."""
        if not self._targets:
            if raises:
                raise OSError("no targets available, maybe you are trying call send() twice?")
            return
        targets, self._targets = self._targets, []
        for gateway, destination, finished, delete in targets:
            self._send_to(gateway, destination, delete=delete)
            if finished is not None:
                finished()

    def _send_to(self, gateway: Any, destination: str, *, delete: bool) -> None:
        channel = SimpleNamespace(gateway=gateway)
        if self._callback is not None:
            sizes = (path.stat().st_size for path in self._source.rglob("*") if path.is_file())
            self._callback("list", sum(sizes), channel)

        def told(path: str, size: int, _: object) -> None:
            self._report(gateway, path)
            if self._callback is not None:
                self._callback("ack", size, channel)

        push_files(
            self._source, destination, [gateway.inner], delete=delete, progress=told,
            filter=lambda path: bool(self.filter(str(path))),
        )  # fmt: skip

    def _report(self, gateway: Any, path: str) -> None:
        if self._verbose:
            print(f"{gateway} <= {path}")  # noqa: T201 (execnet does)
