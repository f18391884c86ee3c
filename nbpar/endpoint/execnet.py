"""Channels with execnet's names and errors, on both sides.

execnet raises `OSError` for channels closed on this side and `EOFError` for all other ends.
"""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from nbpar.endpoint.channel import NO_END_MARKER, Channel
from nbpar.endpoint.channel_file import ChannelReader, ChannelWriter
from nbpar.endpoint.code import FunctionCode, TextCode, settle
from nbpar.errors import ChannelBroken, ChannelClosed, ChannelError, EndOfChannel, RemoteError
from nbpar.wire.faults import describe
from nbpar.wire.messages import Close

MODELS = ("thread", "main_thread_only", "eventlet", "gevent")
"""Names of execnet's models; all of them are threads here."""


class ExecModel:
    """The interface of execnet's class of this name."""

    queue = queue
    subprocess = subprocess
    socket = socket
    sleep = staticmethod(time.sleep)
    get_ident = staticmethod(threading.get_ident)
    Lock = RLock = staticmethod(threading.RLock)
    Event = staticmethod(threading.Event)

    def __init__(self, backend: str) -> None:
        self.backend = backend

    def start(self, func: Callable[..., object], args: tuple[Any, ...] = ()) -> None:
        """Call a function in a new thread."""
        threading.Thread(target=func, args=args, daemon=True).start()

    def fdopen(self, fd: int, mode: str, bufsize: int = 1, closefd: bool = True) -> Any:
        """Open a file descriptor as a text file."""
        return os.fdopen(fd, mode, bufsize, encoding="utf-8", closefd=closefd)

    def __repr__(self) -> str:
        return f"<ExecModel {self.backend!r}>"


def exec_model(backend: str | ExecModel) -> ExecModel:
    """Return the model of this name.

    Raises:
        ValueError: execnet has none of that name.
    """
    if isinstance(backend, ExecModel):
        return backend
    if backend not in MODELS:
        raise ValueError(f"unknown execution model {backend!r}; execnet's are {', '.join(MODELS)}")
    return ExecModel(backend)


Trace = Callable[..., None]

DEBUG = "EXECNET_DEBUG"
"""Environment variable that enables a trace: "2" to stderr, any other value to a file per process."""


class ChannelFactory:
    """The channels of a gateway, for programs that use execnet's factory of this name."""

    def __init__(self, gateway: Any, port: Any) -> None:
        self.gateway = gateway
        self._port = port

    @property
    def _channels(self) -> dict[int, Any]:
        """Open, referenced channels, by number."""
        ends = [end for end in list(self._port._ends.values()) if not (end.closed or end.over)]  # noqa: SLF001 (of our kind)
        held = {end.number: end.handle() for end in ends if end.handle is not None}
        return {number: channel for number, channel in held.items() if channel is not None}

    def channels(self) -> list[Any]:
        """Return the open channels."""
        return list(self._channels.values())

    def new(self, id: int | None = None) -> Any:  # noqa: A002 (execnet's word)
        """Return a new channel, or the one of a number."""
        return self.gateway.newchannel() if id is None else self._port.channel(id)

    def _local_close(self, id: int, remoteerror: Any = None, sendonly: bool = False) -> None:  # noqa: A002 (likewise)
        """Close a channel locally as if the other side had closed it."""
        if (end := self._port._ends.get(id)) is not None:  # noqa: SLF001 (likewise)
            end.take(Close(id, sendonly, None if remoteerror is None else describe(remoteerror)))


class WorkerGateway:
    """The gateway as the worker sees it; a worker has one."""

    id = "<worker>"
    execmodel = ExecModel("thread")
    trace_to: Trace | None = None

    def __init__(self, port: Any) -> None:
        self._port = port
        self._channelfactory = ChannelFactory(self, port)

    def newchannel(self) -> Any:
        """Make another channel."""
        with self._port.guard:
            return self._port.new_channel()

    def _trace(self, *message: object) -> None:
        if self.trace_to is not None:
            self.trace_to(self.id, *message)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} id={self.id!r}, {self.execmodel.backend} model>"


