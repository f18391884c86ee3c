"""Code that runs at the other end of a channel: a function, source code, or a module's source."""

from __future__ import annotations

import linecache
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

EXECUTED = "__channelexec__"
"""`__name__` of source code that runs for a channel (execnet's name for it)."""


class FunctionCode(NamedTuple):
    """Call a function with the channel and keyword arguments."""

    function: Callable[..., Any]
    arguments: Any
    """A dict; pickled separately if the function is not pickled."""

    def around(self, channel: Any) -> AbstractContextManager[None]:  # noqa: ARG002 (for those who trace)
        """The context in which the function is called."""
        return nullcontext()


class TextCode(NamedTuple):
    """Execute source code with `channel` among its globals."""

    text: str
    filename: str

    def around(self, channel: Any) -> AbstractContextManager[None]:  # noqa: ARG002 (likewise)
        """The context in which the source is executed."""
        return nullcontext()


Code = FunctionCode | TextCode


def run(code: Code, channel: Any) -> None:
    """Run it in this thread; its exceptions propagate."""
    with code.around(channel):
        if isinstance(code, FunctionCode):
            code.function(channel, **code.arguments)
            return
        names = {"channel": channel, "__name__": EXECUTED, "__file__": code.filename}
        exec(compile(code.text, code.filename, "exec", dont_inherit=True), names)  # noqa: S102 (it is what was asked for)


@contextmanager
def lines_known(code: Any) -> Iterator[None]:
    """Let tracebacks show the lines of source that has no file here, in this block."""
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


def settle(channel: object, chdir: str | None, nice: int | None, env: dict[str, str]) -> None:  # noqa: ARG001 (every code gets it)
    """Apply a spec: set variables, change the folder, lower the priority."""
    os.environ.update(env)
    if chdir:
        Path(chdir).mkdir(parents=True, exist_ok=True)
        os.chdir(chdir)
    if nice and hasattr(os, "nice"):
        os.nice(nice)
