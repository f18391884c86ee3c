"""Run the worker loop on an ipyparallel engine.

Uses these attributes of the engine's application: `context`, `session`,
`connection_info`, `init_connector` (ipyparallel 8.8 to 9.2; a contract test holds them).
"""

from __future__ import annotations

import os
import platform
import signal
import socket as network
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from multiprocessing.process import current_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbpar.endpoint.carried_modules import asking
from nbpar.host.devices.visible import device_of
from nbpar.host.event_loops import no_event_loop
from nbpar.host.limits import limits_here
from nbpar.host.machine import is_here, machine
from nbpar.host.processes import OtherProcess
from nbpar.host.relay_words import POOLS
from nbpar.host.shell import this_shell
from nbpar.wire.shared import asking_for_shared, forget_arrived
from nbpar.wire.shared_memory import give_back
from nbpar.wire.signing import Signer
from nbpar.worker.cleanup import ItemCleanup, Leftovers
from nbpar.worker.codec import Pickled
from nbpar.worker.heart import SUFFIX, Heart
from nbpar.worker.loop import Loop
from nbpar.worker.mail.transports import (
    SocketTransport,
    StreamTransport,
    connect_relayed,
    connect_stream,
)
from nbpar.worker.modules.reload import freshness_of_this_process
from nbpar.worker.nesting import inside
from nbpar.worker.output.descriptors import Descriptors, can_be_caught
from nbpar.worker.output.recorder import NOTHING
from nbpar.worker.output.shell import make_shell_on_demand
from nbpar.worker.output.streams import caught
from nbpar.worker.run_setup import RunSetup, WorkerHooks
from nbpar.worker.signals import Interrupts

if TYPE_CHECKING:
    import zmq


def serve_engine(settings: dict[str, Any]) -> None:
    """Run the worker loop until the client releases this engine."""
    app = getattr(getattr(this_shell(), "kernel", None), "parent", None)
    if app is None:  # there is no controller
        make_shell_on_demand()
    if "authkey" in settings:  # so that proxies of the client's managers can connect from this process
        current_process().authkey = settings["authkey"]
    with ExitStack() as stack:
        client_ended = stack.enter_context(_client(settings))
        if client_ended():  # it was killed since it asked for this loop
            return
        local = _same_host(settings)
        transport = stack.enter_context(closing(_connect(settings, app, client_ended, local=local)))
        if not local:
            stack.enter_context(closing(Heart(settings["identity"] + SUFFIX, _connector(app))))
        facts = {
            "pid": os.getpid(),
            "host": network.gethostname(),
            "machine": machine(),
            "python": platform.python_version(),
            "local": local,
            "streams": isinstance(transport, StreamTransport),
            "address": settings["address"] if local else "",
        }
        if not is_here(settings):
            facts["limits"] = tuple(limits_here())
        if device := device_of(os.environ):
            facts["device"] = device
        with no_event_loop(), _mortal(), Interrupts() as interrupts, inside(whole_process=True):
            loop = Loop(
                transport, Pickled(), interrupts=interrupts, facts=facts, pool=settings["client"],
                answered_within=None if facts["streams"] else settings["answers_within"],
                client_ended=client_ended,
            )  # fmt: skip
            far = not is_here(settings)
            with asking(loop.modules.ask, far=far), asking_for_shared(loop.buffers.parts):
                _serve(loop)
    forget_arrived()
    give_back()


def _serve(loop: Loop) -> None:
    try:
        with _recorded(loop) as hooks:
            loop.serve(hooks)
    except BaseException:  # raised by an item's leftovers
        if not loop.over:
            raise


@contextmanager
def _mortal() -> Iterator[None]:
    """Let SIGTERM end the process: the engine's own handler waits for its event loop, which waits for us."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _recorded(loop: Loop) -> Iterator[WorkerHooks]:
    """Send all output of items to the client, and adopt the client's environment for each run."""
    recorder = loop.recorder

    def note(stream: str, text: str, index: int | None) -> bool:
        if index in (None, NOTHING) and loop.coroutines is not None and recorder.item == NOTHING:
            return loop.coroutines.note(stream, text)
        if index is None and recorder.item == NOTHING:
            return False
        recorder.note(stream, text, index)
        return True

    with ExitStack() as stack:
        stack.enter_context(caught(recorder, whole_process=True))
        descriptors = stack.enter_context(Descriptors(note)) if can_be_caught() else None
        if descriptors is not None:
            recorder.before = descriptors.look
        stack.enter_context(loop.imports)
        cleanup = ItemCleanup(Leftovers(whole_process=True), descriptors)
        stack.callback(cleanup.clear)
        prepared = stack.enter_context(RunSetup()).prepared
        yield WorkerHooks(cleanup, prepared, freshness_of_this_process().note_imports)


def _same_host(settings: dict[str, Any]) -> bool:
    address: str = settings["address"]
    return bool(address) and is_here(settings) and Path(address).exists()


@contextmanager
def _client(settings: dict[str, Any]) -> Iterator[Callable[[], bool]]:
    """Return a function that tells whether the client's process has ended, if that is on this machine."""
    if not is_here(settings):
        yield lambda: False
        return
    with closing(OtherProcess(settings["pid"], settings["born"])) as process:
        yield lambda: process.ended


def _connect(
    settings: dict[str, Any], app: Any, client_ended: Callable[[], bool], *, local: bool
) -> StreamTransport | SocketTransport:
    """Connect to the client by the shortest way that there is."""
    address, identity = settings["address"], settings["identity"]
    if local:
        return StreamTransport(connect_stream(address), identity, client_ended=client_ended)
    if app is None:
        raise RuntimeError(f"the socket of its pool, {address}, is gone")
    scheme, _, path = str(app.connection_info["interface"]).partition("://")
    if address and scheme == "ipc" and (socket := connect_relayed(address, path + POOLS)) is not None:
        return StreamTransport(socket, identity, far=True)
    return _connect_through_controller(settings, app)


def _connector(app: Any) -> Callable[[zmq.Socket[bytes]], Any]:
    """Return what connects a socket to the controller's control queue."""
    connect, _ = app.init_connector()
    info = app.connection_info
    return lambda socket: connect(socket, f"{info['interface']}:{info['control']}")


def _connect_through_controller(settings: dict[str, Any], app: Any) -> SocketTransport:
    import zmq

    socket = app.context.socket(zmq.DEALER)
    socket.linger = 2000
    socket.identity = settings["identity"]
    _connector(app)(socket)
    return SocketTransport(
        socket, settings["identity"], client=settings["client"], signer=Signer(app.session.key)
    )
