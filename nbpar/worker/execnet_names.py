"""A channel with execnet's names and errors, for programs written for execnet, on both sides.

execnet knows `OSError` for what was closed here and `EOFError` for everything that is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nbpar.errors import ChannelBroken, ChannelClosed, ChannelError, EndOfChannel, RemoteError
from nbpar.worker.channel import NO_END_MARKER, Channel
from nbpar.worker.channel_file import ChannelReader, ChannelWriter
from nbpar.worker.code import FunctionCode, TextCode
from nbpar.worker.execnet_model import ExecModel


class ExecnetNames(Channel):
    """What both sides add to a channel."""

    RemoteError = RemoteError
    TimeoutError = TimeoutError

    @property
    def id(self) -> int:
        """Its number."""
        return self._end.number

    def send(self, item: Any, timeout: float | None = None) -> None:
        """Send an item; OSError when the channel is closed."""
        with _as_oserror():
            super().send(item, timeout)

    def receive(self, timeout: float | None = None) -> Any:
        """Return the next item; EOFError when there is none any more."""
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
        """Whether nothing can be sent any more; items may still be there."""
        return self._end.closed or self._end.gone

    def waitclose(self, timeout: float | None = None) -> None:
        """Wait until the other side has closed it; EOFError when that died."""
        with _as_eof():
            self.wait_closed(timeout)

    def _getremoteerror(self) -> BaseException | None:
        """Return what went wrong at the other side, once; pytest-xdist asks for it."""
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
        """Close it, with an error for the other side if there is one."""
        if self._end.runs_code and error is None:
            raise OSError(f"cannot explicitly close {self!r} within remote_exec")
        super().close(error)

    def setcallback(self, callback: Callable[[Any], object], endmarker: Any = NO_END_MARKER) -> None:
        """Have a function called with every item."""
        try:
            self.set_callback(callback, endmarker)
        except ChannelClosed:  # what had come may still be there
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


class ExecnetChannel(ExecnetNames):
    """The worker's side."""

    @property
    def gateway(self) -> WorkerGateway:
        """What the worker knows of its gateway."""
        return WorkerGateway(self)


class WorkerGateway:
    """The gateway as the worker sees it."""

    execmodel = ExecModel("thread")

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def newchannel(self) -> Channel:
        """Make another channel."""
        return self._channel.new_channel()


class ExecnetFunction(FunctionCode):
    """A function that expects execnet's channel."""

    channel_class = ExecnetChannel


class ExecnetText(TextCode):
    """A text that expects execnet's channel."""

    channel_class = ExecnetChannel


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