def worker_gateway(port: Any) -> WorkerGateway:
    """Return the gateway of a worker's channels; always the same one."""
    made: WorkerGateway | None = getattr(port, "execnet_gateway", None)
    if made is None:
        made = port.execnet_gateway = WorkerGateway(port)
    return made


def settle_gateway(
    channel: Any,
    *,
    name: str,
    execmodel: str,
    debug: str | None,
    dont_write_bytecode: bool,
    surroundings: dict[str, Any],
) -> None:
    """Make this worker the other side of a gateway of this name, and apply its spec."""
    WorkerGateway.id, WorkerGateway.execmodel = f"{name}-worker", ExecModel(execmodel)
    if dont_write_bytecode:
        sys.dont_write_bytecode = True
    if debug:
        os.environ[DEBUG] = debug
        trace = tracer(debug)
        WorkerGateway.trace_to = staticmethod(trace)
        trace(f"creating workergateway on {channel!r}")
    settle(channel, **surroundings)


def tracer(debug: str) -> Trace:
    """Return a function that writes lines of a trace, in execnet's way for this value of `EXECNET_DEBUG`."""
    if debug == "2":
        return _to_stderr
    file = (Path(tempfile.gettempdir()) / f"execnet-debug-{os.getpid()}").open("a", encoding="utf-8")

    def to_file(*message: object) -> None:
        file.write(" ".join(map(str, message)) + "\n")
        file.flush()

    return to_file


def message_of(kind: str, number: int, content: object) -> str:
    """Return the name of a message in traces."""
    return f"<Message.{kind} channelid={number} {repr(content)[:50]}>"


def _to_stderr(*message: object) -> None:
    sys.stderr.write(f"[{os.getpid()}] {' '.join(map(str, message))}\n")
    sys.stderr.flush()


class ExecnetNames(Channel):
    """Execnet's names, which both sides add to a channel."""

    RemoteError = RemoteError
    TimeoutError = TimeoutError

    @property
    def id(self) -> int:
        """Its number."""
        return self._end.number

    def send(self, item: Any, timeout: float | None = None) -> None:
        """Send an item; OSError if the channel is closed."""
        with _as_oserror():
            super().send(item, timeout)

    def receive(self, timeout: float | None = None) -> Any:
        """Return the next item; EOFError if there are no more."""
        if self._end.callback is not None:
            raise OSError(f"cannot receive(), channel {self.id} has a receiver callback")
        with _as_eof():
            return super().receive(timeout)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self.receive()
        except EOFError:
            raise StopIteration from None

    next = __next__

    def isclosed(self) -> bool:
        """Whether sending is over; items may still be received."""
        return self._end.closed or self._end.gone

    def waitclose(self, timeout: float | None = None) -> None:
        """Wait until the other side has closed it; EOFError if that died."""
        with _as_eof():
            self.wait_closed(timeout)

    def _getremoteerror(self) -> BaseException | None:
        """Return the other side's error, once; pytest-xdist calls this."""
        try:
            self._end.await_over(0.0)
        except TimeoutError:
            return None
        except ChannelBroken as error:
            return EOFError(str(error))
        except RemoteError as error:
            return error
        return None

    def close(self, error: str | BaseException | None = None) -> None:
        """Close it, optionally with an error for the other side."""
        if self._end.runs_code and error is None:
            raise OSError(f"cannot explicitly close {self!r} within remote_exec")
        super().close(error)

    def setcallback(self, callback: Callable[[Any], object], endmarker: Any = NO_END_MARKER) -> None:
        """Call a function with every item."""
        try:
            self.set_callback(callback, endmarker)
        except ChannelClosed:  # received items may still be there
            if endmarker is not NO_END_MARKER:
                callback(endmarker)
        except ChannelError as error:
            raise OSError(f"{self!r} has a callback already") from error

    def makefile(self, mode: str = "w", proxyclose: bool = False) -> ChannelWriter | ChannelReader:
        """Return a file; closing it closes the channel if `proxyclose`."""
        if mode not in ("w", "r"):
            raise ValueError(f"mode {mode!r} not available")
        kind = ChannelWriter if mode == "w" else ChannelReader
        return kind(self, close_channel=proxyclose)

    def reconfigure(self, py2str_as_py3str: bool = True, py3str_as_py2str: bool = False) -> None:
        """Do nothing: there is no Python 2 at the other end."""

    def __repr__(self) -> str:
        return f"<Channel id={self.id} {'closed' if self.isclosed() else 'open'}>"


