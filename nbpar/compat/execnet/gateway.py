"""A gateway with execnet's names: one engine."""

from __future__ import annotations

import time
import weakref
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from nbpar.channels.sources import code_of
from nbpar.errors import ChannelError, PoolClosedError
from nbpar.worker.code import Code, FunctionCode
from nbpar.worker.execnet_model import ExecModel
from nbpar.worker.execnet_names import ExecnetFunction, ExecnetText

if TYPE_CHECKING:
    from nbpar.channels.gateway import Gateway as OurGateway
    from nbpar.compat.execnet.channels import Channel
    from nbpar.compat.execnet.group import Group
    from nbpar.compat.execnet.xspec import XSpec

UNBOUNDED = 1 << 40
"""Items and bytes that a sender may be ahead: execnet never makes it wait."""

PATIENCE = 1.0
"""Seconds that code waits for the main thread when it may have no other; execnet's."""

DEADLOCK = "concurrent remote_exec would cause deadlock for main_thread_only execmodel"
"""What it is told then; execnet's words."""

INFORM = """
import os, sys
channel.send(dict(
    executable=sys.executable, version_info=tuple(sys.version_info), platform=sys.platform,
    cwd=os.getcwd(), pid=os.getpid()))
"""


class RInfo(SimpleNamespace):
    """What is known of the other side, as attributes."""

    def __repr__(self) -> str:
        known = ", ".join(f"{name}={value}" for name, value in sorted(vars(self).items()))
        return f"<RInfo {known!r}>"


class Gateway:
    """One engine."""

    def __init__(self, group: Group, inner: OurGateway, spec: XSpec) -> None:
        self.id: str = spec.id
        self.spec = spec
        self.inner = inner
        inner._port.gateway = weakref.ref(self)  # noqa: SLF001 (for channels that come in messages)
        self._group = group
        self._info: RInfo | None = None
        self._exited = False

    @property
    def execmodel(self) -> ExecModel:
        """The model of execution on this side."""
        return self._group.execmodel

    def remote_exec(self, source: Any, **kwargs: Any) -> Channel:
        """Run a text, a function or a module there and return the channel to it.

        The first has the main thread; what comes while it runs gets a thread of its own, or an error
        where the model of execution is "main_thread_only".
        """
        if self._exited:
            raise OSError(f"{self!r} has exited")
        code = code_of(source, kwargs)
        kind = ExecnetFunction if isinstance(code, FunctionCode) else ExecnetText
        if self.spec.execmodel == "main_thread_only" and not self._main_thread_comes_free():
            return self._begin(FunctionCode(_refuse, {}), thread=True)
        return self._begin(kind(*code), thread=self.inner.occupied)

    def newchannel(self) -> Channel:
        """Make a channel without code."""
        channel: Any = self.inner.new_channel()
        return channel.through(self)  # type: ignore[no-any-return]  # likewise

    def exit(self) -> None:
        """End the engine.  May be called twice."""
        if not self._exited:
            self._exited = True
            self._group.let_go(self)

    def remote_status(self) -> RInfo:
        """Return `numchannels`, `numexecuting` and `execmodel`."""
        status = self.inner.remote_status()
        return RInfo(
            numchannels=status.numchannels, numexecuting=status.numexecuting, execmodel=self.spec.execmodel
        )

    def _rinfo(self, update: bool = False) -> RInfo:
        """Return what is known of the interpreter there."""
        if self._info is None or update:
            channel = self.remote_exec(INFORM)
            self._info = RInfo(**channel.receive())
            channel.waitclose()
        return self._info

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

    def __repr__(self) -> str:
        live = "receive-live" if self.hasreceiver() else "not-receiving"
        channels = 0 if self._exited else self.inner.remote_status().numchannels
        return f"<Gateway id={self.id!r} {live}, {self.execmodel.backend} model, {channels} active channels>"

    def _begin(self, code: Code, *, thread: bool) -> Channel:
        channel: Any = self.inner.begin(code, thread=thread, items=UNBOUNDED, nbytes=UNBOUNDED)
        return channel.through(self)  # type: ignore[no-any-return]  # the hub makes them so

    def _main_thread_comes_free(self) -> bool:
        """Wait for what is about to end."""
        deadline = time.monotonic() + PATIENCE
        while self.inner.occupied:
            if time.monotonic() > deadline:
                return False
            time.sleep(PATIENCE / 100)
        return True


def _refuse(channel: Any) -> None:
    channel.close(DEADLOCK)
