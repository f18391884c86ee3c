"""An exception on its way from a worker to the client.

The exception itself travels as a pickle of its own, so that it arrives with its type; its
text and frames travel as plain data, so that something arrives in any case.
"""

from __future__ import annotations

import ast
import os
import pickle
import traceback
from itertools import islice
from types import FrameType, TracebackType
from typing import NamedTuple

import cloudpickle

from nbpar.errors import ItemExitedError, RemoteError
from nbpar.wire.diagnosis import explain, explain_unpickling

Span = tuple[int, int, int]
"""Last line, first and last column of what failed; columns are 0 where Python does not know them."""

Frames = tuple[tuple[str, str, int, int, Span], ...]
"""File, function, line, the function's first line, and span, of each frame; outermost first."""

_PACKAGE = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 (shipped modules are no files)
LIBRARY = tuple(os.path.join(_PACKAGE, folder) + os.sep for folder in ("core", "wire", "worker", "backends"))  # noqa: PTH118

FRAMES = 40
"""Frames of a traceback that travel: after a recursion, the outermost and the innermost."""


class Fault(NamedTuple):
    """What a worker tells of an exception."""

    payload: bytes | BaseException | None
    """The exception: pickled, or itself when it stays in this process; None when it cannot travel."""

    kind: str
    """Name of its type."""

    message: str
    """Its text."""

    frames: Frames
    """Where it was raised, without library frames."""

    text: str
    """The whole traceback, causes included."""

    trouble: str = ""
    """Why `payload` is None."""


def describe(error: BaseException, *, here: bool = False) -> Fault:
    """Prepare an exception for the way; with `here` it stays in this process as it is."""
    frames = _frames_of(error.__traceback__)
    error = _harmless(error)
    payload: bytes | BaseException | None = error
    trouble = ""
    if not here:
        payload, trouble = _pickled(error)
    return Fault(payload, type(error).__qualname__, _text_of(error), frames, _format(error), trouble)


def restore(fault: Fault) -> BaseException:
    """Rebuild the exception, with a traceback that shows the worker's frames."""
    if isinstance(fault.payload, BaseException):
        return fault.payload
    trouble = fault.trouble
    if fault.payload is not None:
        try:
            error = pickle.loads(fault.payload)
            if isinstance(error, BaseException):
                return error.with_traceback(_traceback_from(fault.frames))
            trouble = f"it became a {type(error).__name__} here"
        except Exception as problem:  # noqa: BLE001 (any user code may run here)
            trouble = explain_unpickling(problem, what=f"the exception {fault.kind}")
    stand_in = RemoteError(f"{fault.kind}: {fault.message}\n({trouble})", fault.text)
    return stand_in.with_traceback(_traceback_from(fault.frames))


def _harmless(error: BaseException) -> BaseException:
    """Replace what would end the client's own program."""
    if isinstance(error, SystemExit):
        code = "" if error.code is None else repr(error.code)
        new: BaseException = ItemExitedError(
            f"it called sys.exit({code}); a worker is left by `return` or by raising an exception"
        )
    elif isinstance(error, (KeyboardInterrupt, GeneratorExit)):
        new = ItemExitedError(f"it raised {type(error).__name__}, which only the one who waits may do")
    else:
        return error
    return new.with_traceback(error.__traceback__)


def _pickled(error: BaseException) -> tuple[bytes | None, str]:
    what = f"the exception {type(error).__qualname__}"
    try:
        payload: bytes = cloudpickle.dumps(error, 5)
    except Exception as problem:  # noqa: BLE001 (any user code may run here)
        return None, explain(error, problem, what=what)
    try:
        pickle.loads(payload)
    except Exception as problem:  # noqa: BLE001 (likewise)
        return None, explain_unpickling(problem, what=what)
    return payload, ""


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 (a broken __str__ must not hide the error)
        return "<its text could not be made>"


def _is_library(filename: str) -> bool:
    return filename.startswith(LIBRARY)


def _frames_of(tb: TracebackType | None) -> Frames:
    frames = []
    while tb is not None:
        code = tb.tb_frame.f_code
        if not _is_library(code.co_filename):
            line = tb.tb_lineno or code.co_firstlineno
            frames.append((code.co_filename, code.co_name, line, code.co_firstlineno, _span(tb, line)))
        tb = tb.tb_next
    return tuple(frames if len(frames) <= FRAMES else [*frames[: FRAMES // 2], *frames[-FRAMES // 2 :]])


def _span(tb: TracebackType, line: int) -> Span:
    all_positions = getattr(tb.tb_frame.f_code, "co_positions", None)
    if all_positions is None:  # Python 3.10
        return line, 0, 0
    positions = islice(all_positions(), tb.tb_lasti // 2, None)
    _, end, first, last = next(positions, (None, None, None, None))
    return (line, 0, 0) if end is None or first is None or last is None else (end, first, last)


def _format(error: BaseException) -> str:
    try:
        trimmed = _trim(error.__traceback__)
        return "".join(traceback.format_exception(type(error), error, trimmed))
    except Exception:  # noqa: BLE001 (a broken exception must not hide itself)
        return f"{type(error).__qualname__}: {_text_of(error)}\n"


def _trim(tb: TracebackType | None) -> TracebackType | None:
    """Leave out the frames of the worker loop, which come first."""
    while tb is not None and _is_library(tb.tb_frame.f_code.co_filename):
        tb = tb.tb_next
    return tb


def _traceback_from(frames: Frames) -> TracebackType | None:
    """Make a traceback object that shows frames of another process."""
    trace: TracebackType | None = None
    for filename, name, line, first, span in reversed(frames):
        frame, step = _frame_at(filename, name, line, min(first, line), span)
        trace = TracebackType(trace, frame, step, line)
    return trace


def _frame_at(filename: str, name: str, line: int, first: int, span: Span) -> tuple[FrameType, int]:
    """Make a frame that has failed at a line of a function that begins at `first`, and at which step.

    Both lines matter: IPython finds those around the one that failed by the distance.
    """
    tree = ast.parse("1 / 0")
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt | ast.expr):
            node.lineno, node.end_lineno = 1 + line - first, 1 + max(span[0], line) - first
            node.col_offset, node.end_col_offset = span[1:]
    code = compile(tree, filename, "exec").replace(co_firstlineno=first, co_name=name)
    try:
        exec(code, {"__file__": filename, "__name__": "__main__"})  # noqa: S102 (our own division by zero)
    except ZeroDivisionError as error:
        trace = error.__traceback__
        assert trace is not None
        assert trace.tb_next is not None
        return trace.tb_next.tb_frame, trace.tb_next.tb_lasti
    raise AssertionError("1 / 0 has a value")
