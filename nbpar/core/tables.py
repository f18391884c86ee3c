"""Text tables, aligned for a terminal, and HTML tables without scripts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
    heads: Sequence[str],
    rows: Rows,
    *,
    caption: str = "",
    table: str = "",
    cell: str = "",
    right: Collection[int] | None = None,
    own: Collection[int] = (),
) -> str:
    """Return the same as HTML.

    Args:
        heads: a name for each column.
        rows: its cells.
        caption: its caption.
        table: style of the table.
        cell: style of each cell.
        right: right-aligned columns (numbers); all others are left-aligned.
        own: columns of foreign text, which is isolated because of its direction.
    """
    styles = [_styled(_aligned(cell, place, right)) for place in range(len(heads))]
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    top = "".join(
        f'<th scope="col"{style}>{escape(head)}</th>' for head, style in zip(heads, styles, strict=True)
    )
    body = "".join(_row(row, styles, own) for row in rows)
    return f"<table{_styled(table)}>{above}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def isolated(text: str) -> str:
    """Return foreign text as HTML, isolated so that its direction does not affect its surroundings."""
    return f"<bdi>{escape(text)}</bdi>"


def _row(row: Sequence[str], styles: Sequence[str], own: Collection[int]) -> str:
    cells = (
        f"<td{style}>{isolated(text) if place in own else escape(text)}</td>"
        for place, (text, style) in enumerate(zip(row, styles, strict=True))
    )
    return f"<tr>{''.join(cells)}</tr>"


def _aligned(style: str, place: int, right: Collection[int] | None) -> str:
    if right is None:
        return style
    side = "right" if place in right else "left"
    return f"text-align:{side};{style}" if style else f"text-align:{side}"


def _styled(style: str) -> str:
    return f' style="{style}"' if style else ""
