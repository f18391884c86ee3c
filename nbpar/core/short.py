"""Representations short enough for a message."""

from __future__ import annotations

from reprlib import Repr

_short = Repr()
_short.maxstring = _short.maxother = 120
_short.maxlist = _short.maxtuple = _short.maxdict = _short.maxset = 4


def short(item: object) -> str:
    """Return an item's representation, shortened."""
    if isinstance(item, (bytes, bytearray)) and len(item) > _short.maxother:
        return f"{bytes(item[:40])!r}... ({len(item)} bytes)"
    try:
        return _short.repr(item)
    except Exception:  # noqa: BLE001 (a broken __repr__ must not hide the error)
        return f"a {type(item).__name__}"
