"""Compare tracebacks, too, when nbval runs the notebooks: the line and the cell that an error points at.

nbval leaves tracebacks out, since versions of IPython word them differently.  The arrow at the line
that failed is the same in all of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nbval.plugin import IPyNbCell, IPyNbFile

if TYPE_CHECKING:
    from collections.abc import Iterable

_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_OF_A_CELL = re.compile(r"Cell In|Input In|<ipython-input|ipykernel_\d+")
_HEAD = re.compile(r"(File|Cell In|Input In) ?|[</~].*(>|\.py)")
_ARROW = re.compile(r"-+> (\d+) +(.*)")


def arrows(outputs: Iterable[Any]) -> list[str]:
    """Return the numbered lines of cells that the tracebacks among a cell's outputs point at."""
    found = []
    for output in outputs:
        in_cell = False
        for line in _COLOR.sub("", "\n".join(output.get("traceback", ()))).splitlines():
            if _HEAD.match(line):
                in_cell = _OF_A_CELL.search(line) is not None
            elif in_cell and (arrow := _ARROW.match(line)):
                found.append(f"{arrow[1]} {arrow[2].rstrip()}")
    return found


def _compare(cell: Any, test: Any, ref: Any, skip_compare: Any = None) -> bool:
    same = bool(_without_tracebacks(cell, test, ref, skip_compare))
    if same and (expected := arrows(ref)) != (now := arrows(test)):
        cell.comparison_traceback += ["the traceback points elsewhere", f"stored: {expected}", f"now: {now}"]
        return False
    return same


_without_tracebacks = IPyNbCell.compare_outputs
IPyNbCell.compare_outputs = _compare


def _set_up(notebook: Any) -> None:
    """Start a notebook's kernel, once more if it does not answer (ipython/ipykernel#1554)."""
    try:
        _set_up_once(notebook)
    except RuntimeError:
        _set_up_once(notebook)


_set_up_once = IPyNbFile.setup
IPyNbFile.setup = _set_up
