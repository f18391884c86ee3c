"""How numbers, times, shares and sizes are written."""

from __future__ import annotations


def seconds(number: float) -> str:
    """Return a time in the unit that suits."""
    if not number:
        return "0 s"
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if number * factor >= 1 or unit == "µs":
            return (
                f"{number * factor:.0f} {unit}" if number * factor >= 10 else f"{number * factor:.1f} {unit}"
            )
    raise AssertionError


def count(number: int) -> str:
    """Return a number with its thousands apart."""
    return f"{number:,}"


def plural(number: int, word: str) -> str:
    """Return a number and its word: `1 worker`, `2 workers`."""
    return f"{count(number)} {word}" if number == 1 else f"{count(number)} {word}s"


def percent(share: float) -> str:
    """Return a share as a whole number of hundredths."""
    return f"{100 * share:.0f} %"


def size(number: float) -> str:
    """Return bytes in the unit that suits."""
    place, units = 0, ("B", "kB", "MB", "GB", "TB")
    while number >= 1000 and place < len(units) - 1:
        number, place = number / 1000, place + 1
    return f"{number:.0f} {units[place]}" if place == 0 or number >= 10 else f"{number:.1f} {units[place]}"
