"""A gateway with execnet's names: one engine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from nbpar.channels.sources import code_of
from nbpar.errors import ChannelError, PoolClosedError
from nbpar.worker.code import FunctionCode
from nbpar.worker.execnet_names import ExecnetFunction, ExecnetText

if TYPE_CHECKING:
    from nbpar.channels.gateway import Gateway as OurGateway
    from nbpar.compat.execnet.channels import Channel
    from nbpar.compat.execnet.group import Group
    from nbpar.compat.execnet.xspec import XSpec

UNBOUNDED = 1 << 40
"""Items and bytes that a sender may be ahead: execnet never makes it wait."""

INFORM = """
import os, sys
channel.send(dict(
    executable=sys.executable, version_info=tuple(sys.version_info), platform=sys.platform,
    cwd=os.getcwd(), pid=os.getpid()))
"""


class Gateway:
    """One engine."""

    def __init__(self, group: Group, inner: OurGateway, spec: XSpec) -> None:
        self.id: str = spec.id
        self.spec = spec
        self.remoteaddress: str | None = None
        self._group = group
        self.inner = inner
        self._info: SimpleNamespace | None = None
        self._exited = False

    def remote_exec(self, source: Any, **kwargs: Any) -> Channel:
        """Run a text, a function or a module there and return the channel to it.

        The first has the main thread; what comes while it runs gets a thread of its own.
        """
        if self._exited:
            raise OSError(f"{self!r} has exited")
        code = code_of(source, kwargs)
        kind = ExecnetFunction if isinstance(code, FunctionCode) else ExecnetText
        channel: Any = self.inner.begin(
            kind(*code), thread=self.inner.occupied, items=UNBOUNDED, nbytes=UNBOUNDED
        )
        return channel  # type: ignore[no-any-return]  # the hub makes them so

    def newchannel(self) -> Channel:
        """Make a channel without code."""
        channel: Any = self.inner.new_channel()
        return channel  # type: ignore[no-any-return]  # likewise

    def exit(self) -> None:
        """End the engine.  May be called twice."""
        if not self._exited:
            self._exited = True
            self._group.let_go(self)

    def remote_status(self) -> Any:
        """Return `numchannels`, `numexecuting` and `execmodel`."""
        status = self.inner.remote_status()
        return SimpleNamespace(
            numchannels=status.numchannels, numexecuting=status.numexecuting, execmodel="thread"
        )

    def _rinfo(self, update: bool = False) -> SimpleNamespace:
        """Return what is known of the interpreter there."""
        if self._info is None or update:
            self._info = SimpleNamespace(**self.remote_exec(INFORM).receive())
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
        state = "not " if self._exited else ""
        return f"<Gateway id={self.id!r} {state}receive-live>"
