"""Serialize exceptions with their tracebacks, and restore them.

The exception itself is a pickle of its own, so that it arrives with its type; its
text and frames are plain data, which arrive in any case.
"""

from __future__ import annotations

import ast
import linecache
import os
import pickle
import re
import sys
import threading
import traceback
from collections import Counter
from contextlib import suppress
from copy import deepcopy
from functools import lru_cache
from itertools import islice
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import Any, NamedTuple

from nbpar.core.safe_exceptions import harmless
from nbpar.core.text import text_of, without_surrogates
from nbpar.errors import RemoteError
from nbpar.host.frames import foreign_part
from nbpar.wire.diagnosis.explain import explain, explain_unpickling
from nbpar.wire.pickling import dumps

Span = tuple[int, int, int]
"""Last line, first and last column of the failing expression; columns are 0 if unknown."""

Frame = tuple[str, str, int, int, Span]
"""File, function, line, the function's first line, and span."""

Frames = tuple[Frame, ...]
"""Outermost first."""

_PACKAGE = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 (shipped modules are no files)
LIBRARY = tuple(
    os.path.join(_PACKAGE, folder) + os.sep  # noqa: PTH118 (likewise)
    for folder in ("core", "host", "wire", "endpoint", "worker", "backends", "integrations")
)

FRAMES = 40
"""Maximal number of a traceback's frames that are sent: the outermost and the innermost."""

CHAINED = 8
"""Maximal number of causes and contexts that are sent."""

REPEATED = 3
"""Number of times that a longer traceback shows the same line of a function, as in a recursion."""


NO_TEXT = "<its text could not be made>"


class Fault(NamedTuple):
    """A worker's report of an exception."""

    payload: bytes | BaseException | None
    """The exception: pickled, or itself within this process; None if it cannot be pickled."""

    kind: str
    """Name of its type."""

    message: str
    """Its text."""

    frames: Frames
    """Its frames, without those of libraries."""

    text: str
    """The whole traceback, causes included."""

    trouble: str = ""
    """Why `payload` is None."""

    chain: tuple[tuple[bool, tuple[Any, ...]], ...] = ()
    """Its causes and contexts, the latest first: whether it is a cause, and the fields of its fault."""

    kinds: tuple[str, ...] = ()
    """Full names of its type and of the exceptions that this one inherits from."""

    after: float | None = None
    """Seconds that it asks to wait before another attempt, where that was looked at."""

    status: int = 0
    """The HTTP status that it tells, likewise; 0 if it tells none."""

    @property
    def text_with_lines(self) -> str:
        """The traceback with source lines that only this process knows: those of a notebook's cells."""
        return _WITHOUT_LINE.sub(_with_line, self.text)


_WITHOUT_LINE = re.compile(r'^([ |]*)File "(.+)", line (\d+), in .*\n(?!\1  )', re.MULTILINE)
"""A frame in a formatted traceback, also in an exception group, without a source line."""


def _with_line(frame: re.Match[str]) -> str:
    line = linecache.getline(frame[2], int(frame[3])).strip()
    return f"{frame[0]}{frame[1]}  {line}\n" if line else frame[0]


def describe(error: BaseException, *, here: bool = False) -> Fault:
    """Serialize an exception; with `here` it stays in this process unchanged.

    Never raises, even if the exception's own code does.
    """
    try:
        return _described(error, here=here)
    except BaseException:  # noqa: BLE001 (any user code may run here)
        kind = type(error).__qualname__
        return Fault(None, kind, NO_TEXT, (), f"{kind}: {NO_TEXT}\n", "looking at it failed, too")


def _described(error: BaseException, *, here: bool) -> Fault:
    frames = _frames_of(error.__traceback__)
    error = harmless(error)
    payload: bytes | BaseException | None = error
    trouble = ""
    if here:
        error.__traceback__ = foreign_part(error.__traceback__)
    else:
        payload, trouble = _pickled(error)
    kind = type(error).__qualname__
    text, whole = without_surrogates(text_of(error, NO_TEXT)), without_surrogates(_format(error))
    chain, kinds = ((), ()) if here else (_chain_of(error), _kinds_of(error))
    return Fault(payload, kind, text, frames, whole, trouble, chain, kinds)


def _kinds_of(error: BaseException) -> tuple[str, ...]:
    """Return the full names of an exception's type and of its bases."""
    return tuple(
        without_surrogates(f"{kind.__module__}.{kind.__qualname__}")
        for kind in type(error).__mro__
        if issubclass(kind, BaseException)
    )


def _chain_of(error: BaseException) -> tuple[tuple[bool, tuple[Any, ...]], ...]:
    """Serialize the exceptions that led to this one."""
    chain: list[tuple[bool, tuple[Any, ...]]] = []
    seen = {id(error)}
    with suppress(BaseException):  # an exception's class may override anything
        while len(chain) < CHAINED:
            earlier = shown_before(error)
            if earlier is None or id(earlier) in seen:
                break
            seen.add(id(earlier))
            payload, trouble = _pickled(harmless(earlier))
            kind, text = type(earlier).__qualname__, without_surrogates(text_of(earlier, NO_TEXT))
            frames, kinds = _frames_of(earlier.__traceback__), _kinds_of(earlier)
            fault = Fault(payload, kind, text, frames, "", trouble, kinds=kinds)
            chain.append((earlier is error.__cause__, tuple(fault)))
            error = earlier
    return tuple(chain)


def shown_before(error: BaseException) -> BaseException | None:
    """Return the cause or context that a traceback shows before an exception; None if there is none."""
    if error.__cause__ is not None:
        return error.__cause__
    return None if error.__suppress_context__ else error.__context__


