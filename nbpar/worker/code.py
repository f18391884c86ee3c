"""What runs at the other end of a channel: a function, a text, or the text of a module."""

from __future__ import annotations

import linecache
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

EXECUTED = "__channelexec__"
"""`__name__` of a text that runs for a channel (execnet's name for it)."""


class FunctionCode(NamedTuple):
    """Call a function with the channel and keyword arguments."""

    function: Callable[..., Any]
    arguments: Any
    """A dict; packed by itself where the function stays as it is."""


class TextCode(NamedTuple):
    """Execute a text with `channel` among its names."""

    text: str
    filename: str


Code = FunctionCode | TextCode


def run(code: Code, channel: Any) -> None:
    """Run it in this thread; raises what it raises."""
    if isinstance(code, FunctionCode):
        code.function(channel, **code.arguments)
        return
    names = {"channel": channel, "__name__": EXECUTED, "__file__": code.filename}
    exec(compile(code.text, code.filename, "exec", dont_inherit=True), names)  # noqa: S102 (it is what was asked for)


@contextmanager
def lines_known(code: Any) -> Iterator[None]:
    """Let tracebacks show the lines of a text that is no file here, in this block."""
    if not isinstance(code, TextCode) or os.path.exists(code.filename):  # noqa: PTH110 (any name may come)
        yield
        return
    lines = code.text.splitlines(keepends=True)
    before = linecache.cache.get(code.filename)
    linecache.cache[code.filename] = (len(code.text), None, lines, code.filename)
    try:
        yield
    finally:
        if before is None:
            linecache.cache.pop(code.filename, None)
