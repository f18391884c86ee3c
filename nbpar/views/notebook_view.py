"""A run in a notebook: a live card, then a lasting summary.

Notebook tests see the first state of an output, saved notebooks hold the last one.  So the temporary outputs
are empty for tests when they are made and when the run is over.  In between there
are two: the run's header, as text and HTML, and the card, which hides it.  In a notebook
saved then and opened elsewhere the widget is missing, and the header is shown beside that message.
The summary line is an output of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from nbpar.core.snapshot import Snapshot
from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.host.error_log import log_warning
from nbpar.views import card, summary
from nbpar.views.base import Controls, Gain, Look, unknown_gain
from nbpar.views.text import LogLines

PATIENCE = 0.3
"""Seconds after which a run gets a card."""


class NotebookView:
    """A run under a cell.

    Whatever thread updates it, it belongs to the cell in whose thread it was made: kernels keep that
    in context variables, without which ipykernel 7.0 cannot even make a widget in another thread.
    Without anywidget there is no card; the summary line is the same.  Runs that are over at
    once get no card either, so that a loop of short maps stays cheap.

    Args:
        controls: the actions of the card's buttons.
        label: the run's label.
        total: its number of items; None if unknown.
        background: it outlives its cell, so its summary line replaces its card.
        needs_card: show a card at once.
        gain: returns a run's speed-up over one worker; None if unknown.
        log: takes lines about a long run in a notebook run by a program.
        clock: returns seconds.
    """

    def __init__(
        self,
        controls: Controls,
        *,
        label: str,
        total: int | None,
        background: bool = False,
        needs_card: bool = False,
        gain: Gain = unknown_gain,
        log: LogLines | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if needs_card and not card.available():
            raise ValueError(
                "progress='widget' needs anywidget; install nbpar[notebook], or use progress='auto'"
            )
        self._controls, self._label, self._clock = controls, label, clock
        self._background, self._gain, self._log = background, gain, log
        self._cell = copy_context()
        self._closed = False
        self._card: card.Card | None = None
        self._card_from: float | None = clock() + (0.0 if needs_card else PATIENCE)
        self._named: Any = None
        self._live: Any = None
        """The outputs with the header, and with the card."""

        self._what = {
            "text/plain": summary.header_text(label, total),
            "text/html": summary.header_html(label, total),
        }
        if background:
            self._named = _display(self._what, display_id=True)

    def show(self, look: Look) -> None:
        """Update the card."""
        self._cell.copy().run(self._show, look)
        if self._log is not None:
            self._log.show(look)

    def close(self, look: Look) -> None:
        """Remove the card and show the summary line.  Idempotent."""
        if not self._closed:
            self._closed = True
            self._cell.copy().run(self._close, look())

    def _show(self, look: Look) -> None:
        if self._card_from is not None and self._clock() >= self._card_from:
            self._card_from = None  # only one attempt
            self._add_card()
        if self._card is not None:
            self._card.show(look)

    def _close(self, snapshot: Snapshot) -> None:
        gain = self._gain(snapshot)
        if self._card is not None:
            self._card.finish(snapshot, summary.spoken_line(self._label, snapshot, gain))
        if self._log is not None:
            self._log.end(snapshot, gain)
        line = {
            "text/plain": summary.lasting_text(self._label, snapshot),
            "text/html": summary.lasting_html(self._label, snapshot, gain),
        }
        metadata = {"nbpar": summary.timings(snapshot, gain)}
        if self._live is not None:
            self._live.update({}, raw=True)
        if self._background:
            self._named.update(line, raw=True, metadata=metadata)
        elif self._named is not None:
            self._named.update({}, raw=True)
        if self._card is not None:
            self._card.close()
        if not self._background:
            _display(line, metadata=metadata)

    def _add_card(self) -> None:
        if self._named is None:
            self._named = _display({}, display_id=True)
            self._named.update(self._what, raw=True)
        if not card.available():
            return
        try:
            self._card = card.Card(self._controls, label=self._label)
            widget, metadata = _of_widget(self._card.widget)
        except BaseException as error:
            # incompatible versions of widgets must not fail a run
            if may_be_ctrl_c(error):
                raise
            log_warning("the live card could not be made", error)
            return
        self._live = _display(widget, metadata=metadata, display_id=True)


def _of_widget(widget: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the display data of a widget without its text, which must not be compared."""
    bundle, metadata = widget._repr_mimebundle_()
    return {kind: data for kind, data in bundle.items() if not kind.startswith("text/")}, metadata


def _display(bundle: dict[str, Any], **more: Any) -> Any:
    from IPython.display import display

    return display(bundle, raw=True, **more)
