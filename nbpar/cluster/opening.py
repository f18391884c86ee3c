"""Small steps on the way to a cluster: check what was asked for, connect to what came."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from nbpar.cluster.limits import free_descriptors
from nbpar.errors import ClusterError


def checked_count(n: int) -> int:
    """The number of engines, when it is one; TypeError or ValueError otherwise."""
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(f"the number of engines must be an int, was {n!r}")
    if n < 1:
        raise ValueError(f"the number of engines must be at least 1, was {n}")
    return n


_preparing = threading.Lock()

NEEDED_DESCRIPTORS = 64
"""Files and sockets that a cluster and its client take in this process, generously."""


def check_descriptors() -> None:
    """Refuse before zmq runs out of descriptors, for it then ends the whole process."""
    free = free_descriptors()
    if free is not None and free < NEEDED_DESCRIPTORS:
        raise ClusterError(
            f"this process may open only {free} more files and a cluster needs {NEEDED_DESCRIPTORS}; "
            "close some or raise the limit (`ulimit -n`)"
        )


def prepare_client() -> None:
    """Import what a client needs, numpy included if it is there, before its first call does.

    ipyparallel does that when first used, and not safely from two threads.
    """
    with _preparing:
        from ipyparallel.serialize import can

        can(0)


def open_client(connection: dict[str, Any], folder: Path | None, timeout: float) -> Any:
    """An ipyparallel Client, which needs no profile; in IPython the first one serves `%px`."""
    import ipyparallel
    import zmq

    prepare_client()
    private = None if folder is None else str(folder)
    try:
        return ipyparallel.Client(connection_info=connection, timeout=timeout, ipython_dir=private)
    except (OSError, zmq.ZMQError) as error:
        raise ClusterError(f"the controller does not answer: {error}") from error
