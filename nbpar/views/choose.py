"""Choose the view of a run: by the user's option and by the environment."""

from __future__ import annotations

import sys
from types import FrameType

from nbpar.host.shell import on_an_engine, this_kernel
from nbpar.views.base import Controls, Gain, Silent, View, unknown_gain
from nbpar.views.text import DELAY, Text, log_of_unattended

_TIMERS = {"<magic-timeit>", "<timeit-src>"}
"""File names of the loops of `%timeit` in IPython and Python."""


def choose(
    progress: str,
    controls: Controls,
    *,
    label: str,
    total: int | None,
    background: bool = False,
    over: bool = False,
    gain: Gain = unknown_gain,
) -> View:
    """Return the view of a starting run; call it from the thread that runs the cell.

    `auto` is the notebook's view in a kernel and in marimo, text on standard error otherwise, and
    nothing in code that `%timeit` repeats, nor on engines.  A `background` run outlives its cell;
    its summary line replaces its card, so that it does not appear under another cell.  A run that is
    `over` is shown however short it was.  `gain` returns the speed-up over one
    worker.

    Raises:
        ValueError: `widget` is requested but unavailable.
    """
    if progress == "none" or on_an_engine() or (progress == "auto" and _is_timed()):
        return Silent()
    kernel = this_kernel()
    if progress == "widget" and kernel is None:
        raise ValueError(
            "progress='widget' needs a Jupyter kernel; use progress='auto' or progress='text' here"
        )
    if progress == "auto" and kernel is None and in_marimo():
        from nbpar.views.marimo_view import MarimoView

        # other threads than the cell's cannot display anything there
        return Silent() if background else MarimoView(label=label, total=total, gain=gain)
    if progress == "text" or kernel is None:
        return Text(label=label, total=total, delay=0.0 if over else DELAY, gain=gain)
    from nbpar.views.notebook_view import NotebookView

    return NotebookView(
        controls, label=label, total=total, background=background, needs_card=progress == "widget",
        gain=gain, log=log_of_unattended(kernel, label),
    )  # fmt: skip


def in_marimo() -> bool:
    """Whether this is a cell of a marimo notebook, opened or being exported."""
    running = getattr(sys.modules.get("marimo"), "running_in_notebook", None)
    return callable(running) and bool(running())


def _is_timed() -> bool:
    """Whether `%timeit` or the module `timeit` is calling: a view would be shown in each repetition."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 (there is no other way to the caller)
    while frame is not None:
        if frame.f_code.co_filename in _TIMERS:
            return True
        frame = frame.f_back
    return False
