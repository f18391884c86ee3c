"""Progress bars of items: tqdm's, and those of nbpar's own maps inside an item.

tqdm calls `display` about ten times a second, and only that has a stand-in, so an iteration costs what it
costs without nbpar.  Inside an item it draws nothing and notes the bar, which a thread of the worker looks at
ten times a second.  Outside of items it is the original.
"""

from __future__ import annotations

import functools
import math
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

from nbpar.core.inner_bars import DEEPEST, InnerBar
from nbpar.core.text import without_surrogates
from nbpar.worker.output.recorder import ItemId

EVERY = 0.1
"""Minimal seconds between two messages about bars."""

MOST_ITEMS = 16
"""Maximal number of items of a worker whose bars are told: coroutines may be many."""

LONGEST = 60
"""Maximal number of characters of a bar's name, and of its note."""

MODULES = ("tqdm.std", "tqdm.notebook", "tqdm.gui", "tqdm.rich", "tqdm.tk")
"""Modules of tqdm whose classes draw bars, in one way or another."""

Told = tuple[int, int, tuple[tuple[Any, ...], ...]]
"""Number of the call, index of the item, and the fields of its bars."""

Find = Callable[[], "tuple[InnerBars, ItemId] | None"]
"""Returns where bars of the item are noted that runs in this thread; None if none does, or nobody looks."""

_clock = time.monotonic


