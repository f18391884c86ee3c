"""Formatting of names, values, numbers, times and sizes in messages and views."""

from __future__ import annotations

import math
import re
from reprlib import Repr
from typing import Any, TypeGuard

from nbpar.errors import RemoteError
from nbpar.host.ctrl_c import may_be_ctrl_c

MANY = 20
"""Number of values of an array or table from which on its shape is shown instead."""


def short(item: object, longest: int = 120) -> str:
    """Return an item's repr on one line of limited length; raises nothing but Ctrl-C.

    For arrays and tables it is their type and shape.
    """
    try:
        text = _represented(item, longest)
    except BaseException as error:  # a broken __repr__ must not hide the actual message
        if may_be_ctrl_c(error):
            raise
        return f"a {type(item).__name__}"
    return text if len(text) <= 2 * longest else f"{text[:longest]}...{text[-longest // 4 :]}"


def _represented(item: object, longest: int) -> str:
    if isinstance(item, (bytes, bytearray)) and len(item) > longest:
        return f"{bytes(item[:40])!r}... ({len(item)} bytes)"
    shortener = _Shortener()
    shortener.maxstring = shortener.maxother = longest
    shortener.maxlist = shortener.maxtuple = shortener.maxdict = shortener.maxset = 4
    shortener.maxlevel = 3
    return _plain(shortener.repr(item))


class _Shortener(Repr):
    def repr1(self, x: Any, level: int) -> str:
        shape = getattr(x, "shape", None)
        if _is_shape(shape) and math.prod(shape) > MANY:
            kind = getattr(x, "dtype", None)
            return f"<{type(x).__name__} of shape {shape}{'' if kind is None else f', {kind}'}>"
        text = super().repr1(x, level)
        return " ".join(text.split()) if "\n" in text else text


def _is_shape(shape: object) -> TypeGuard[tuple[int, ...]]:
    return isinstance(shape, tuple) and all(isinstance(length, int) for length in shape)


def text_of(error: object, otherwise: str = "") -> str:
    """Return the text of an exception, or a replacement if it has none; raises nothing but Ctrl-C."""
    try:
        return _plain(str(error))
    except BaseException as trouble:  # a broken __str__ must not hide the error
        if may_be_ctrl_c(trouble):
            raise
        return otherwise


def function_name(function: object) -> str:
    """Return a function's name; of another callable, the name of its type."""
    return _named(function, "__name__")


def full_function_name(function: object) -> str:
    """Return the qualified name, with the enclosing classes and functions."""
    return _named(function, "__qualname__")


def _named(function: object, attribute: str) -> str:
    try:
        name = getattr(function, attribute, None)
        return _plain(name) if name and isinstance(name, str) else type(function).__name__
    except BaseException as error:
        if may_be_ctrl_c(error):
            raise
        return type(function).__name__


def _plain(text: str) -> str:
    """Return text of a subclass of `str`, which may override anything, as a plain `str`."""
    return text if type(text) is str else str.__str__(text)


def without_surrogates(text: str) -> str:
    """Return text that UTF-8 can encode: lone surrogates, as in undecodable file names, are escaped."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace").decode()
    return text


def seconds(number: float) -> str:
    """Return a time in a suitable unit, long ones in two: `5.2 s`, `2 min 5 s`, `3 h 20 min`."""
    if not number:
        return "0 s"
    if number >= 119.5:
        return _long(round(number))
    unit, factor = next(((unit, factor) for unit, factor in _UNITS if number * factor >= 0.9995), _UNITS[-1])
    return f"{number * factor:.{0 if number * factor >= 9.95 else 1}f} {unit}"


def whole_seconds(number: float) -> str:
    """Return a time that is left, rounded up: `2 s`, `2 min 5 s`."""
    whole = math.ceil(number)
    return f"{whole} s" if whole < 120 else seconds(whole)


_UNITS = (("s", 1.0), ("ms", 1e3), ("µs", 1e6))


def _long(number: int) -> str:
    units, factor = (("h", "min"), 60) if number >= 7200 else (("min", "s"), 1)
    whole, rest = divmod(round(number / factor), 60)
    return f"{whole} {units[0]} {rest} {units[1]}" if rest else f"{whole} {units[0]}"


def count(number: int) -> str:
    """Return a number with thousands separators."""
    return f"{number:,}"


def plural(number: int, word: str) -> str:
    """Return a number with its noun: `1 worker`, `2 workers`."""
    return f"{count(number)} {word}" if number == 1 else f"{count(number)} {word}s"


def percent(share: float) -> str:
    """Return a share in whole percent."""
    return f"{100 * share:.0f} %"


def size(number: float) -> str:
    """Return bytes in a suitable unit."""
    place, units = 0, ("B", "kB", "MB", "GB", "TB")
    while number >= 999.5 and place < len(units) - 1:
        number, place = number / 1000, place + 1
    return f"{number:.{0 if place == 0 or number >= 9.95 else 1}f} {units[place]}"


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def shown(item: object, longest: int = 60) -> str:
    """Return an item's repr on one line, shortened and without memory addresses."""
    return one_line(short(item, longest), longest)


def one_line(text: str, longest: int = 200) -> str:
    """Return text on one line, shortened at its end and without memory addresses."""
    text = _ADDRESS.sub("", " ".join(text[: 4 * longest].split()))
    return text if len(text) <= longest else text[: longest - 1] + "…"


def tail(text: str, longest: int) -> str:
    """Return the end of a text, from the start of a line if that is near."""
    if len(text) <= longest:
        return text
    text = text[-(longest - 1) :]
    newline = text.find("\n")
    return "…" + (text[newline + 1 :] if 0 <= newline < longest // 4 else text)


def kind_of(exception: BaseException) -> str:
    """Return the name of an exception's type; where another one stands for it, of its own."""
    kinds = exception.kinds if isinstance(exception, RemoteError) else ()
    return kinds[0].rpartition(".")[2] if kinds else type(exception).__name__


def error(exception: BaseException, longest: int = 200) -> str:
    """Return an exception like the last line of its traceback, without notes."""
    text = text_of(exception)
    name = type(exception).__name__
    if text.startswith(f"{(kind := kind_of(exception))}:"):  # it stands for one that could not travel
        name, text = kind, text[len(kind) + 1 :].lstrip()
    return one_line(f"{name}: {text}" if text else name, longest)
