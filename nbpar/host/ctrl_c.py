"""Distinguish the user's Ctrl-C from a KeyboardInterrupt raised by code."""

from __future__ import annotations

import signal
import threading
from functools import partial
from opcode import opmap
from types import CodeType, TracebackType
from typing import Any

from nbpar.errors import StoppedError

_RAISE = opmap["RAISE_VARARGS"]


def last_part(trace: TracebackType) -> TracebackType:
    """Return the innermost part of a traceback: where the exception came from."""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace


def raised_by_statement(trace: TracebackType | None) -> CodeType | None:
    """Return the code with the `raise` that made an exception; None when it came in another way."""
    if trace is None:
        return None
    trace = last_part(trace)
    code = trace.tb_frame.f_code
    return code if trace.tb_lasti >= 0 and code.co_code[trace.tb_lasti] == _RAISE else None


def may_be_ctrl_c(error: BaseException) -> bool:
    """Whether an exception may be the user's interrupt, rather than raised by called code.

    It occurs in the main thread only, and not at a `raise` statement, except that of the handler.
    """
    if not isinstance(error, KeyboardInterrupt) or isinstance(error, StoppedError):
        return False
    if threading.current_thread() is not threading.main_thread():
        return False
    if type(error).__module__.partition(".")[0] == "nbpar":
        return True  # raised by a handler of ours
    handler = signal.getsignal(signal.SIGINT)
    if (code := raised_by_statement(error.__traceback__)) is not None:
        return code is _code_of(handler)
    return not hasattr(getattr(handler, "__self__", None), "armed")  # our handlers have a `raise`


def _code_of(handler: Any) -> CodeType | None:
    while isinstance(handler, partial):
        handler = handler.func
    code: CodeType | None = getattr(getattr(handler, "__func__", handler), "__code__", None)
    return code
