"""Measure how long an engine imports modules that were not loaded.

Python calls `importlib._bootstrap._find_and_load` for modules not in `sys.modules`, from the
statement, from `importlib` and from pickle alike, and only for these, so replacing it costs
other imports nothing.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from importlib import _bootstrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

_FIND_AND_LOAD = "_find_and_load"


class Imports:
    """Seconds that the main thread has spent importing each package, with its own imports.

    A failed import counts as work of its code, which may repeat it.

    Args:
        note: called with the seconds of each finished import.
    """

    def __init__(self, note: Callable[[float], None] = lambda _: None) -> None:
        self.seconds: dict[str, float] = {}
        """By package, since the last call of `take`."""

        self._original: Callable[..., Any] | None = None
        self._inside = False
        self._note = note

    def __enter__(self) -> Self:
        original = getattr(_bootstrap, _FIND_AND_LOAD, None)
        if original is not None:
            self._original = original
            setattr(_bootstrap, _FIND_AND_LOAD, self._measuring(original))
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._original is not None:
            setattr(_bootstrap, _FIND_AND_LOAD, self._original)

    def begin(self) -> None:
        """Reset: drop imports of other code, and the state left by an exception at a bad moment."""
        self._inside = False
        self.seconds.clear()

    def take(self) -> tuple[tuple[str, float], ...]:
        """Return the packages imported since the last call, with their seconds."""
        taken, self.seconds = self.seconds, {}
        return tuple(taken.items())

    def _measuring(self, original: Callable[..., Any]) -> Callable[..., Any]:
        main = threading.main_thread().ident

        def find_and_load(name: str, import_: Any) -> Any:
            if self._inside or threading.get_ident() != main:
                return original(name, import_)
            self._inside = True
            begun = time.perf_counter()
            try:
                module = original(name, import_)
            finally:
                self._inside = False
            self._count(name, time.perf_counter() - begun)
            return module

        # Python omits frames of this file from an ImportError's traceback
        find_and_load.__code__ = find_and_load.__code__.replace(
            co_filename=getattr(getattr(original, "__code__", None), "co_filename", __file__)
        )
        return find_and_load

    def _count(self, name: str, seconds: float) -> None:
        package = sys.intern(name.partition(".")[0])
        self.seconds[package] = self.seconds.get(package, 0.0) + seconds
        self._note(seconds)
