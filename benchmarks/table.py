"""Lay out figures as text: sections of rows, and verdicts beneath."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a section."""

    name: str
    """The measured side or peer."""

    cells: tuple[str, ...] = ()
    """Figures, one per column of the section."""

    note: str = ""
    """Text after the figures, or in place of them."""


@dataclass(frozen=True, slots=True)
class Section:
    """Rows that share their columns."""

    title: str
    """First line."""

    columns: tuple[str, ...]
    """Headings of the figures."""

    rows: tuple[Row, ...]
    """The lines."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a figure keeps its bound."""

    text: str
    """The promise, and the measured figure."""

    kept: bool | None
    """None if it was not measured."""


def render(sections: Sequence[Section]) -> str:
    """Lay out all sections with common columns."""
    if not sections:
        return ""
    names = max(len(line) for s in sections for line in (s.title, *("  " + row.name for row in s.rows)))
    count = max(len(section.columns) for section in sections)
    widths = [_width(sections, column) for column in range(count)]
    return "\n\n".join(_render_section(section, names, widths) for section in sections)


def _width(sections: Sequence[Section], column: int) -> int:
    lines = [line for section in sections for line in (section.columns, *(row.cells for row in section.rows))]
    return max(len(line[column]) for line in lines if column < len(line))


def _render_section(section: Section, names: int, widths: Sequence[int]) -> str:
    lines = [_line(section.title, section.columns, "", names, widths)]
    lines += [_line("  " + row.name, row.cells, row.note, names, widths) for row in section.rows]
    return "\n".join(lines)


def _line(name: str, cells: Sequence[str], note: str, names: int, widths: Sequence[int]) -> str:
    figures = [cell.rjust(width) for cell, width in zip(cells, widths, strict=False)]
    return "  ".join([name.ljust(names), *figures, note]).rstrip()


def render_verdicts(verdicts: Sequence[Verdict]) -> str:
    """One line each: PASS, FAIL, or dashes where nothing was measured."""
    words = {True: "PASS", False: "FAIL", None: "----"}
    return "\n".join(f"{words[verdict.kept]}  {verdict.text}" for verdict in verdicts)


def rate(number: float) -> str:
    """Show items per second with three digits: 2.04 M/s, 37.1 k/s, 234 /s."""
    for size, unit in ((1e6, " M/s"), (1e3, " k/s")):
        # A bit below the size, so that 999.9 does not become 1000.
        if number >= 0.9995 * size:
            return _three_digits(number / size) + unit
    return _three_digits(number) + " /s"


def _three_digits(number: float) -> str:
    if number >= 99.95:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 9.995 else f"{number:.2f}"
