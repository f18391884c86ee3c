"""A gateway with execnet's names: one engine."""

from __future__ import annotations

import time
import weakref
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

from nbpar.channels.sources import code_of, standing_alone
from nbpar.compat.execnet.elsewhere import Admitting
from nbpar.endpoint.code import Code, FunctionCode, TextCode
from nbpar.endpoint.execnet import ChannelFactory, ExecModel, ExecnetFunction, ExecnetText, Trace, message_of
from nbpar.errors import ChannelError, PoolClosedError

if TYPE_CHECKING:
    from nbpar.channels.gateway import Gateway as OurGateway
    from nbpar.compat.execnet.channels import Channel
    from nbpar.compat.execnet.xspec import XSpec

UNBOUNDED = 1 << 40
"""Items and bytes that a sender may be ahead: execnet never makes it wait."""

PATIENCE = 1.0
"""Seconds that code waits for the main thread when it may have no other; execnet's."""

DEADLOCK = "concurrent remote_exec would cause deadlock for main_thread_only execmodel"
"""The message in that case, in execnet's words."""

TEXT = "<remote exec>"
"""File name of source code in tracebacks, as in execnet."""

INFORM = """
import os, sys
channel.send(dict(
    executable=sys.executable, version_info=tuple(sys.version_info), platform=sys.platform,
    cwd=os.getcwd(), pid=os.getpid()))
"""


class RInfo(SimpleNamespace):
    """Facts of the other side, as attributes."""

    def __repr__(self) -> str:
        known = ", ".join(f"{name}={value}" for name, value in sorted(vars(self).items()))
        return f"<RInfo {known!r}>"


RemoteStatus = RInfo


class Owner(Protocol):
    """The part of a group that a gateway uses."""

    @property
    def execmodel(self) -> ExecModel:
        """The model of execution on this side."""

    def let_go(self, gateway: Gateway) -> None:
        """End the gateway's engine."""


class Gateway(metaclass=Admitting):
    """One engine; execnet's own gateways in a group count as instances too."""

    on_engine = True

    def __init__(self, group: Owner, inner: OurGateway, spec: XSpec, trace: Trace | None = None) -> None:
        self.id: str = spec.id
        self.spec = spec
        self.inner = inner
        inner._port.gateway = weakref.ref(self)  # noqa: SLF001 (for channels that come in messages)
        self._group = group
        self._cache_rinfo: RInfo | None = None
        self._exited = False
        self._trace_to = trace
        self._channelfactory = ChannelFactory(self, inner._port)  # noqa: SLF001 (of our own)

    @property
    def execmodel(self) -> ExecModel:
        """The model of execution on this side."""
        return self._group.execmodel

    def remote_exec(self, source: Any, **kwargs: Any) -> Channel:
        """Run source code, a function or a module there and return a channel to it.

        The first runs in the main thread; code started meanwhile gets a thread of its own, or an error
        if the execution model is "main_thread_only".
        """
        if self._exited:
            raise OSError(f"{self!r} has exited")
        code = code_of(source, kwargs)
        if isinstance(source, str) and isinstance(code, TextCode):
            code = code._replace(filename=TEXT)
        if isinstance(code, FunctionCode):
            code = code._replace(function=standing_alone(code.function, renamed=True))
        kind = ExecnetFunction if isinstance(code, FunctionCode) else ExecnetText
        if self.spec.execmodel == "main_thread_only" and not self._main_thread_comes_free():
            return self._begin(FunctionCode(_refuse, {}), thread=True)
        channel = self._begin(kind(*code), thread=self.inner.occupied)
        self._trace("sent", message_of("CHANNEL_EXEC", channel.id, source))
        return channel

    def newchannel(self) -> Channel:
        """Make a channel without code."""
        channel: Any = self.inner.new_channel()
        return channel.through(self)  # type: ignore[no-any-return]  # likewise

    def exit(self) -> None:
        """End the engine.  Idempotent."""
        if self.note_exit():
            self._group.let_go(self)

    def note_exit(self) -> bool:
        """Do nothing from now on; whether that is new."""
        self._trace("gateway.exit() called")
        exited, self._exited = self._exited, True
        return not exited

    def remote_status(self) -> RInfo:
        """Return `numchannels`, `numexecuting` and `execmodel`."""
        status = self.inner.remote_status()
        return RInfo(
            numchannels=status.numchannels, numexecuting=status.numexecuting, execmodel=self.spec.execmodel
        )

    def _rinfo(self, update: bool = False) -> RInfo:
        """Return the facts of the interpreter there."""
        if self._cache_rinfo is None or update:
            channel = self.remote_exec(INFORM)
            self._cache_rinfo = RInfo(**channel.receive())
            channel.waitclose()
        return self._cache_rinfo

    def hasreceiver(self) -> bool:
        """Whether it is alive."""
        try:
            return not self._exited and self.inner.remote_status().here
        except (ChannelError, PoolClosedError):
            return False

    def join(self, timeout: float | None = None) -> None:
        """Return when it has exited; it has when `exit` returns."""

    def reconfigure(self, py2str_as_py3str: bool = True, py3str_as_py2str: bool = False) -> None:
        """Do nothing: there is no Python 2 at the other end."""

    def remote_init_threads(self, num: int | None = None) -> None:  # noqa: ARG002 (execnet's)
        """Do nothing, with execnet's warning: threads are created on demand."""
        print("WARNING: remote_init_threads() is a no-operation in execnet-1.2")  # noqa: T201 (execnet does)

    @property
    def remoteaddress(self) -> str:
        """Address of a gateway of `ssh=` or `socket=`; engines have none, as with execnet's `popen`."""
        raise AttributeError(
            f"{self!r} is on this host; only gateways of ssh= and socket= have a remoteaddress"
        )

    def _trace(self, *message: object) -> None:
        if self._trace_to is not None:
            self._trace_to(self.id, *message)

    def __repr__(self) -> str:
        live = "receive-live" if self.hasreceiver() else "not-receiving"
        channels = 0 if self._exited else self.inner.remote_status().numchannels
        return f"<Gateway id={self.id!r} {live}, {self.execmodel.backend} model, {channels} active channels>"

    def _begin(self, code: Code, *, thread: bool) -> Channel:
        channel: Any = self.inner.begin(code, thread=thread, items=UNBOUNDED, nbytes=UNBOUNDED)
        return channel.through(self)  # type: ignore[no-any-return]  # the hub makes them so

    def _main_thread_comes_free(self) -> bool:
        """Wait for code that is about to end."""
        deadline = time.monotonic() + PATIENCE
        while self.inner.occupied:
            if time.monotonic() > deadline:
                return False
            time.sleep(PATIENCE / 100)
        return True


def _refuse(channel: Any) -> None:
    channel.close(DEADLOCK)
