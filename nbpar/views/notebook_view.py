"""A run under a notebook's cell: a header that stays, a live card while it runs, a report at the end.

Notebook tests see the first state of an output, saved notebooks hold the last one.  So the header's
text and HTML never change: only the widget beside it comes and goes, which tests do not compare.
The report is an output of its own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from nbpar.core.progress import Snapshot
from nbpar.views import card, report
from nbpar.views.base import Controls, Look

PATIENCE = 0.3
"""Seconds that a run may take before it gets a card."""


class NotebookView:
    """A run under a cell.

    Wherever it is shown from, it belongs to the cell in whose thread it was made: kernels keep that
    in context variables, without which ipykernel 7.0 cannot even make a widget in another thread.
    Without anywidget there is no card; header and report are the same.  Runs that are over at
    once get no card either, so that a loop of short maps stays cheap.
    """

    def __init__(
        self,
        controls: Controls,
        *,
        label: str,
        total: int | None,
        background: bool = False,
        needs_card: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        from IPython.display import display

        if needs_card and not card.available():
            raise ValueError(
                "progress='widget' needs anywidget; install nbpar[notebook], or use progress='auto'"
            )
        self._controls, self._label, self._clock = controls, label, clock
        self._background = background
        self._cell = copy_context()
        self._closed = False
        self._card: card.Card | None = None
        self._card_from = clock() + (0.0 if needs_card else PATIENCE)
        self._header = {
            "text/plain": report.header_text(label, total),
            "text/html": report.header_html(label, total),
        }
        self._handle: Any = display(self._header, raw=True, display_id=True)

    def show(self, look: Look) -> None:
        """Bring the card up to date."""
        self._cell.copy().run(self._show, look)

    def close(self, look: Look) -> None:
        """Take the card away and leave the report.  May be called twice."""
        if not self._closed:
            self._closed = True
            self._cell.copy().run(self._close, look())

    def _show(self, look: Look) -> None:
        if self._card is None and self._clock() >= self._card_from:
            self._add_card()
        if self._card is not None:
            self._card.show(look)

    def _close(self, snapshot: Snapshot) -> None:
        if self._card is not None:
            self._handle.update(self._header, raw=True)
            self._card.close(snapshot)
        self._report(snapshot)

    def _add_card(self) -> None:
        self._card_from = float("inf")  # one attempt
        if not card.available():
            return
        try:
            self._card = card.Card(self._controls, label=self._label)
        except Exception:
            # widgets of versions that do not fit together must not cost a run
            logging.getLogger("nbpar").warning("the live card could not be made", exc_info=True)
            return
        bundle, metadata = self._card.widget._repr_mimebundle_()
        self._handle.update({**bundle, **self._header}, raw=True, metadata=metadata)

    def _report(self, snapshot: Snapshot) -> None:
        from IPython.display import display

        bundle = {"text/plain": report.summary_text(snapshot), "text/html": report.summary_html(snapshot)}
        metadata = {"nbpar": report.timings(snapshot)}
        if not self._background:
            display(bundle, raw=True, metadata=metadata)
            return
        bundle = {kind: self._header[kind] + "\n" + text for kind, text in bundle.items()}
        self._handle.update(bundle, raw=True, metadata=metadata)