def restore(fault: Fault) -> BaseException:
    """Rebuild the exception, with a traceback that shows the worker's frames.

    Never raises; an exception that cannot be recreated becomes a `RemoteError` with its text.
    """
    if isinstance(fault.payload, BaseException):
        return fault.payload
    error = last = _restored(fault)
    for explicit, fields in fault.chain:
        earlier = _restored(Fault(*fields))
        name = "__cause__" if explicit else "__context__"
        with suppress(Exception):
            BaseException.__setattr__(last, name, earlier)  # also where the class takes no attributes
        last = earlier
    return error


def _restored(fault: Fault) -> BaseException:
    trace = _traceback_from(fault.frames)
    trouble = fault.trouble
    if isinstance(fault.payload, bytes):
        try:
            error = pickle.loads(fault.payload)
            if isinstance(error, BaseException):
                return with_traceback(harmless(error), trace)
            trouble = f"it became a {type(error).__name__} here"
        except BaseException as problem:  # noqa: BLE001 (any user code may run here)
            trouble = explain_unpickling(problem, what=f"the exception {fault.kind}", where="here")
    text = f"{fault.kind}: {fault.message}\n({trouble})"
    stand_in = RemoteError(text, fault.text_with_lines, fault.kinds)
    return stand_in.with_traceback(trace)


def with_traceback(error: BaseException, trace: TracebackType | None) -> BaseException:
    """Set the traceback of an exception, even if its class overrides that."""
    BaseException.with_traceback(error, trace)
    return error


def _pickled(error: BaseException) -> tuple[bytes | None, str]:
    what = f"the exception {type(error).__qualname__}"
    try:
        payload = dumps(error)
    except BaseException as problem:  # noqa: BLE001 (any user code may run here)
        return None, explain(error, problem, what=what)
    try:
        pickle.loads(payload)
    except BaseException as problem:  # noqa: BLE001 (likewise)
        return None, explain_unpickling(problem, what=what)
    return payload, ""


def _is_library(tb: TracebackType) -> bool:
    """Whether a frame is nbpar's, also in a module that was carried here from another machine."""
    frame = tb.tb_frame
    return frame.f_code.co_filename.startswith(LIBRARY) or str(frame.f_globals.get("__name__")).startswith(
        "nbpar.integrations."
    )


def _frames_of(tb: TracebackType | None) -> Frames:
    frames = []
    while tb is not None:
        code = tb.tb_frame.f_code
        if not _is_library(tb):
            line = tb.tb_lineno or code.co_firstlineno
            frames.append((code.co_filename, code.co_name, line, code.co_firstlineno, _span(tb, line)))
        tb = tb.tb_next
    return tuple(frames if len(frames) <= FRAMES else _folded(frames))


def _folded(frames: list[Frame]) -> list[Frame]:
    """Omit repetitions of a recursion, then the middle of a traceback that is still too long."""
    seen: Counter[Frame] = Counter()
    kept = []
    for frame in frames:
        seen[frame] += 1
        if seen[frame] <= REPEATED:
            kept.append(frame)
    return kept if len(kept) <= FRAMES else [*kept[: FRAMES // 2], *kept[-FRAMES // 2 :]]


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
    except BaseException:  # noqa: BLE001 (a broken exception must not hide itself)
        return f"{type(error).__qualname__}: {text_of(error, NO_TEXT)}\n"


def _trim(tb: TracebackType | None) -> TracebackType | None:
    """Remove the frames of the worker loop, which come first."""
    while tb is not None and _is_library(tb):
        tb = tb.tb_next
    return tb


def _traceback_from(frames: Frames) -> TracebackType | None:
    """Make a traceback object that shows frames of another process."""
    trace: TracebackType | None = None
    for filename, name, line, first, span in reversed(frames):
        with suppress(Exception):  # generated code may have any name and line
            frame, last = _frame_at(filename, name, line, min(first, line), span)
            trace = TracebackType(trace, frame, last, line)
    return trace


_CALL = ast.parse("def _():\n    here()")
"""Parsed once: if two threads parse at the same time, Python 3.11.7 may reject both (CPython gh-106905)."""


@lru_cache(256)
def _frame_at(filename: str, name: str, line: int, first: int, span: Span) -> tuple[FrameType, int]:
    """Return a frame that has run a given line of a function starting at `first`, and the instruction.

    Both lines matter: IPython finds the surrounding lines by their distance.  The frame has run in a thread
    of its own, or it would hold its callers' frames, with all their variables, as long as its
    exception lives.  (A frame of a suspended generator has no caller, but if it outlives the generator, the
    garbage collector crashes Python 3.13.0.)
    """
    tree = deepcopy(_CALL)
    for node in ast.walk(tree.body[0].body[0]):  # type: ignore[attr-defined]  # the only function
        if isinstance(node, ast.stmt | ast.expr):
            node.lineno, node.end_lineno = 1 + line - first, 1 + max(span[0], line) - first
            node.col_offset, node.end_col_offset = span[1:]
    module = compile(tree, filename, "exec")
    code = next(constant for constant in module.co_consts if isinstance(constant, CodeType))
    made: list[tuple[FrameType, int]] = []

    def here() -> None:
        frame = sys._getframe(1)  # noqa: SLF001 (as inspect.currentframe, and its caller)
        made.append((frame, frame.f_lasti))

    names: dict[str, Any] = {"__file__": filename, "__name__": "__main__", "here": here}
    run = FunctionType(code.replace(co_firstlineno=first, co_name=name), names)
    thread = threading.Thread(target=run)
    try:
        thread.start()
        thread.join()
    except RuntimeError:  # there are too many, or the interpreter ends
        run()
    del names["here"]  # it holds the frame
    return made[0]
