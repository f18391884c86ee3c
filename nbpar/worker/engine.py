"""Serve on an ipyparallel engine: find the way to the client and run the loop on it.

Touches these attributes of the engine's application: `context`, `session`,
`connection_info`, `init_connector` (ipyparallel 8.8 to 9.2; a contract test holds them).
"""

from __future__ import annotations

import os
import platform
import signal
import socket as network
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import zmq

from nbpar.wire.lodging import give_back
from nbpar.wire.shared import forget_arrived
from nbpar.wire.signing import Signer
from nbpar.worker.catching import caught
from nbpar.worker.codec import Pickled
from nbpar.worker.descriptors import Descriptors, can_be_caught
from nbpar.worker.freshness import freshness_of_this_process
from nbpar.worker.inside import inside
from nbpar.worker.interrupting import Interrupts
from nbpar.worker.output import NOTHING, OutputRecorder
from nbpar.worker.preparing import Preparing
from nbpar.worker.serve import Loop
from nbpar.worker.sockets import SocketTransport, StreamTransport


def serve_engine(settings: dict[str, Any]) -> None:
    """Run the worker loop until the client lets this engine go."""
    from IPython import get_ipython

    app = get_ipython().kernel.parent
    local = _same_host(settings)
    way = _connect_local(settings) if local else _connect_through_controller(settings, app)
    with closing(way) as transport:
        facts = {
            "pid": os.getpid(),
            "host": network.gethostname(),
            "python": platform.python_version(),
            "local": local,
            "address": settings["address"] if local else "",
        }
        with _mortal(), Interrupts() as interrupts, inside(whole_process=True):
            _serve(Loop(transport, Pickled(), interrupts=interrupts, facts=facts, pool=settings["client"]))
    forget_arrived()
    give_back()


def _serve(loop: Loop) -> None:
    with _recorded(loop):
        loop.serve()


@contextmanager
def _mortal() -> Iterator[None]:
    """Let SIGTERM end the process: the engine's own handler asks its event loop, which waits for us."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _recorded(loop: Loop) -> Iterator[None]:
    """Have everything that items put out sent to the client, and make the engine like it for each run."""
    recorder = OutputRecorder(lambda: loop.index, loop.send_output, far=True)
    loop.channels.printed = recorder.take

    def note(stream: str, text: str, index: int | None) -> bool:
        if index is None and recorder.item == NOTHING:
            return False
        recorder.note(stream, text, index)
        return True

    with ExitStack() as stack:
        stack.enter_context(caught(recorder, whole_process=True))
        if can_be_caught():
            descriptors = stack.enter_context(Descriptors(note))
            loop.look, recorder.before = descriptors, descriptors.look
        loop.prepared = stack.enter_context(Preparing(loop.look)).prepared
        loop.note_imports = freshness_of_this_process().note_imports
        yield


def _same_host(settings: dict[str, Any]) -> bool:
    address: str = settings["address"]
    return bool(address) and settings["host"] == network.gethostname() and Path(address).exists()


def _connect_local(settings: dict[str, Any]) -> StreamTransport:
    return StreamTransport(settings["address"], settings["identity"])


def _connect_through_controller(settings: dict[str, Any], app: Any) -> SocketTransport:
    socket = app.context.socket(zmq.DEALER)
    socket.linger = 2000
    socket.identity = settings["identity"]
    connect, _ = app.init_connector()
    info = app.connection_info
    connect(socket, f"{info['interface']}:{info['control']}")
    return SocketTransport(
        socket, settings["identity"], client=settings["client"], signer=Signer(app.session.key)
    )
