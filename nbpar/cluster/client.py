"""Validate the arguments of a cluster and connect its client."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbpar.core.checks import number_of_workers
from nbpar.core.text import plural
from nbpar.errors import ClusterError
from nbpar.host.descriptors import allowed_descriptors, free_descriptors
from nbpar.host.interpreter_exit import STARTS_NO_THREADS, ExitOrder, interpreter


def checked_count(n: int) -> int:
    """Return the number of engines if valid; raise TypeError or ValueError otherwise."""
    return number_of_workers(n, "the number of engines")


_preparing = threading.Lock()

NEEDED_DESCRIPTORS = 64
"""Upper bound of files and sockets of a cluster and its client in this process."""

FOR_EACH_ENGINE = 3
"""Those per engine in this process: its connection, and the notification of its end."""

CONTROLLER_DESCRIPTORS = 140
"""Upper bound of those of a controller without engines; 114 were counted."""

FOR_EACH_OF_ITS_ENGINES = 9
"""Those per engine in the controller."""


def check_descriptors(
    engines: int, *, more: int | None = None, forked: bool = True, direct: bool = False
) -> None:
    """Reject a cluster that would run out of descriptors: zmq would abort, or engines never register.

    Args:
        engines: its number of engines.
        more: the number added to a running cluster; None for a cluster to be started.
        forked: whether its controller is ours, which raises its own limit as far as possible.
        direct: whether it has no controller.
    """
    free, number = free_descriptors(), plural(engines, "engine")
    here = FOR_EACH_ENGINE * (engines if more is None else more) + (NEEDED_DESCRIPTORS if more is None else 0)
    if free is not None and free < here:
        raise ClusterError(
            f"this process may open only {free} more files and {number} would need {here}; "
            "close some or raise the limit (`ulimit -n`)"
        )
    allowed = allowed_descriptors(hard=forked)
    there = CONTROLLER_DESCRIPTORS + FOR_EACH_OF_ITS_ENGINES * engines
    if allowed is not None and allowed < there and not direct:
        raise ClusterError(
            f"a process may open only {allowed} files and the controller of {number} needs "
            f"{there}; raise the limit (`ulimit {'-Hn' if forked else '-n'}`) or have fewer engines"
        )


def prepare_client() -> None:
    """Import the dependencies of a client, numpy included if installed, before its first call.

    ipyparallel imports them on first use, which is not thread-safe.
    """
    with _preparing:
        from ipyparallel.serialize import can

        can(0)
    if STARTS_NO_THREADS:
        _start_threads()


def _start_threads() -> None:
    """Start the thread that zmq starts with the first large message, when it may be too late."""
    from zmq.utils.garbage import gc

    with gc._lock:  # noqa: SLF001 (as it does itself)
        if not gc.is_alive():
            gc.start()
            atexit.unregister(gc._atexit)  # noqa: SLF001 (it ends the thread before clients that need it)
            interpreter.end_with(gc._atexit, ExitOrder.SPARE)  # noqa: SLF001


def open_client(connection: dict[str, Any], folder: Path | None, timeout: float) -> Any:
    """An ipyparallel Client, which needs no profile; in IPython the first one serves `%px`."""
    import ipyparallel
    import zmq

    prepare_client()
    private = None if folder is None else str(folder)
    try:
        return hushed(ipyparallel.Client(connection_info=connection, timeout=timeout, ipython_dir=private))
    except (OSError, zmq.ZMQError) as error:
        raise ClusterError(f"the controller does not answer: {error}") from error


def own_request(client: Any, engine_id: int, fn: Any, *args: Any) -> Any:
    """Call a function in an engine for nbpar's own use; return its end, as a future."""
    answer = client[engine_id].apply_async(fn, *args)
    client.nbpar_requests = getattr(client, "nbpar_requests", 0) + 1
    return answer


def used_by_others(client: Any) -> bool:
    """Whether code of the user's has sent requests through a client, by `%px` or a view."""
    return len(client.history) != getattr(client, "nbpar_requests", 0)


def hushed(client: Any) -> Any:
    """The client, changed to drop stale answers instead of printing them.

    An engine that ends may answer after the client has given it up, and ipyparallel's client prints
    such an answer, a whole message, to standard output: into the running cell.
    """
    handlers = client._queue_handlers  # noqa: SLF001 (handlers of answers by kind; not public)
    if not any(isinstance(handle, _Hushed) for handle in handlers.values()):
        handlers.update({kind: _Hushed(client, handle) for kind, handle in handlers.items()})
    return client


class _Hushed:
    """Handle an answer if it is expected."""

    def __init__(self, client: Any, handle: Callable[[Any], None]) -> None:
        self._client = weakref.proxy(client)
        self._handle = handle

    def __call__(self, message: Any) -> None:
        client = self._client
        merged = client._should_use_metadata_msg_id(message)  # noqa: SLF001 (answers of all engines in one)
        number = message["metadata"]["original_msg_id"] if merged else message["parent_header"]["msg_id"]
        if number in client.outstanding:
            self._handle(message)
