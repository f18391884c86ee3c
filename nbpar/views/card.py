"""The live card: one widget per run, with few and small updates and buttons that work at once."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from importlib.resources import files
from typing import Any
from uuid import uuid4

from nbpar.core import text as wording
from nbpar.core.snapshot import Snapshot
from nbpar.host.devices.load import Gauge
from nbpar.host.shell import this_kernel
from nbpar.views import tick
from nbpar.views.base import Controls, Look
from nbpar.views.buttons import StopSource, stop_source
from nbpar.views.strips import Timeline

INTERVAL = 0.1
"""Minimal seconds between two updates."""

SHARE = 0.0065
"""Share of a core that updates may take in this thread; sending takes at most half of that, in another."""

LONGEST = 1.0
"""Maximal seconds between two updates."""

KEPT = 8
"""Number of cards of finished runs whose widgets stay open, for reloaded pages."""

OVER = Controls(stop=lambda: None, pause=lambda: None, resume=lambda: None)
"""Actions of the buttons of a finished run."""

Take = Callable[[Snapshot, Timeline], Any]

EXTRAS: dict[str, tuple[Take, Take]] = {
    "workers": (tick.who, tick.names),
    "groups": (lambda snapshot, _: [group.number for group in snapshot.failure_groups], tick.groups),
    "failures": (tick.which, tick.failures),
    "output": (lambda snapshot, _: snapshot.output, tick.output),
}
"""Data sent separately from ticks: a function that detects changes cheaply, and one that makes it."""


class Card:
    """A run's widget and the actions of its buttons."""

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
        self._gauge = Gauge()
        self._next = float("-inf")
        self._told: dict[str, Any] = dict.fromkeys(EXTRAS)
        self._heard: set[str] = set()
        self._early: set[str] = set()  # presses already handled, which the kernel will deliver again
        self._closing = False
        self._notice = ""
        self._resizing = threading.Lock()  # one press after another
        kernel = this_kernel()
        self._source = source if source is not None or kernel is None else stop_source(kernel)
        hears = self._source is not None and self._source.hears
        self._comm = uuid4().hex
        resizable = controls.resize is not None
        skips = controls.skip is not None
        settings = {
            "label": label,
            "resizable": resizable,
            "skips": skips,
            "hears": hears,
            "model": self._comm,
        }
        if self._source is not None:
            self._source.listen(self._comm, self._hear_early)  # before there is a button to press
        self.widget: Any = widget_class()(settings=settings, model_id=self._comm)
        self.widget.on_msg(lambda _widget, content, _buffers: self._hear_delivered(content))

    def show(self, look: Look) -> None:
        """Send the state of the run to the front end, unless that was done a moment ago."""
        before = self._spent()
        if self._source is not None:
            self._source.poll()
        now = self._clock()
        if now < self._next:
            return
        self._tell(look(), at_once=1)
        cost = self._spent() - before
        self._next = now + min(max(INTERVAL, cost / SHARE), LONGEST)

    def finish(self, snapshot: Snapshot, line: str = "") -> None:
        """Send the final state, whenever the last update was, and stop listening.

        It is sent while the card is still visible, because the card announces it to screen readers.

        Args:
            snapshot: how the run ended.
            line: the summary line; a card shows it in a reloaded page, where nothing else does.
        """
        with self.widget.hold_sync():
            self.widget.line = line
            self._tell(snapshot, at_once=len(EXTRAS))
        if self._source is not None:
            self._source.forget(self._comm)

    def close(self) -> None:
        """Finish the card: its widget is closed after some more cards.

        Until then a reloaded page finds it, and shows how the run ended.
        """
        self._controls = OVER
        self._timeline = Timeline()
        for card in _kept.add(self):
            card.let_go()

    def let_go(self) -> None:
        """Close the widget, now or when the kernel has delivered its messages."""
        self._closing = True
        self._close_when_delivered()

    def hear(self, content: Any) -> None:
        """Handle a button, once, even if the press arrives by two routes."""
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
        elif event == "skip" and self._controls.skip is not None and type(content.get("item")) is int:
            with suppress(IndexError):  # a message that no card has sent
                self._controls.skip(content["item"])

    def _hear_early(self, content: Any) -> None:
        """Handle a press that the kernel will deliver later."""
        if isinstance(content, dict):
            self._early.add(str(content.get("press")))
        self.hear(content)

    def _hear_delivered(self, content: Any) -> None:
        """Handle a press delivered by the kernel."""
        self.hear(content)
        if isinstance(content, dict):
            self._early.discard(str(content.get("press")))
        self._close_when_delivered()

    def _close_when_delivered(self) -> None:
        """Close the widget, but not before its messages: the kernel would print a warning about them."""
        if self._closing and not self._early:
            self.widget.close()

    def _resize(self, resize: Callable[[int], None], by: int) -> None:
        """Add or remove a worker, which may take long; the result is shown on the card."""
        doing = "adding a worker" if by > 0 else "removing a worker"
        with self._resizing:
            self._notice = f"{doing} …"
            try:
                resize(by)
                self._notice = ""
            except BaseException as problem:  # noqa: BLE001 (a thread has no caller to raise it to)
                self._notice = f"{doing} failed: {wording.error(problem)}"

    def _tell(self, snapshot: Snapshot, at_once: int) -> None:
        self._timeline.take(snapshot)
        with self.widget.hold_sync():
            notice = self._notice or snapshot.note
            told = {**tick.tick(snapshot, self._timeline), "notice": notice}
            if not (snapshot.over or snapshot.stages) and (busy := tick.devices(self._timeline, self._gauge)):
                told["devices"] = busy
            self.widget.tick = told
            for name in self._changed(snapshot)[:at_once]:
                sign, make = EXTRAS[name]
                del self._told[name]
                self._told[name] = sign(snapshot, self._timeline)  # moves to the end
                setattr(self.widget, name, make(snapshot, self._timeline))

    def _changed(self, snapshot: Snapshot) -> list[str]:
        """Return the changed data, the least recently sent first: some may change all the time."""
        look = (snapshot, self._timeline)
        turns = sorted(EXTRAS, key=list(self._told).index)
        return [name for name in turns if self._told[name] != EXTRAS[name][0](*look)]


class _Kept:
    """The latest cards of finished runs."""

    def __init__(self) -> None:
        self._cards: deque[Card] = deque()
        self._lock = threading.Lock()

    def add(self, card: Card) -> list[Card]:
        """Keep a card; return those over the limit."""
        with self._lock:
            self._cards.append(card)
            return [self._cards.popleft() for _ in range(len(self._cards) - KEPT)]


_kept = _Kept()


@cache
def widget_class() -> Any:
    """Return the widget's class; created on first use, because it needs anywidget."""
    import anywidget
    import traitlets

    static = files("nbpar.views") / "static"
    parts = sorted(static.iterdir(), key=lambda part: part.name)

    class RunCard(anywidget.AnyWidget):  # type: ignore[misc]  # anywidget is not seen by mypy
        _esm = "\n".join(part.read_text(encoding="utf-8") for part in parts if part.name.endswith(".js"))
        _css = (static / "card.css").read_text(encoding="utf-8")
        settings = traitlets.Dict().tag(sync=True)
        tick = traitlets.Dict().tag(sync=True)
        workers = traitlets.List().tag(sync=True)
        failures = traitlets.List().tag(sync=True)
        groups = traitlets.List().tag(sync=True)
        output = traitlets.List().tag(sync=True)
        line = traitlets.Unicode().tag(sync=True)

    return RunCard


def available() -> bool:
    """Whether widgets are available."""
    try:
        widget_class()
    except ImportError:
        return False
    return True
