"""Replace exceptions that would end the caller's program or cancel its task."""

from __future__ import annotations

import sys

from nbpar.core.text import plural, short
from nbpar.errors import InputExitedError, ItemExitedError, StoppedError


def harmless(error: BaseException) -> BaseException:
    """Return an item's exception, or a replacement for one that must not be raised here."""
    if isinstance(error, SystemExit):
        did = f"it called {_exit(error)}; a worker is left by `return` or by raising an exception"
    elif _is_of_the_waiting(error):
        did = f"it raised {type(error).__name__}, which only the one who waits may do"
    else:
        return error
    return ItemExitedError(did).with_traceback(error.__traceback__)


def harmless_input(error: BaseException, read: int) -> BaseException:
    """Return the exception of an iterable after a number of items, or a replacement.

    If the iterable consumes another run that was stopped, this run is stopped, too.
    """
    after = f"after {plural(read, 'item')}"
    if isinstance(error, StoppedError):
        return error
    if isinstance(error, SystemExit):
        did = f"the input called {_exit(error)} {after}; it ends by `return`"
    elif _is_of_the_waiting(error):
        did = f"the input raised {type(error).__name__} {after}, which only the one who waits may do"
    else:
        return error
    return InputExitedError(did).with_traceback(error.__traceback__)


def _exit(error: SystemExit) -> str:
    return "sys.exit()" if error.code is None else f"sys.exit({short(error.code)})"


def _is_of_the_waiting(error: BaseException) -> bool:
    """Whether only the one who waits may raise such an exception."""
    if isinstance(error, (KeyboardInterrupt, GeneratorExit)):
        return True
    asyncio = sys.modules.get("asyncio.exceptions")  # if nothing has imported it, it is not asyncio's
    return isinstance(error, getattr(asyncio, "CancelledError", ()))
