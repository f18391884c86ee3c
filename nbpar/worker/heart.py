"""An echo beside the worker loop, which answers while user code holds the interpreter.

The client asks through the controller, as for everything else.  The answer is made by zmq's own code in a
thread that needs no Python: so a worker that computes in C can be told from one that is stopped, or cut off.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import zmq

SUFFIX = b".heart"
"""The echo's name at the controller is that of its worker, and this."""


class Heart:
    """Echoes messages of one socket until it is closed.

    Args:
        identity: its name at the controller.
        connect: connects a socket to the controller.
    """

    def __init__(self, identity: bytes, connect: Callable[[zmq.Socket[bytes]], Any]) -> None:
        import zmq

        self._context: zmq.Context[Any] = zmq.Context()
        socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        socket.linger = 0
        socket.identity = identity
        try:
            connect(socket)
        except BaseException:
            socket.close()
            self._context.term()
            raise
        threading.Thread(target=_echo, args=(socket,), name="nbpar heart", daemon=True).start()

    def close(self) -> None:
        """End the echo."""
        self._context.term()


def _echo(socket: zmq.Socket[bytes]) -> None:
    import zmq

    with suppress(zmq.ZMQError):  # the context is closed
        zmq.proxy(socket, socket)
    socket.close()
