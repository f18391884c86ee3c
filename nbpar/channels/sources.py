"""The sources that `remote_exec` accepts: source code, a function, a module, or the path of a file."""

from __future__ import annotations

import builtins
import dis
import inspect
import linecache
import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from nbpar.core.functions import with_nested
from nbpar.endpoint.code import EXECUTED, Code, FunctionCode, TextCode

Source = str | Callable[..., Any] | ModuleType | os.PathLike[str]

RUN_LATER = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)


def code_of(source: Source, arguments: dict[str, Any]) -> Code:
    """Turn a source into a sendable form; files are read anew each time.

    Raises:
        TypeError: it is none of these, or keyword arguments were given without a function.
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
    """Return its name for messages."""
    if isinstance(code, FunctionCode):
        name = getattr(code.function, "__qualname__", type(code.function).__name__)
        return f"the function `{name}`"
    return f"the code of {code.filename}"


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


def check_pure(function: Any) -> None:
    """Reject a function that uses globals or closures.

    Raises:
        ValueError: it uses a global name or a variable of an outer function, is a lambda, or its first
            parameter is not called `channel`.
        TypeError: it is not a Python function.
    """
    if not callable(function):
        return  # source code and modules are self-contained
    if not inspect.isfunction(function):
        raise TypeError(f"only a function made by `def` can be pure, was {function!r:.60}")
    name = function.__qualname__
    if function.__name__ == "<lambda>":
        raise ValueError("a lambda cannot be sent as pure code; give it a name with `def`")
    if list(inspect.signature(function).parameters)[:1] != ["channel"]:
        raise ValueError(f"the first parameter of `{name}` must be called `channel`")
    if function.__closure__:
        free = ", ".join(function.__code__.co_freevars)
        raise ValueError(f"`{name}` uses variables of an outer function: {free}; pass them as arguments")
    if used := sorted(set(_globals_of(function))):
        raise ValueError(
            f"`{name}` uses global names: {', '.join(used)}; import or define them inside it, "
            "or leave out `pure=True`"
        )


def standing_alone(function: Any, *, renamed: bool = False) -> Any:
    """Return a wrapper that pickles a pure function by value, without importing its module there.

    Other objects are returned unchanged.

    Args:
        function: the candidate.
        renamed: its `__name__` becomes that of code of a channel; otherwise using `__name__` makes it impure.
    """
    if type(function) is not FunctionType or function.__module__ == "__main__" or function.__closure__:
        return function
    if next(_globals_of(function), None) is not None or (_asks_for_name(function) and not renamed):
        return function
    names = {"__builtins__": builtins, "__name__": EXECUTED}
    alone = FunctionType(function.__code__, names, function.__name__, function.__defaults__)
    alone.__kwdefaults__, alone.__qualname__ = function.__kwdefaults__, function.__qualname__
    alone.__module__ = EXECUTED  # there is no module of this name to look it up in
    return alone


def _asks_for_name(function: FunctionType) -> bool:
    return any("__name__" in code.co_names for code in with_nested(function.__code__))


def _globals_of(function: FunctionType) -> Iterator[str]:
    for code in with_nested(function.__code__):
        own = {
            instruction.argval
            for instruction in dis.get_instructions(code)
            if instruction.opname in ("STORE_GLOBAL", "STORE_NAME")
        }
        for instruction in dis.get_instructions(code):
            if instruction.opname not in ("LOAD_GLOBAL", "LOAD_NAME"):
                continue
            name = instruction.argval
            if name not in own and name != "channel" and not hasattr(builtins, name) and name != "__name__":
                yield name
