"""Every exception that nbpar raises of its own.

What a user's function raises keeps its type and is not listed here: it arrives with a
note that names the item.
"""

from __future__ import annotations

import pickle
from types import TracebackType


class NbparError(Exception):
    """Base of nbpar's own errors."""


class ClusterError(NbparError):
    """A cluster could not be started, joined or kept."""


class PoolClosedError(NbparError):
    """The pool was closed; it takes no new work."""

    def __init__(self, message: str = "the pool is closed; make a new one with nbpar.Pool(...)") -> None:
        super().__init__(message)


class NoWorkersError(NbparError):
    """Every worker is gone and none will come."""


class PicklingError(NbparError, pickle.PicklingError):
    """Something cannot travel to or from the workers; the message names it."""


class RemoteError(NbparError):
    """A remote exception that cannot be raised here as itself; the message carries its text.

    Attributes:
        formatted: the remote traceback as text.
    """

    def __init__(self, message: str, formatted: str = "") -> None:
        super().__init__(message)
        self.formatted = formatted

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.args[0], self.formatted)


class ItemExitedError(NbparError):
    """A function tried to end its worker (`sys.exit`, or it raised `KeyboardInterrupt` itself)."""


class ItemTimeoutError(NbparError, TimeoutError):
    """An item took longer than its `timeout`."""


class WrongNumberError(NbparError, ValueError):
    """A function of a batch returned another number of results than it got items."""


class WorkerDied(NbparError):  # noqa: N818 (the name users know)
    """An item's worker died while it ran.

    Attributes:
        index: place of the item in the input.
        item: the item itself.
        reason: what is known of the death, for example "killed by SIGKILL".
        memory: resident bytes of the worker when it was last seen; None when that is not known.
    """

    def __init__(
        self,
        message: str,
        index: int | None = None,
        item: object = None,
        reason: str = "",
        memory: int | None = None,
    ) -> None:
        super().__init__(message)
        self.index = index
        self.item = item
        self.reason = reason
        self.memory = memory

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.args[0], self.index, self.item, self.reason, self.memory)


class JournalError(NbparError):
    """A journal (`resume=`) cannot be used; the message says why and what to do."""


class JournalWarning(UserWarning):
    """Results of a journal are not used: what made them has changed, or its file is damaged."""


class ChannelError(NbparError):
    """Base of what channels raise of their own, but for errors of the code at the other end."""


class ChannelClosed(ChannelError):  # noqa: N818 (the name users know)
    """You closed this channel before."""


class ChannelBroken(ChannelError):  # noqa: N818 (likewise)
    """The worker at the other end of the channel died, or was let go."""


class EndOfChannel(ChannelError, EOFError):  # noqa: N818 (likewise)
    """The other side is done: nothing more comes, and nobody takes what is sent."""


class CodeInterrupted(ChannelError):  # noqa: N818 (likewise)
    """The code of a channel was stopped, by Ctrl-C or `interrupt`; the cause of a `RemoteError`.

    It had a `KeyboardInterrupt`, which must not end the program of the one who is told.
    """


class GatewayBusy(ChannelError):  # noqa: N818 (likewise)
    """Code already runs in the worker's main thread, and `busy="raise"` was asked for."""


class StaleModuleWarning(UserWarning):
    """An engine computes with another version of a module than this process."""


class RemoteTraceback(Exception):  # noqa: N818 (a cause that carries text, never raised)
    """Text of what happened on a worker, where a front end would not show it otherwise."""

    def __str__(self) -> str:
        return "\n" + str(self.args[0])


class StoppedError(KeyboardInterrupt):
    """The run was stopped; finished results are kept in `nbpar.last_run.results()`."""

    def _render_traceback_(self) -> list[str]:
        """Show the user's own frames, as IPython asks for them: where nbpar waited tells nothing."""
        from IPython import get_ipython

        trace = _before_nbpar(self.__traceback__)
        lines: list[str] = get_ipython().InteractiveTB.structured_traceback(type(self), self, trace)
        return lines


def _before_nbpar(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without its end: nbpar, what that calls, and what of IPython leads there."""
    frames: list[TracebackType] = []
    while trace is not None and _package(trace) != "nbpar":
        frames.append(trace)
        trace = trace.tb_next
    while len(frames) > 1 and _package(frames[-1]) == "IPython":
        frames.pop()
    short = None
    for frame in reversed(frames):
        short = TracebackType(short, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return short


def _package(trace: TracebackType) -> str:
    return str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
