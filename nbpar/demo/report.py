"""Show as text what was measured, and how long it took."""

from __future__ import annotations

import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nbpar.demo.measuring import Measured, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable

_NUMBERS = ("lines", "tokens", "functions", "classes", "complexity")
_HEADINGS = ("module", *_NUMBERS, "most complex function")


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the same list took in a plain loop and on workers."""

    backend: str
    """What the workers are: engines, threads or serial."""

    workers: int
    """How many of them answered."""

    serial: float
    """Seconds of the plain loop."""

    start: float
    """Seconds from nothing until every worker had answered."""

    parallel: float
    """Seconds of the map on the warm workers."""


def table(results: Iterable[Measured | Unreadable], top: int = 15) -> str:
    """Show the modules with the highest complexity, one line each."""
    measured = [one for one in results if isinstance(one, Measured)]
    ranked = sorted(measured, key=lambda one: (-one.complexity, one.path))[:top]
    rows = [_HEADINGS, *map(_cells, ranked)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _cells(one: Measured) -> tuple[str, ...]:
    hardest = f"{one.hardest.name} ({one.hardest.complexity})" if one.hardest else "-"
    return (module_name(one.path), *(f"{getattr(one, name):,}" for name in _NUMBERS), hardest)


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    first, *numbers, last = row
    padded = [number.rjust(width) for number, width in zip(numbers, widths[1:-1], strict=True)]
    return "  ".join([first.ljust(widths[0]), *padded, last])


def totals(results: Iterable[Measured | Unreadable]) -> str:
    """Show the sums over all modules, and which files could not be parsed and why."""
    results = list(results)
    measured = [one for one in results if isinstance(one, Measured)]
    unreadable = [one for one in results if isinstance(one, Unreadable)]
    sums = ", ".join(f"{sum(getattr(one, name) for one in measured):,} {name}" for name in _NUMBERS[:-1])
    lines = [f"{len(measured):,} modules: {sums}; complexity {sum(one.complexity for one in measured):,}"]
    if unreadable:
        lines.append(f"{len(unreadable):,} more files cannot be parsed by this Python:")
        lines += [f"  {module_name(one.path)}: {one.reason}" for one in unreadable]
    return "\n".join(lines)


def timing_lines(timing: Timing) -> str:
    """Show the times and the speed-up, without the workers' start and with it."""
    names = {
        "serial": "serial pool",
        "threads": f"{timing.workers} threads",
        "engines": f"{timing.workers} engines",
    }
    workers = names[timing.backend]
    warm = timing.serial / timing.parallel
    cold = timing.serial / (timing.start + timing.parallel)
    lines = [
        f"{'plain loop':<16}{timing.serial:8.2f} s",
        f"{workers:<16}{timing.parallel:8.2f} s   {warm:.2f} times as fast",
        f"{'starting them':<16}{timing.start:8.2f} s   once per session; with it {cold:.2f} times as fast",
    ]
    return "\n".join(lines)


def module_name(path: str) -> str:
    """Turn the path of a standard library file into its module's name."""
    root, file = Path(sysconfig.get_path("stdlib")), Path(path)
    inside = file.relative_to(root) if file.is_relative_to(root) else Path(file.name)
    return ".".join(inside.with_suffix("").parts).removesuffix(".__init__")
