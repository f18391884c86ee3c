"""Recognize nbpar's own stack frames, and remove them from tracebacks.

IPython and pytest hide frames with a local `__tracebackhide__`, except the last one.  An error that
nbpar raises on purpose (a wrong option, an unpicklable result) would end in nbpar's code, so
its traceback is cut where the user called nbpar.  An unexpected error of nbpar
keeps every frame, for debugging.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, TypeVar, cast

from nbpar.errors import JournalWarning
from nbpar.host.ctrl_c import last_part, raised_by_statement

F = TypeVar("F", bound=Callable[..., Any])


def is_own(frame: FrameType) -> bool:
    """Whether a frame runs code of nbpar."""
    return _package(frame) == "nbpar"


def first_foreign_frame() -> tuple[FrameType, int]:
    """Return the innermost frame of this thread outside nbpar, and its distance from the caller's."""
    frame, distance = sys._getframe(1), 0  # noqa: SLF001 (as inspect.currentframe, without its None)
    while is_own(frame) and frame.f_back is not None:
        frame, distance = frame.f_back, distance + 1
    return frame, distance


def foreign_part(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without nbpar's frames."""
    kept = []
    while trace is not None:
        if not is_own(trace.tb_frame):
            kept.append(trace)
        trace = trace.tb_next
    short = None
    for part in reversed(kept):
        short = TracebackType(short, part.tb_frame, part.tb_lasti, part.tb_lineno)
    return short


def seen_from(caller: FrameType, error: BaseException) -> BaseException:
    """Return the error with a traceback for the code that called nbpar, without nbpar's frames.

    Args:
        caller: the frame that called nbpar's public function, which reraises the error.
        error: a bug of nbpar keeps its traceback.
    """
    trace = error.__traceback__
    if _is_bug(trace):
        return error
    short = foreign_part(trace)
    named = isinstance(error, SyntaxError)  # it names its own line
    if short is None and not named and not is_own(caller) and (cell := _below_ipython(caller)) is not None:
        short = TracebackType(None, cell, cell.f_lasti, cell.f_lineno)
    return error.with_traceback(short)


def entrance(function: F) -> F:
    """Make a function public: its errors show no frames of nbpar."""

    @functools.wraps(function)
    def enter(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        try:
            return function(*args, **kwargs)
        except SyntaxError as error:
            try:
                raise seen_from(sys._getframe(1), error)  # noqa: SLF001 (see below)
            finally:  # IPython shows all frames of these, hidden ones too; Python 3.10 keeps this one
                error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
        except BaseException as error:  # noqa: BLE001 (raised again)
            raise seen_from(sys._getframe(1), error)  # noqa: B904, SLF001 (the same one; the caller's frame)
        finally:
            del args, kwargs  # the error's traceback refers to this frame, and they may refer to the error

    return cast("F", enter)


def _below_ipython(caller: FrameType) -> FrameType | None:
    """Return the user's frame that called nbpar, directly or by a magic; None if no shell shows errors."""
    frame: FrameType | None = caller
    while frame is not None and _package(frame) == "IPython":
        frame = frame.f_back
    outer = found = frame
    while outer is not None and _package(outer) != "IPython":
        outer = outer.f_back
    return None if outer is None else found


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_bug(trace: TracebackType | None) -> bool:
    """Whether a traceback ends in nbpar without an intended raise."""
    if trace is None:
        return False
    return is_own(last_part(trace).tb_frame) and raised_by_statement(trace) is None


def warn(message: str, category: type[Warning] = JournalWarning) -> None:
    """Issue a warning, by default a JournalWarning, that points at the first frame outside nbpar."""
    _, distance = first_foreign_frame()
    warnings.warn(message, category, stacklevel=distance + 1)
