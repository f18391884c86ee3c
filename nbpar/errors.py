"""All exceptions and warnings of nbpar.

Exceptions of a user's function keep their type and are not listed here: they arrive with a
note that names the item.
"""

from __future__ import annotations

import pickle
from types import TracebackType


class NbparError(Exception):
    """Base of nbpar's own errors."""


class ClusterError(NbparError):
    """A cluster could not be started, joined or kept."""


class PoolClosedError(NbparError, RuntimeError):
    """The pool was closed; it accepts no new work.

    It is also a RuntimeError, which executors raise after `shutdown`.
    """

    def __init__(self, message: str = "the pool is closed; make a new one with nbpar.Pool(...)") -> None:
        super().__init__(message)


class InternalError(NbparError):
    """A run could not be handled: by a bug of nbpar's own, which the message shows, or for lack of memory."""


class NoWorkersError(NbparError):
    """Every worker is gone and none will come."""


class PicklingError(NbparError, pickle.PicklingError):
    """An object cannot be serialized for or by the workers; the message names it."""


class MissingPackagesError(NbparError, ModuleNotFoundError):
    """A worker's Python lacks packages that the function imports."""


class RemoteError(NbparError):
    """A remote exception that cannot be recreated in this process; the message has its text.

    Attributes:
        formatted: the remote traceback as text.
        kinds: names of its type and of the types that this one inherits from, with their modules:
            `("httpx.HTTPStatusError", "httpx.HTTPError")`.
    """

    def __init__(self, message: str, formatted: str = "", kinds: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.formatted = formatted
        self.kinds = kinds

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.args[0], self.formatted, self.kinds)


class ItemExitedError(NbparError):
    """A function tried to end its worker (`sys.exit`, `KeyboardInterrupt`), or interrupted it."""


class InputExitedError(NbparError):
    """The iterable that a run reads tried to end the program (`sys.exit`, or the like)."""


class ItemTimeoutError(NbparError, TimeoutError):
    """An item took longer than its `timeout`."""


class SkippedError(NbparError):
    """An item was let go, by `run.skip` or the ✕ of its lane, while its run went on."""


class WrongNumberError(NbparError, ValueError):
    """A function of a batch returned another number of results than it got items."""


class WorkerDied(NbparError):  # noqa: N818 (the name users know)
    """An item's worker died while it ran.

    Attributes:
        index: place of the item in the input.
        item: the item itself.
        reason: the cause of death, for example "killed by SIGKILL".
        memory: resident bytes of the worker when it was last measured; None if unknown.
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
    """A journal (`resume=`) cannot be used; the message has the reason and the remedy."""


class JournalWarning(UserWarning):
    """Stored results are not used, because the function has changed or the journal's file is damaged."""


class ChannelError(NbparError):
    """Base of the errors of channels, except those of the code at the other end."""


class ChannelClosed(ChannelError):  # noqa: N818 (the name users know)
    """You closed this channel before."""


class ChannelBroken(ChannelError):  # noqa: N818 (likewise)
    """The worker at the other end of the channel died or was released."""


class EndOfChannel(ChannelError, EOFError):  # noqa: N818 (likewise)
    """The other side is done: it sends nothing more and does not receive."""


class CodeInterrupted(ChannelError):  # noqa: N818 (likewise)
    """The code of a channel was stopped, by Ctrl-C or `interrupt`; the cause of a `RemoteError`.

    The code itself gets a `KeyboardInterrupt`, which must not end this program.
    """


class GatewayBusy(ChannelError):  # noqa: N818 (likewise)
    """Other code occupies the worker's main thread, and `busy="raise"` was given."""


class LostChangeWarning(UserWarning):
    """Changes by items to captured objects stay on the workers; the message names them."""


class StaleModuleWarning(UserWarning):
    """An engine computes with another version of a module than this process."""


class PackageVersionWarning(UserWarning):
    """A worker's Python has other versions of packages that the function imports."""


class StrayExceptionWarning(RuntimeWarning):
    """Something that an earlier item has left behind raised an exception into a worker between two items."""


class BlockedLoopWarning(RuntimeWarning):
    """An item of an async function computes, or waits without `await`: it holds up others on its worker."""


class RemoteTraceback(Exception):  # noqa: N818 (a cause that carries text, never raised)
    """Text of a remote traceback, for front ends that would not show it otherwise."""

    def __str__(self) -> str:
        return "\n" + str(self.args[0])


class StoppedError(KeyboardInterrupt):
    """The run was stopped; finished results are kept in `nbpar.last_run.results()`."""

    def _render_traceback_(self) -> list[str]:
        """Return the user's own frames, for IPython: those of nbpar's waiting are irrelevant."""
        from IPython import get_ipython

        trace = _before_nbpar(self.__traceback__)
        lines: list[str] = get_ipython().InteractiveTB.structured_traceback(type(self), self, trace)
        return lines


def _before_nbpar(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without its end: frames of nbpar, of its callees, and of IPython leading there."""
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


WAITS_FOR_ITSELF = (
    "waiting here would last for ever: this code runs in the thread that hands out the pool's work, as "
    "everything does that unpickles a result; wait inside the function, or use another pool"
)
