"""Record the errors of a spaCy pipeline's components in place of their own error handlers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


class Noted(NamedTuple):
    """A document for which a component has failed."""

    document: Any
    component: str | None
    error: Exception
    alone: bool
    """Whether it failed alone, not in a batch with others."""


_here = threading.local()  # .noted: errors of the thread's documents, while it listens

_lock = threading.Lock()  # guards the following, and the handlers of its components
_active: dict[int, _Interception] = {}
"""Components with replaced error handlers, by id."""


def note_error(name: str, component: Any, documents: list[Any], error: Exception) -> None:  # noqa: ARG001 (spaCy's)
    """Record the failed documents in a listening thread; raise the error in others."""
    noted = getattr(_here, "noted", None)
    if noted is None:
        raise error
    noted += [Noted(document, name, error, len(documents) == 1) for document in documents]


@contextmanager
def listening(components: list[Any]) -> Iterator[list[Noted]]:
    """Yield the list of errors of this thread's documents in these components.

    During the block their error handlers are replaced.  A handler set meanwhile, by
    another thread, stays.  Components without a handler of their own, such as the parser, raise.
    """
    before, noted = getattr(_here, "noted", None), list[Noted]()
    with _lock:
        for component in components:
            _intercept(component)
    _here.noted = noted
    try:
        yield noted
    finally:
        _here.noted = before
        with _lock:
            for component in components:
                _release(component)


def has_handler(component: Any) -> bool:
    """Whether a component has an error handler of its own."""
    return hasattr(component, "set_error_handler") and hasattr(component, "get_error_handler")


def _intercept(component: Any) -> None:
    entry = _active.get(id(component))
    if entry is None:
        if not has_handler(component):
            return
        entry = _active[id(component)] = _Interception(component)
    entry.users += 1
    entry.install()


def _release(component: Any) -> None:
    entry = _active.get(id(component))
    if entry is None:
        return
    entry.users -= 1
    if not entry.users:
        del _active[id(component)]
        entry.remove()


class _Interception:
    """Replaces the error handler of one component.

    Errors of listening threads are recorded; those of other threads go to the component's own handler.
    """

    def __init__(self, component: Any) -> None:
        self.component = component
        self.users = 0
        self._handler: Callable[..., Any] | None = None
        self._installed: Any = None
        self._was_set = "error_handler" in getattr(component, "__dict__", ())

    def __call__(self, name: str, component: Any, documents: list[Any], error: Exception) -> Any:
        if getattr(_here, "noted", None) is None and self._handler is not None:
            return self._handler(name, component, documents, error)
        return note_error(name, component, documents, error)

    def install(self) -> None:
        """Replace the component's current handler."""
        handler = self.component.get_error_handler()
        if handler is self._installed:
            return
        self._handler = handler
        try:
            self.component.set_error_handler(self)
        except Exception:  # noqa: BLE001 (compiled classes, such as the parser's, have no room for one)
            return
        self._installed = self.component.get_error_handler()

    def remove(self) -> None:
        """Restore the component's handler, unless it was set to another one."""
        if self._installed is None or self.component.get_error_handler() is not self._installed:
            return
        self.component.set_error_handler(self._handler)
        if not self._was_set:
            getattr(self.component, "__dict__", {}).pop("error_handler", None)
