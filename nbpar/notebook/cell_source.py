"""Position of a magic in its cell, so that errors point at the right line."""

from __future__ import annotations

import difflib
import linecache
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class CellSource:
    """A cell and the line of the magic in it."""

    filename: str
    """The cell's name in tracebacks; Python finds its lines under this name."""

    text: str
    """The whole cell as it was typed."""

    header: int
    """Number of the magic's line, from 1."""

    def line(self, number: int) -> str:
        """A line of the cell, counted from 1; empty where the cell has none."""
        lines = self.text.splitlines()
        return lines[number - 1] if 1 <= number <= len(lines) else ""

    def column(self, part: str) -> int:
        """Where `part` starts on the magic's line, in bytes, as Python counts columns; 0 if it does not."""
        return len(self.line(self.header)[: max(self.line(self.header).rfind(part), 0)].encode())


def locate(magic: str, line: str, body: str, cell: str | None) -> tuple[str, int]:
    """Find a magic in the running cell.

    Returns the text of the cell and the number of the magic's line.  When `cell` does not hold
    this magic (it was called by a program, or by another cell), the text is put together from
    its parts.
    """
    wanted = [text.strip() for text in body.splitlines()]
    lines = (cell or "").rstrip().splitlines()
    for number, text in enumerate(lines, start=1):
        if text.strip().startswith(magic) and _same(wanted, lines[number:]):
            return cell or "", number
    return f"{magic} {line}\n{body}", 1


def _same(wanted: list[str], lines: Sequence[str]) -> bool:
    """Whether the lines are equal, except for blank lines around them and indentation."""
    return "\n".join(wanted).strip() == "\n".join(text.strip() for text in lines).strip()


def line_numbers(before: str, after: str) -> list[int]:
    """For each line of `after`, the number (from 1) of the line of `before` that it came from.

    A magic or shell command on several lines becomes one line; the code below
    it keeps its number this way.  Numbers never decrease.
    """
    old, new = before.splitlines(), after.splitlines()
    if len(old) == len(new):
        return list(range(1, len(new) + 1))
    numbers: list[int] = []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for _, first, last, start, stop in matcher.get_opcodes():
        numbers.extend(min(first + step, max(last - 1, 0)) + 1 for step in range(stop - start))
    return numbers


def name_of_running_cell(shell: Any) -> str | None:
    """The file name under which IPython compiled the running cell; None if there is none."""
    frame = sys._getframe()  # noqa: SLF001 (as inspect.currentframe, without its None)
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_globals is shell.user_global_ns and frame.f_code.co_filename in linecache.cache:
            return frame.f_code.co_filename
    return None


def keep_lines(name: str, text: str) -> None:
    """Make `text` the source of the cell `name`."""
    lines = [f"{line}\n" for line in text.splitlines()]  # IPython strips the end of an unended last line
    entry = (len(text), None, lines, name)
    linecache.cache[name] = entry
    # IPython 7 keeps a second copy, from which it restores the first.
    copies = getattr(linecache, "_ipython_cache", None)
    if copies is not None:
        copies[name] = entry
