"""execnet's RSync, on `nbpar.push_files`."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from nbpar.channels.files import Transfer, transfers
from nbpar.compat.execnet.elsewhere import sync
from nbpar.compat.execnet.gateway import Gateway


class RSync:
    """Send a folder to gateways; `filter(path)` may be overridden.

    Args:
        sourcedir: the folder.
        callback: called as `callback("list", bytes, channel)` first, and as
            `callback("ack", bytes, channel)` for each file sent.
        verbose: print each file sent.
    """

    def __init__(
        self,
        sourcedir: str | os.PathLike[str],
        callback: Callable[[str, int, Any], object] | None = None,
        verbose: bool = True,
    ) -> None:
        self._sourcedir = str(sourcedir)
        self._callback = callback
        self._verbose = verbose
        self._targets: list[tuple[Any, str, Callable[[], object] | None, bool]] = []

    def filter(self, path: str) -> bool:  # noqa: ARG002 (for overrides)
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
        """Send to all targets; OSError if there are none and `raises`."""
        if not self._targets:
            if raises:
                raise OSError("no targets available, maybe you are trying call send() twice?")
            return
        targets, self._targets = self._targets, []
        ours = [target for target in targets if hasattr(target[0], "on_engine")]
        for gateway, destination, finished, delete in targets:
            if not hasattr(gateway, "on_engine"):
                sync(self, gateway, destination, finished, delete=delete)
        places = [(gateway.inner, destination, delete) for gateway, destination, _, delete in ours]
        wanted = lambda path: bool(self.filter(str(path)))  # noqa: E731 (a line of its own)
        begun = transfers(self._sourcedir, places, wanted, absolute=True)
        for transfer, (gateway, _, finished, _) in zip(begun, ours, strict=True):
            self._send_to(gateway, transfer)
            if finished is not None:
                finished()

    def _report_send_file(self, gateway: Any, modified_rel_path: str) -> None:
        """Report a file that is sent; may be overridden, as in pytest-xdist."""
        if self._verbose:
            print(f"{gateway} <= {modified_rel_path}")  # noqa: T201 (execnet does)

    def _send_to(self, gateway: Gateway, transfer: Transfer) -> None:
        tell = self._callback or _nothing
        channel = SimpleNamespace(gateway=gateway)
        tell("list", sum(transfer.changed.values()), channel)
        for path, size in transfer.run():
            self._report_send_file(gateway, path)
            tell("ack", size, channel)


def _nothing(*_: object) -> None:
    """Report nothing."""
