"""Have tracebacks of a cell magic show the cell as it was typed.

IPython runs `%%magic ...` as one line of Python, `get_ipython().run_cell_magic(...)`, and keeps
that line as the source of the cell.  Whoever compiles the body under the cell's name needs the
cell's own lines there.
"""

from __future__ import annotations

import linecache
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType


def name_of_running_cell(shell: Any) -> str | None:
    """The file name under which IPython compiled the cell that is being run; None if there is none."""
    frame = sys._getframe()  # noqa: SLF001 (as inspect.currentframe, without its None)
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_globals is shell.user_global_ns and frame.f_code.co_filename in linecache.cache:
            return frame.f_code.co_filename
    return None


def keep_lines(name: str, text: str) -> None:
    """Make `text` the source of the cell `name`."""
    lines = [f"{line}\n" for line in text.splitlines()]  # IPython cuts the end off a last line without one
    entry = (len(text), None, lines, name)
    linecache.cache[name] = entry
    # IPython 7 keeps a second copy, from which it repairs the first.
    copies = getattr(linecache, "_ipython_cache", None)
    if copies is not None:
        copies[name] = entry


def without_own_frames(error: BaseException) -> TracebackType | None:
    """The error's traceback from the first frame outside nbpar, or all of it when there is none.

    A syntax error keeps none: it names its line itself.
    """
    if isinstance(error, SyntaxError):
        return None
    trace = error.__traceback__
    while trace is not None and _is_own(trace):
        trace = trace.tb_next
    return trace or error.__traceback__


def _is_own(trace: TracebackType) -> bool:
    module = trace.tb_frame.f_globals.get("__name__", "")
    return isinstance(module, str) and (module == "nbpar" or module.startswith("nbpar."))
