"""Names and representations short enough for a message."""

from __future__ import annotations

from reprlib import Repr


def short(item: object, longest: int = 120) -> str:
    """Return an item's representation, shortened to about so many characters; never raises."""
    if isinstance(item, (bytes, bytearray)) and len(item) > longest:
        return f"{bytes(item[:40])!r}... ({len(item)} bytes)"
    shortener = Repr()
    shortener.maxstring = shortener.maxother = longest
    shortener.maxlist = shortener.maxtuple = shortener.maxdict = shortener.maxset = 4
    shortener.maxlevel = 3
    try:
        return shortener.repr(item)
    except Exception:  # noqa: BLE001 (a broken __repr__ must not hide the error)
        return f"a {type(item).__name__}"


def function_name(function: object) -> str:
    """Return what to call a function; of another object that can be called, the name of its type."""
    return getattr(function, "__name__", None) or type(function).__name__
