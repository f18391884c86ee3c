"""Interrupt what an engine runs, as Ctrl-C does."""

from __future__ import annotations

import os
import signal
import socket as network
from collections.abc import Mapping
from typing import Any


def interrupt(client: Any, uuid: str, facts: Mapping[str, Any]) -> bool:
    """Send an engine the signal: from here when it is on this host, else by its controller.

    Args:
        client: the ipyparallel client.
        uuid: the engine's identity there.
        facts: its `host` and `pid`.

    Returns:
        False when its process is gone.
    """
    if facts["host"] != network.gethostname():
        client._io_loop.add_callback(_ask, client, uuid.encode())  # noqa: SLF001 (only its thread may use the stream)
        return True
    try:
        os.kill(facts["pid"], signal.SIGINT)
    except OSError:
        return False
    return True


def _ask(client: Any, ident: bytes) -> None:
    client.session.send(client._control_stream, "interrupt_request", content={}, ident=ident)  # noqa: SLF001
