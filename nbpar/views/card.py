"""The live card: one widget per run, told little and seldom, whose buttons work while the cell runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import cache, partial
from importlib.resources import files
from typing import Any
from uuid import uuid4

from nbpar.core.progress import Snapshot
from nbpar.views import tick, wording
from nbpar.views.base import Controls, Look
from nbpar.views.kernel import this_kernel
from nbpar.views.stop_source import StopSource, stop_source
from nbpar.views.timeline import Timeline

INTERVAL = 0.1
"""Seconds between two updates, at least."""

SHARE = 0.0065
"""Part of a core that updates may take here; sending takes half of that at most, in another thread."""

LONGEST = 1.0
"""Seconds between two updates, at most."""

EXTRAS: dict[str, tuple[Callable[[Snapshot], Any], Callable[[Snapshot], Any]]] = {
    "workers": (
        lambda snapshot: (len(snapshot.stages), len(snapshot.lanes), snapshot.lost_workers),
        tick.names,
    ),
    "failures": (lambda snapshot: [failure.index for failure in snapshot.failures], tick.failures),
    "output": (lambda snapshot: snapshot.output, tick.output),
}
"""What is told apart from ticks: what shows cheaply that it changed, and what is told then."""


class Card:
    """A run's widget and what its buttons do."""

    def __init__(
        self,
        controls: Controls,
        *,
        label: str,
        source: StopSource | None = None,
        clock: Callable[[], float] = time.monotonic,
        spent: Callable[[], float] = time.thread_time,
    ) -> None:
        self._controls = controls
        self._clock, self._spent = clock, spent
        self._timeline = Timeline()
        self._next = float("-inf")
        self._told: dict[str, Any] = {}
        self._heard: set[str] = set()
        self._early: set[str] = set()  # presses that were heard, and that the kernel has yet to deliver
        self._closing = False
        self._notice = ""
        self._resizing = threading.Lock()  # one press after another
        kernel = this_kernel()
        self._source = source if source is not None or kernel is None else stop_source(kernel)
        hears = self._source is not None and self._source.hears
        settings = {"label": label, "resizable": controls.resize is not None, "hears": hears}
        self._comm = uuid4().hex
        if self._source is not None:
            self._source.listen(self._comm, self._hear_early)  # before there is a button to be pressed
        self.widget: Any = widget_class()(settings=settings, model_id=self._comm)
        self.widget.on_msg(lambda _widget, content, _buffers: self._hear_delivered(content))

    def show(self, look: Look) -> None:
        """Tell the front end how the run is, unless it was told a moment ago."""
        before = self._spent()
        if self._source is not None:
            self._source.poll()
        now = self._clock()
        if now < self._next:
            return
        self._tell(look(), at_once=1)
        cost = self._spent() - before
        self._next = now + min(max(INTERVAL, cost / SHARE), LONGEST)

    def close(self, snapshot: Snapshot) -> None:
        """Tell the final state, whenever the last update was, and listen no more."""
        self._tell(snapshot, at_once=len(EXTRAS))
        if self._source is not None:
            self._source.forget(self._comm)
        self._closing = True
        self._close_when_delivered()

    def hear(self, content: Any) -> None:
        """Do what a button says; once, though a press may arrive on two ways."""
        if not isinstance(content, dict) or content.get("press") in self._heard:
            return
        self._heard.add(str(content.get("press")))
        event, resize = content.get("event"), self._controls.resize
        if event == "stop":
            self._controls.stop()
        elif event == "pause":
            self._controls.pause()
        elif event == "resume":
            self._controls.resume()
        elif event == "resize" and resize is not None and content.get("by") in (1, -1):
            act = partial(self._resize, resize, content["by"])
            threading.Thread(target=act, name="nbpar resize", daemon=True).start()

    def _hear_early(self, content: Any) -> None:
        """Hear a press that the kernel delivers later."""
        if isinstance(content, dict):
            self._early.add(str(content.get("press")))
        self.hear(content)

    def _hear_delivered(self, content: Any) -> None:
        """Hear a press where the kernel delivers it."""
        self.hear(content)
        if isinstance(content, dict):
            self._early.discard(str(content.get("press")))
        self._close_when_delivered()

    def _close_when_delivered(self) -> None:
        """Close the widget, but not before what was sent to it: the kernel would print that it is gone."""
        if self._closing and not self._early:
            self.widget.close()

    def _resize(self, resize: Callable[[int], None], by: int) -> None:
        """Add or take away a worker, which may take long; what comes of it is said on the card."""
        doing = "adding a worker" if by > 0 else "removing a worker"
        with self._resizing:
            self._notice = f"{doing} …"
            try:
                resize(by)
                self._notice = ""
            except Exception as problem:  # noqa: BLE001 (a thread has nobody else to tell)
                self._notice = f"{doing} failed: {wording.error(problem)}"

    def _tell(self, snapshot: Snapshot, at_once: int) -> None:
        self._timeline.take(snapshot)
        with self.widget.hold_sync():
            notice = self._notice or snapshot.note
            self.widget.tick = {**tick.tick(snapshot, self._timeline), "notice": notice}
            for name in self._changed(snapshot)[:at_once]:
                sign, make = EXTRAS[name]
                self._told[name] = sign(snapshot)
                setattr(self.widget, name, make(snapshot))

    def _changed(self, snapshot: Snapshot) -> list[str]:
        return [name for name, (sign, _) in EXTRAS.items() if self._told.get(name) != sign(snapshot)]


@cache
def widget_class() -> Any:
    """Return the widget's class; made at first use, because it needs anywidget."""
    import anywidget
    import traitlets

    static = files("nbpar.views") / "static"

    class RunCard(anywidget.AnyWidget):  # type: ignore[misc]  # anywidget is not seen by mypy
        _esm = (static / "card.js").read_text(encoding="utf-8")
        _css = (static / "card.css").read_text(encoding="utf-8")
        settings = traitlets.Dict().tag(sync=True)
        tick = traitlets.Dict().tag(sync=True)
        workers = traitlets.List().tag(sync=True)
        failures = traitlets.List().tag(sync=True)
        output = traitlets.List().tag(sync=True)

    return RunCard


def available() -> bool:
    """Whether widgets can be made here."""
    try:
        widget_class()
    except ImportError:
        return False
    return True
