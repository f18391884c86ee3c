"""Choose how a run looks: by the word that the user gave, and by where this runs."""

from __future__ import annotations

from nbpar.views.base import Controls, View
from nbpar.views.kernel import on_an_engine, this_kernel
from nbpar.views.notebook_view import NotebookView
from nbpar.views.silent import Silent
from nbpar.views.text import Text


def choose(
    progress: str, controls: Controls, *, label: str, total: int | None, background: bool = False
) -> View:
    """Return the view of a run that begins now; call it from the thread that runs the cell.

    `auto` is the notebook's view in a kernel and a bar on standard error anywhere else; on engines
    nothing is shown.  A `background` run outlives its cell: its report takes the place of its card,
    so that it does not appear under another cell.

    Raises:
        ValueError: `widget` is asked for where none can be shown.
    """
    if progress == "none":
        return Silent()
    if on_an_engine():
        return Silent()
    inside = this_kernel() is not None
    if progress == "widget" and not inside:
        raise ValueError(
            "progress='widget' needs a Jupyter kernel; use progress='auto' or progress='text' here"
        )
    if progress == "text" or not inside:
        return Text(label=label, total=total)
    return NotebookView(
        controls, label=label, total=total, background=background, needs_card=progress == "widget"
    )
