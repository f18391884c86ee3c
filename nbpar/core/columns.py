"""Rows of words as a table: aligned for a terminal, and as HTML without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

Rows = Sequence[Sequence[str]]
"""Rows of equal length."""


def text_table(rows: Rows, *, words: int | None = None) -> list[str]:
    """Return a line for each row, with its cells below one another.

    The first `words` columns are aligned on the left, those that follow, which are numbers, on the
    right; None: all on the left.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if words is None or place < words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return [line(row) for row in rows]


def html_table(
    heads: Sequence[str], rows: Rows, *, caption: str = "", table: str = "", cell: str = ""
) -> str:
    """Return the same as HTML; `table` and `cell` are styles of the whole and of each cell."""
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    top = "".join(f'<th scope="col"{_styled(cell)}>{escape(head)}</th>' for head in heads)
    body = "".join(
        "<tr>" + "".join(f"<td{_styled(cell)}>{escape(text)}</td>" for text in row) + "</tr>" for row in rows
    )
    return f"<table{_styled(table)}>{above}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _styled(style: str) -> str:
    return f' style="{style}"' if style else ""