class InnerBars:
    """The bars of the items that run on one worker."""

    def __init__(self, clock: Callable[[], float] = _clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._bars: dict[int, tuple[ItemId, weakref.ref[Any]]] = {}
        """By the identity of the bar, in the order in which they began."""

        self._told: dict[tuple[int, int], tuple[InnerBar, ...]] = {}
        self._next = 0.0

    def note(self, bar: Any, item: ItemId) -> None:
        """Take in a bar of an item, which has the attributes of tqdm's; from any thread."""
        known = self._bars.get(id(bar))
        if known is None or known[0] != item or known[1]() is not bar:
            with self._lock:
                self._bars.pop(id(bar), None)  # a new item's bar comes last
                self._bars[id(bar)] = item, weakref.ref(bar)

    def take(self) -> tuple[Told, ...]:
        """Return what has changed, unless that was asked for a moment ago; bars that are over end."""
        if not (self._bars or self._told) or (now := self._clock()) < self._next:
            return ()
        self._next = now + EVERY
        seen = self._look()
        gone = self._told.keys() - seen.keys()
        changed = {item: bars for item, bars in seen.items() if not _alike(self._told.get(item, ()), bars)}
        self._told = seen
        told = {**dict.fromkeys(gone, ()), **changed}
        return tuple((*item, tuple(map(tuple, bars))) for item, bars in told.items())

    def _look(self) -> dict[tuple[int, int], tuple[InnerBar, ...]]:
        with self._lock:
            known = list(self._bars.items())
        seen: dict[tuple[int, int], tuple[InnerBar, ...]] = {}
        for key, (item, ref) in known:
            told = _read(ref())
            place = item.call, item.index
            if told is None:
                with self._lock:
                    if self._bars.get(key, (None, None))[1] is ref:
                        del self._bars[key]
            elif (place in seen or len(seen) < MOST_ITEMS) and len(seen.get(place, ())) < DEEPEST:
                seen[place] = (*seen.get(place, ()), told)
        return seen


def _alike(before: tuple[InnerBar, ...], bars: tuple[InnerBar, ...]) -> bool:
    """Whether bars show the same; how fast they are changes all the time."""
    return [bar[:5] for bar in before] == [bar[:5] for bar in bars]


def _read(bar: Any) -> InnerBar | None:
    """Return a bar as plain values; None if it is over, or has attributes of another kind."""
    try:
        if bar is None or bar.disable:
            return None
        done, total = float(bar.n), None if bar.total is None else float(bar.total)
        took = time.time() - getattr(bar, "start_t", math.inf)  # it is drawn before it has begun
        rate = (done - float(bar.initial)) / took if took > 0 else 0.0
        rate = rate if math.isfinite(rate) else 0.0
        name, note = str(bar.desc or "").rstrip(": "), str(bar.postfix or "")
        return InnerBar(_short(name), done, total, _short(str(bar.unit)), _short(note), rate)
    except Exception:  # noqa: BLE001 (a subclass may have made anything of them)
        return None


def _short(text: str) -> str:
    text = " ".join(without_surrogates(text).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


# ---- the stand-in


class StandIn:
    """Stands in for tqdm's `display` in all that is loaded of it, as soon as it is.

    Args:
        find: finds the item that runs.
        draws_here: whether a stream is one that an item's output is recorded from.
    """

    def __init__(self, find: Find, *, draws_here: Callable[[Any], bool]) -> None:
        self._find = find
        self._draws_here = draws_here
        self._originals: dict[Any, Any] = {}
        """What stood in the classes, and in the module of the widget, in place of each `display`."""

        self._loaded = 0
        """How many of tqdm's modules were loaded when it was last looked at."""

        self._finder = _Finder(self._enter_again)

    def enter(self) -> None:
        """Take over what is loaded now, and what will be; cheap if that has not changed."""
        loaded = sum(name in sys.modules for name in MODULES)
        if loaded == self._loaded and self._finder in sys.meta_path:
            return
        for kind in list(_kinds()):
            if kind not in self._originals:
                self._originals[kind] = original = kind.__dict__["display"]
                kind.display = _stand_in_for(original, self._find, self._draws_here)
        widget: Any = sys.modules.get("tqdm.notebook")
        if hasattr(widget, "display") and widget not in self._originals:
            self._originals[widget] = original = widget.display
            widget.display = _outside(original, self._find)
        self._loaded = loaded
        if self._finder not in sys.meta_path:
            sys.meta_path.insert(0, self._finder)

    def _enter_again(self) -> None:
        self._loaded = -1  # it may have been looked at before the module was complete
        self.enter()

    def leave(self) -> None:
        """Restore what was taken over."""
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        for kind, original in self._originals.items():
            if getattr(kind.__dict__.get("display"), "__wrapped__", None) is original:
                kind.display = original
        self._originals.clear()
        self._loaded = 0


class _Finder(MetaPathFinder):
    """Finds tqdm's modules like the other finders, and tells when one of them has been loaded.

    An item that imports tqdm begins its first bar at once.
    """

    def __init__(self, loaded: Callable[[], None]) -> None:
        self._loaded = loaded

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname not in MODULES:
            return None
        others = (finder for finder in list(sys.meta_path) if finder is not self)
        found = (
            finder.find_spec(fullname, path, target) for finder in others if hasattr(finder, "find_spec")
        )
        spec = next(filter(None, found), None)
        loader: Any = spec.loader if spec is not None else None
        if loader is not None and hasattr(loader, "exec_module"):
            execute = loader.exec_module

            def exec_module(module: Any) -> None:
                execute(module)
                self._loaded()

            with suppress(AttributeError):  # a loader that takes no attributes
                loader.exec_module = exec_module
        return spec


def _kinds() -> Iterator[type[Any]]:
    """Return the classes of tqdm that have a `display` of their own."""
    kinds = [getattr(sys.modules.get("tqdm.std"), "tqdm", None)]
    while kinds:
        if (kind := kinds.pop()) is None:
            continue
        if "display" in kind.__dict__ and kind.__module__ in MODULES:
            yield kind
        kinds += type.__subclasses__(kind)


def _outside(display: Any, find: Find) -> Any:
    """Return IPython's `display` for the widget of a bar, which does nothing inside an item."""

    @functools.wraps(display)
    def display_outside(*args: Any, **kwargs: Any) -> Any:
        return display(*args, **kwargs) if find() is None else None

    return display_outside


def _stand_in_for(original: Any, find: Find, draws_here: Callable[[Any], bool]) -> Any:
    @functools.wraps(original)
    def display(bar: Any, *args: Any, **kwargs: Any) -> Any:
        if (here := find()) is not None:
            here[0].note(bar, here[1])
        elif not _is_of_an_item(bar):
            return original(bar, *args, **kwargs)
        bar.__dict__[_MARK] = True
        if kwargs.get("close") or not (hasattr(bar, "container") or draws_here(bar.fp)):
            return original(bar, *args, **kwargs)  # a widget goes, or a file of the item's own is written
        return True

    return display


_MARK = "_nbpar_item"


def _is_of_an_item(bar: Any) -> bool:
    """Whether a bar was begun in an item: tqdm's monitor refreshes it in a thread of its own."""
    return threading.current_thread().__class__.__name__ == "TMonitor" and _MARK in bar.__dict__
