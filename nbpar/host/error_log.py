"""Log errors in threads that must continue.  Never raises, whatever handlers and exceptions do."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress

from nbpar.host.ctrl_c import may_be_ctrl_c


def log_error(message: str, error: BaseException) -> None:
    """Log an error with its traceback."""
    _log(logging.ERROR, message, error)


def log_warning(message: str, error: BaseException | None = None) -> None:
    """Log a warning, optionally with the traceback of an error."""
    _log(logging.WARNING, message, error)


def call_safely(callback: Callable[[], object], message: str, *, passes_ctrl_c: bool = False) -> None:
    """Call a user's callback; all its exceptions are logged under a message.

    Args:
        callback: it is called once.
        message: the log message.
        passes_ctrl_c: it is called in the caller's own thread, where the user's interrupt must propagate.
    """
    try:
        callback()
    except BaseException as error:
        if passes_ctrl_c and may_be_ctrl_c(error):
            raise
        log_error(message, error)


def _log(level: int, message: str, error: BaseException | None) -> None:
    try:
        logging.getLogger("nbpar").log(level, "%s", message, exc_info=error)
    except BaseException:  # noqa: BLE001 (a broken exception, or a user's handler)
        kind = "" if error is None else f" ({type(error).__name__})"
        with suppress(OSError):  # bypassing Python's streams, which may be the cause
            os.write(2, f"nbpar: {message}{kind}\n".encode(errors="replace"))
