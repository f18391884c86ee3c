"""How numbers, sizes, times and items are written, the same in every view."""

from __future__ import annotations

import re

from nbpar.core.short import short
from nbpar.core.units import count, percent, plural, seconds, size

__all__ = ["count", "error", "one_line", "percent", "plural", "seconds", "shown", "size", "tail"]

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def shown(item: object, longest: int = 60) -> str:
    """Return an item's representation on one line, shortened and without memory addresses."""
    return one_line(short(item, longest), longest)


def one_line(text: str, longest: int = 200) -> str:
    """Return a text on one line, shortened at its end and without memory addresses."""
    text = _ADDRESS.sub("", " ".join(text[: 4 * longest].split()))
    return text if len(text) <= longest else text[: longest - 1] + "…"


def tail(text: str, longest: int) -> str:
    """Return the end of a text, from the start of a line where that is near."""
    if len(text) <= longest:
        return text
    text = text[-(longest - 1) :]
    newline = text.find("\n")
    return "…" + (text[newline + 1 :] if 0 <= newline < longest // 4 else text)


def error(exception: BaseException, longest: int = 200) -> str:
    """Return an exception as its traceback's last line has it, without notes."""
    try:
        text = str(exception)
    except Exception:  # noqa: BLE001 (any user code may run here)
        text = ""
    name = type(exception).__name__
    return one_line(f"{name}: {text}" if text else name, longest)