class TracedNames(ExecnetNames):
    """A channel that writes its operations into execnet's trace."""

    def send(self, item: Any, timeout: float | None = None) -> None:
        super().send(item, timeout)
        self._trace("sent", "CHANNEL_DATA", item)

    def receive(self, timeout: float | None = None) -> Any:
        item = super().receive(timeout)
        self._trace("received", "CHANNEL_DATA", item)
        return item

    def setcallback(self, callback: Callable[[Any], object], endmarker: Any = NO_END_MARKER) -> None:
        def traced(item: Any) -> object:
            self._trace("received", "CHANNEL_DATA", item)
            return callback(item)

        super().setcallback(traced, endmarker)

    def close(self, error: str | BaseException | None = None) -> None:
        super().close(error)
        self._trace("sent", "CHANNEL_CLOSE" if error is None else "CHANNEL_CLOSE_ERROR", error or "")

    def _trace(self, what: str, kind: str, content: object) -> None:
        gateway: Any = self.gateway  # type: ignore[attr-defined]  # both sides have one
        gateway._trace(what, message_of(kind, self.id, content))  # noqa: SLF001 (of our own kind)


class ExecnetChannel(ExecnetNames):
    """The worker's side."""

    @property
    def gateway(self) -> WorkerGateway:
        """The worker's view of its gateway."""
        return worker_gateway(self._end.port)


class TracedExecnetChannel(TracedNames, ExecnetChannel):
    """The worker's side, with a trace."""


class ExecnetFunction(FunctionCode):
    """A function that expects execnet's channel."""

    @property
    def channel_class(self) -> type[Channel]:
        """The class of its channel."""
        return _channel_class()

    def around(self, channel: Any) -> AbstractContextManager[None]:
        """Trace its start and end."""
        return _traced(channel, self.function)


class ExecnetText(TextCode):
    """Source code that expects execnet's channel."""

    @property
    def channel_class(self) -> type[Channel]:
        """The class of its channel."""
        return _channel_class()

    def around(self, channel: Any) -> AbstractContextManager[None]:
        """Trace its start and end."""
        return _traced(channel, self.text)


def _channel_class() -> type[Channel]:
    return ExecnetChannel if WorkerGateway.trace_to is None else TracedExecnetChannel


@contextmanager
def _traced(channel: Any, source: object) -> Iterator[None]:
    trace = channel.gateway._trace  # noqa: SLF001 (of our own kind)
    trace("received", message_of("CHANNEL_EXEC", channel.id, source))
    trace(f"execution starts[{channel.id}]: {repr(source)[:50]}")
    try:
        yield
    except BaseException as error:
        trace(f"got exception: {error!r}")
        raise
    finally:
        trace("execution finished")


@contextmanager
def _as_oserror() -> Iterator[None]:
    try:
        yield
    except (ChannelClosed, ChannelBroken, EndOfChannel, RemoteError) as error:
        new = OSError(f"cannot send to a closed channel: {error}")
        new.channel = getattr(error, "channel", None)  # type: ignore[attr-defined]  # whose end it is
        raise new from error


@contextmanager
def _as_eof() -> Iterator[None]:
    try:
        yield
    except (ChannelClosed, ChannelBroken, EndOfChannel) as error:
        new = EOFError(str(error))
        new.channel = getattr(error, "channel", None)  # type: ignore[attr-defined]  # whose end it is
        raise new from error
