"""What `remote_exec` takes: a text, a function, a module, or the path of a file."""

from __future__ import annotations

import inspect
import linecache
import os
import sys
import textwrap
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Any

from nbpar.worker.code import Code, FunctionCode, TextCode

Source = str | Callable[..., Any] | ModuleType | os.PathLike[str]

RUN_LATER = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)


def code_of(source: Source, arguments: dict[str, Any]) -> Code:
    """Turn a source into what is sent; files are read anew each time.

    Raises:
        TypeError: it is none of these, or keyword arguments were given for something else than a function.
    """
    if not isinstance(source, (str, ModuleType, os.PathLike)) and callable(source):
        if any(runs_later(source) for runs_later in RUN_LATER):
            raise TypeError(
                f"calling {source!r:.60} runs nothing of it, because it is `async` or contains `yield`; "
                "give a plain function that runs it, for example with `asyncio.run(...)`"
            )
        return FunctionCode(source, arguments)
    if arguments:
        names = ", ".join(arguments)
        raise TypeError(
            f"only a function takes keyword arguments, and {names} were given with {source!r:.60}"
        )
    if isinstance(source, str):
        return _text(source)
    if isinstance(source, ModuleType):
        return _file(_path_of(source))
    if isinstance(source, os.PathLike):
        return _file(str(Path(source).resolve()))
    raise TypeError(f"the source must be a text, a function, a module or a path, was {source!r:.60}")


def name_of(code: Code) -> str:
    """Return what a message calls it."""
    if isinstance(code, FunctionCode):
        name = getattr(code.function, "__qualname__", type(code.function).__name__)
        return f"the function `{name}`"
    return f"the code of {code.filename}"


def show_lines(code: Code) -> None:
    """Let tracebacks show the lines of a text here too."""
    if isinstance(code, TextCode) and not os.path.exists(code.filename):  # noqa: PTH110 (any name may come)
        lines = code.text.splitlines(keepends=True)
        linecache.cache[code.filename] = (len(code.text), None, lines, code.filename)


def _text(source: str) -> TextCode:
    if source.endswith(".py") and "\n" not in source and Path(source).is_file():
        raise ValueError(f"{source!r} is the name of a file; to run that, give `pathlib.Path({source!r})`")
    text = textwrap.dedent(source)
    return TextCode(text, f"<remote_exec {blake2b(text.encode(), digest_size=4).hexdigest()}>")


def _file(filename: str) -> TextCode:
    linecache.checkcache(filename)
    return TextCode(Path(filename).read_text("utf-8"), filename)


def _path_of(module: ModuleType) -> str:
    filename: str | None = getattr(module, "__file__", None)
    if filename is not None and module is not sys.modules.get("__main__"):
        filename = inspect.getsourcefile(module)
    if filename is None:
        raise TypeError(f"the module {module.__name__!r} has no source file; give a function that imports it")
    return filename
